"""Frames: their header, which sizes and streams they may have, and how they are written (RFC 9113 sections 4 and 6)."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import Final, NamedTuple

from appserver.http2.errors import Code, ConnectionFailure, StreamFailure, violation

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
"""The connection preface, which a client sends before its first frame (section 3.4)."""

HEADER_SIZE: Final = 9
MIN_FRAME_SIZE: Final = 16_384
"""The frame size that every peer takes: the initial and the smallest value of SETTINGS_MAX_FRAME_SIZE."""
MAX_FRAME_SIZE: Final = 2**24 - 1
STREAM_MASK: Final = 2**31 - 1
"""The bits of an identifier; the other one is reserved, and ignored (section 4.1)."""
MAX_STREAM: Final = 2**31 - 1
MAX_WINDOW: Final = 2**31 - 1
DEFAULT_WINDOW: Final = 65_535
DEFAULT_TABLE_SIZE: Final = 4096
"""The initial value of SETTINGS_HEADER_TABLE_SIZE."""

DATA: Final = 0x0
HEADERS: Final = 0x1
PRIORITY: Final = 0x2
RST_STREAM: Final = 0x3
SETTINGS: Final = 0x4
PUSH_PROMISE: Final = 0x5
PING: Final = 0x6
GOAWAY: Final = 0x7
WINDOW_UPDATE: Final = 0x8
CONTINUATION: Final = 0x9
PRIORITY_UPDATE: Final = 0x10
"""RFC 9218 section 7.1."""

END_STREAM: Final = 0x1
ACK: Final = 0x1
END_HEADERS: Final = 0x4
PADDED: Final = 0x8
WITH_PRIORITY: Final = 0x20

HEADER: Final = struct.Struct(">HBBBL")
"""Length (as two octets and one), type, flags, stream identifier (section 4.1)."""
NUMBER: Final = struct.Struct(">L")
SETTING: Final = struct.Struct(">HL")


class Shape(NamedTuple):
    """The rules for frames of one type (section 6)."""

    name: str
    on_stream: bool | None
    """Whether it belongs to a stream (True), to the connection (False), or to either (None)."""
    least: int = 0
    """Octets that its payload has at the least."""
    most: int = MAX_FRAME_SIZE


SHAPES: Final = {
    DATA: Shape("DATA", on_stream=True),
    HEADERS: Shape("HEADERS", on_stream=True),
    PRIORITY: Shape("PRIORITY", on_stream=True, least=5, most=5),
    RST_STREAM: Shape("RST_STREAM", on_stream=True, least=4, most=4),
    SETTINGS: Shape("SETTINGS", on_stream=False),
    PUSH_PROMISE: Shape("PUSH_PROMISE", on_stream=True),
    PING: Shape("PING", on_stream=False, least=8, most=8),
    GOAWAY: Shape("GOAWAY", on_stream=False, least=8),
    WINDOW_UPDATE: Shape("WINDOW_UPDATE", on_stream=None, least=4, most=4),
    CONTINUATION: Shape("CONTINUATION", on_stream=True),
    PRIORITY_UPDATE: Shape("PRIORITY_UPDATE", on_stream=False, least=4),
}


def check_shape(kind: int, stream_id: int, size: int) -> None:
    """Check that a frame of a known type stands where it may, with a size that it may have.

    Raises ConnectionFailure, and StreamFailure for PRIORITY of a wrong size (section 6.3), which changes no state.
    """
    name, on_stream, least, most = SHAPES[kind]
    if on_stream is not None and on_stream is not bool(stream_id):
        where = "the connection, not to a stream" if stream_id else "a stream, not to the connection"
        raise violation(f"{name} belongs to {where}")
    if not least <= size <= most:
        wrong = StreamFailure if kind == PRIORITY else ConnectionFailure
        expected = str(least) if least == most else f"{least} or more"
        raise wrong(Code.FRAME_SIZE_ERROR, f"{name} has a payload of {expected} octets, got {size}")


def unpad(payload: bytes, flags: int) -> bytes:
    """The payload of DATA or HEADERS without padding (section 6.1); raises ConnectionFailure."""
    if not flags & PADDED:
        return payload
    if not payload:
        raise ConnectionFailure(Code.FRAME_SIZE_ERROR, "a padded frame without the length of its padding")
    end = len(payload) - payload[0]
    if end < 1:
        raise violation("the padding of a frame is longer than the frame")
    return payload[1:end]


def frame(kind: int, flags: int, stream_id: int, payload: bytes = b"") -> bytes:
    """Encode a frame."""
    size = len(payload)
    return HEADER.pack(size >> 8, size & 0xFF, kind, flags, stream_id) + payload


def header_frames(stream_id: int, block: bytes, *, end_stream: bool, max_frame_size: int) -> bytes:
    """Encode a header block as HEADERS, and as many CONTINUATION as it needs (section 6.10)."""
    flags = END_STREAM if end_stream else 0
    if len(block) <= max_frame_size:
        return frame(HEADERS, flags | END_HEADERS, stream_id, block)
    parts = [frame(HEADERS, flags, stream_id, block[:max_frame_size])]
    for start in range(max_frame_size, len(block), max_frame_size):
        last = start + max_frame_size >= len(block)
        piece = block[start : start + max_frame_size]
        parts.append(frame(CONTINUATION, END_HEADERS if last else 0, stream_id, piece))
    return b"".join(parts)


def settings_frame(settings: Iterable[tuple[int, int]]) -> bytes:
    """Encode SETTINGS from pairs of identifier and value (section 6.5.1)."""
    return frame(SETTINGS, 0, 0, b"".join(SETTING.pack(*setting) for setting in settings))


def goaway_frame(last_stream_id: int, code: int, detail: bytes = b"") -> bytes:
    """Encode GOAWAY: no stream above `last_stream_id` has been or will be processed (section 6.8)."""
    return frame(GOAWAY, 0, 0, NUMBER.pack(last_stream_id) + NUMBER.pack(code) + detail)
