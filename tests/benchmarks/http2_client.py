"""As much of an HTTP/2 client as the benchmarks need: frames, and one request on a blocking socket."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator

import hpack

DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 0x0, 0x1, 0x3, 0x4, 0x6, 0x7, 0x8
END_STREAM, END_HEADERS, ACK = 0x1, 0x4, 0x1
HEAD_SIZE = 9


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """A frame (RFC 9113 section 4.1)."""
    return struct.pack(">BHBBL", len(payload) >> 16, len(payload) & 0xFFFF, kind, flags, stream) + payload


_WINDOWS = frame(SETTINGS, 0, 0, b"\x00\x04\x7f\xff\xff\xff") + frame(WINDOW_UPDATE, 0, 0, b"\x7f\xff\x00\x00")
GREETING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + _WINDOWS
"""What a client says first, with windows that outlast a measurement (4 is SETTINGS_INITIAL_WINDOW_SIZE)."""


def request(connection: socket.socket, path: str = "/", body: bytes = b"") -> str:
    """Begin a connection, ask for something (POST if there is a body), and wait for the whole response; returns its status."""
    fields = [(":method", "POST" if body else "GET"), (":scheme", "http"), (":authority", "test"), (":path", path)]
    flags = END_HEADERS if body else END_HEADERS | END_STREAM
    rest = frame(DATA, END_STREAM, 1, body) if body else b""
    connection.sendall(GREETING + frame(HEADERS, flags, 1, hpack.Encoder().encode(fields)) + rest)
    status = ""
    for kind, flags, stream, payload in _frames(connection):
        if kind == SETTINGS and not flags & ACK:
            connection.sendall(frame(SETTINGS, ACK, 0))
        if kind == HEADERS:
            status = status_of(payload)
        if (stream == 1 and flags & END_STREAM and kind in (DATA, HEADERS)) or kind in (RST_STREAM, GOAWAY):
            break
    return status


def status_of(block: bytes) -> str:
    """The status in the first header block of a connection."""
    return dict(hpack.Decoder().decode(block, raw=True))[b":status"].decode()


def _frames(connection: socket.socket) -> Iterator[tuple[int, int, int, bytes]]:
    """Type, flags, stream and payload of each frame, until the server closes the connection."""
    with connection.makefile("rb") as source:
        while len(head := source.read(HEAD_SIZE)) == HEAD_SIZE:
            length = int.from_bytes(head[:3], "big")
            yield head[3], head[4], int.from_bytes(head[5:], "big"), source.read(length)
