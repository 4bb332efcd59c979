"""permessage-deflate (RFC 7692) as `websockets` implements it, with the memory of a connection in mind.

zlib needs 300 KiB for a connection that uses the largest window both ways; with a window of 4 KiB and `memLevel` 5 it is
45 KiB, and compresses text about as well. Most connections need less still: many are idle, and send small messages when
they are not. So a compressor is made when there is something to compress.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from functools import cached_property
from typing import Any

from websockets.extensions import Extension
from websockets.extensions.permessage_deflate import PerMessageDeflate, ServerPerMessageDeflateFactory
from websockets.typing import ExtensionParameter

WINDOW_BITS = 12
SETTINGS: dict[str, Any] = {"level": 3, "memLevel": 5}

COMPRESS_FROM = 256
"""Octets from which on a message is compressed: a smaller one fits into one packet anyway, and is sent five times as fast."""


class Deflate(PerMessageDeflate):
    """What `websockets` makes of an agreement about compression, but without the compressors at first."""

    def __init__(self, agreed: PerMessageDeflate) -> None:
        # In place of the inherited initialisation, which makes both compressors.
        self.remote_no_context_takeover = agreed.remote_no_context_takeover
        self.local_no_context_takeover = agreed.local_no_context_takeover
        self.remote_max_window_bits = agreed.remote_max_window_bits
        self.local_max_window_bits = agreed.local_max_window_bits
        self.compress_settings = SETTINGS
        self.decode_cont_data = False

    # Attributes that the inherited methods set and delete.

    @cached_property
    def decoder(self) -> Any:  # type: ignore[override]
        return zlib.decompressobj(wbits=-self.remote_max_window_bits)

    @cached_property
    def encoder(self) -> Any:  # type: ignore[override]
        return zlib.compressobj(wbits=-self.local_max_window_bits, **SETTINGS)


class DeflateFactory(ServerPerMessageDeflateFactory):
    """Negotiates compression. A client that does not let its window be limited gets the window it wants."""

    def __init__(self) -> None:
        super().__init__(server_max_window_bits=WINDOW_BITS, client_max_window_bits=WINDOW_BITS)

    def process_request_params(
        self, params: Sequence[ExtensionParameter], accepted_extensions: Sequence[Extension]
    ) -> tuple[list[ExtensionParameter], PerMessageDeflate]:
        agreed_params, agreed = super().process_request_params(params, accepted_extensions)
        return agreed_params, Deflate(agreed)
