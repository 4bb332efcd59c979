"""permessage-deflate (RFC 7692) as `websockets` implements it, with the memory of a connection in mind.

zlib needs 300 KiB for a connection that uses the largest window both ways; with a window of 4 KiB and `memLevel` 5 it is
45 KiB, and compresses text about as well. Most connections need less still: many are idle, and send small messages when
they are not. So a compressor is made when there is something to compress.
"""

from __future__ import annotations

import sys
import zlib
from collections.abc import Sequence
from functools import cached_property
from typing import Any

from websockets.exceptions import PayloadTooBig, ProtocolError
from websockets.extensions import Extension
from websockets.extensions.permessage_deflate import PerMessageDeflate, ServerPerMessageDeflateFactory
from websockets.frames import Frame, Opcode
from websockets.typing import ExtensionParameter

WINDOW_BITS = 12
SETTINGS: dict[str, Any] = {"level": 3, "memLevel": 5}

COMPRESS_FROM = 256
"""Octets from which on a message is compressed: a smaller one fits into one packet anyway, and is sent five times as fast."""

MAX_STREAMS = 16
"""So many deflate streams may end within a frame: each one costs a new decompressor, and a copy of what follows it."""

_TAIL = b"\x00\x00\xff\xff"
"""The octets that the sender leaves out at the end of each message (RFC 7692 section 7.2.1)."""


def most_deflated(size: int) -> int:
    """The octets that a compressor may make of `size` octets, which are more where there is nothing to compress.

    That is zlib's own bound for any of its settings (deflateBound), and a little for the blocks that end a frame.
    """
    return size + (size + 7) // 8 + (size + 63) // 64 + 64


class Deflate(PerMessageDeflate):
    """What `websockets` makes of an agreement about compression, but without the compressors at first.

    And with a `decode` that survives the end of a deflate stream.
    """

    def __init__(self, agreed: PerMessageDeflate) -> None:
        # In place of the inherited initialisation, which makes both compressors.
        self.remote_no_context_takeover = agreed.remote_no_context_takeover
        self.local_no_context_takeover = agreed.local_no_context_takeover
        self.remote_max_window_bits = agreed.remote_max_window_bits
        self.local_max_window_bits = agreed.local_max_window_bits
        self.compress_settings = SETTINGS

    # Attributes that the inherited methods set and delete.

    @cached_property
    def decoder(self) -> Any:  # type: ignore[override]
        return zlib.decompressobj(wbits=-self.remote_max_window_bits)

    @cached_property
    def encoder(self) -> Any:  # type: ignore[override]
        return zlib.compressobj(wbits=-self.local_max_window_bits, **SETTINGS)

    def decode(self, frame: Frame, *, max_size: int | None = None) -> Frame:
        """Decompress a data frame of a compressed message. Raises ProtocolError, PayloadTooBig (RFC 7692 section 7.2.2).

        A block may say that it is the last one of its stream (BFINAL, section 7.2.3.4). zlib's decompressor does nothing
        from then on but to collect what it is given, so a new one takes its place. That knows nothing of what came
        before: a compressor that ends a stream has forgotten it, too, and if one has not, zlib finds the reference
        invalid.
        """
        if self.remote_no_context_takeover and frame.opcode is not Opcode.CONT:
            self.__dict__.pop("decoder", None)
        data = bytes(frame.data) + _TAIL if frame.fin else bytes(frame.data)
        left = sys.maxsize - 1 if max_size is None else min(max_size, sys.maxsize - 1)
        pieces = []
        for _ in range(MAX_STREAMS):
            decoder = self.decoder
            try:
                piece = decoder.decompress(data, left + 1)
            except zlib.error as error:
                raise ProtocolError("decompression failed") from error
            left -= len(piece)
            if left < 0:
                raise PayloadTooBig(None, max_size)
            pieces.append(piece)
            if not decoder.eof:
                break
            del self.decoder
            data = decoder.unused_data
            if not data or data == _TAIL:  # the latter if the sender does not begin another block, as it should
                break
        else:
            raise ProtocolError(f"a frame of more than {MAX_STREAMS} deflate streams")
        if self.remote_no_context_takeover and frame.fin:
            self.__dict__.pop("decoder", None)
        return Frame(frame.opcode, b"".join(pieces), frame.fin)


class DeflateFactory(ServerPerMessageDeflateFactory):
    """Negotiates compression. A client that does not let its window be limited gets the window it wants."""

    def __init__(self) -> None:
        super().__init__(server_max_window_bits=WINDOW_BITS, client_max_window_bits=WINDOW_BITS)

    def process_request_params(
        self, params: Sequence[ExtensionParameter], accepted_extensions: Sequence[Extension]
    ) -> tuple[list[ExtensionParameter], PerMessageDeflate]:
        agreed_params, agreed = super().process_request_params(params, accepted_extensions)
        return agreed_params, Deflate(agreed)
