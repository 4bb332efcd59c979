"""Frames as a client sends them, and those that a server writes taken apart."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from websockets.utils import apply_mask

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
MASK = b"\x12\x34\x56\x78"


def frame(opcode: int, payload: bytes = b"", *, fin: bool = True, rsv: int = 0, mask: bytes | None = MASK) -> bytes:
    """A frame of a client; `rsv` are the three reserved bits as a number, `mask=None` leaves the mask out."""
    head = opcode | rsv << 4 | (0x80 if fin else 0)
    masked = 0 if mask is None else 0x80
    size = len(payload)
    if size < 126:
        header = bytes((head, masked | size))
    elif size < 0x10000:
        header = struct.pack("!BBH", head, masked | 126, size)
    else:
        header = struct.pack("!BBQ", head, masked | 127, size)
    return header + payload if mask is None else header + mask + apply_mask(payload, mask)


def text(payload: str) -> bytes:
    """A whole text message."""
    return frame(TEXT, payload.encode())


def close(code: int | None = 1000, reason: str = "") -> bytes:
    """A close frame."""
    return frame(CLOSE, b"" if code is None else struct.pack("!H", code) + reason.encode())


@dataclass(frozen=True)
class Sent:
    """A frame of a server."""

    opcode: int
    payload: bytes
    fin: bool = True
    rsv: int = 0

    @property
    def code(self) -> int:
        """The code in a close frame."""
        assert self.opcode == CLOSE
        return int.from_bytes(self.payload[:2])


def parse(octets: bytes) -> list[Sent]:
    """The frames in what a server has written; there is no half one, and none is masked."""
    found = []
    while octets:
        head, length = octets[0], octets[1]
        assert length < 0x80, "a server must not mask"
        start = {126: 4, 127: 10}.get(length, 2)
        if start > 2:
            length = int.from_bytes(octets[2:start])
        assert len(octets) >= start + length, "half a frame"
        found.append(Sent(head & 0x0F, octets[start : start + length], bool(head & 0x80), head >> 4 & 7))
        octets = octets[start + length :]
    return found
