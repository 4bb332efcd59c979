"""A client for the tests: frames as octets, written down by hand, and a handler that records what it is told."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import NamedTuple

from hpack import Decoder, Encoder

from appserver.errors import RequestError
from appserver.http.limits import Limits
from appserver.http.request import Request
from appserver.http2.connection import Connection
from appserver.http2.errors import ConnectionFailure, StreamFailure
from appserver.http2.options import Options
from appserver.http2.stream import Stream

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
PRIORITY_UPDATE = 16
END_STREAM, END_HEADERS, PADDED, WITH_PRIORITY, ACK = 1, 4, 8, 32, 1

GET = [(b":method", b"GET"), (b":scheme", b"https"), (b":authority", b"example.org"), (b":path", b"/")]
POST = [(b":method", b"POST"), *GET[1:]]


class Frame(NamedTuple):
    kind: int
    flags: int
    stream_id: int
    payload: bytes

    @property
    def number(self) -> int:
        """What RST_STREAM, WINDOW_UPDATE and (the code) GOAWAY say."""
        return int(struct.unpack(">L", self.payload[4:8] if self.kind == GOAWAY else self.payload[:4])[0])


def frame(kind: int, flags: int, stream_id: int, payload: bytes = b"") -> bytes:
    return struct.pack(">L", len(payload))[1:] + struct.pack(">BBL", kind, flags, stream_id) + payload


def number(value: int) -> bytes:
    return struct.pack(">L", value)


def settings(*pairs: tuple[int, int]) -> bytes:
    return frame(SETTINGS, 0, 0, b"".join(struct.pack(">HL", *pair) for pair in pairs))


def frames(octets: bytes) -> list[Frame]:
    """Take octets apart that are whole frames."""
    found = []
    while octets:
        size = int.from_bytes(octets[:3])
        kind, flags, stream_id = struct.unpack(">BBL", octets[3:9])
        assert len(octets) >= 9 + size, "a frame is cut off"
        found.append(Frame(kind, flags, stream_id, octets[9 : 9 + size]))
        octets = octets[9 + size :]
    return found


class Client:
    """Handler of a connection, and its client: `sent` is what the connection has written since it was last looked at."""

    def __init__(self, options: Options | None = None, *, greet: bool = True) -> None:
        self.events: list[tuple[object, ...]] = []
        self.reset_frames: list[tuple[str, int]] = []
        self.requests: dict[int, Request] = {}
        self.streams: dict[int, Stream] = {}
        self.encoder = Encoder()
        self.decoder = Decoder()
        self.now = 100.0
        self.failure: ConnectionFailure | None = None
        self.connection = Connection(self, options or Options(Limits()), self.now)
        if greet:
            self.send(PREFACE + settings() + frame(SETTINGS, ACK, 0))
            self.sent()

    def send(self, octets: bytes) -> None:
        try:
            self.connection.receive(octets, self.now)
        except ConnectionFailure as failure:
            self.failure = failure

    def request(self, stream_id: int, fields: Iterable[tuple[bytes, bytes]] = GET, *, end: bool = True) -> None:
        self.send(self.headers(stream_id, fields, end=end))

    def headers(self, stream_id: int, fields: Iterable[tuple[bytes, bytes]] = GET, *, end: bool = True) -> bytes:
        return frame(HEADERS, END_HEADERS | (END_STREAM if end else 0), stream_id, self.encoder.encode(list(fields)))

    def data(self, stream_id: int, data: bytes = b"", *, end: bool = False) -> None:
        self.send(frame(DATA, END_STREAM if end else 0, stream_id, data))

    def sent(self, room: int = 1 << 20) -> list[Frame]:
        return frames(self.connection.octets_to_send(room))

    def goaway(self) -> int:
        """The error code with which the connection has ended."""
        last = self.sent()[-1]
        assert last.kind == GOAWAY
        assert self.failure is not None
        assert self.failure.code == last.number
        return last.number

    def resets(self) -> dict[int, int]:
        """The error codes of the streams that the connection has reset."""
        assert self.failure is None, self.failure
        return {found.stream_id: found.number for found in self.sent() if found.kind == RST_STREAM}

    def taken(self) -> list[tuple[object, ...]]:
        events, self.events = self.events, []
        return events

    # The handler.

    def on_request(self, stream: Stream, request: Request, *, complete: bool) -> None:
        self.streams[stream.id] = stream
        self.requests[stream.id] = request
        self.events.append(("request", stream.id, complete))

    def on_unservable(self, stream: Stream, error: RequestError, method: str) -> None:
        self.streams[stream.id] = stream
        self.events.append(("unservable", stream.id, error.status))

    def on_data(self, stream: Stream, data: bytes) -> None:
        self.events.append(("data", stream.id, data))

    def on_end(self, stream: Stream) -> None:
        self.events.append(("end", stream.id))

    def on_reset(self, stream: Stream, failure: StreamFailure | None) -> None:
        self.events.append(("reset", stream.id, failure and failure.code))

    def on_rejected(self, stream_id: int, failure: StreamFailure) -> None:
        self.events.append(("rejected", stream_id, failure.code))

    def on_unread(self, stream: Stream) -> None:
        self.events.append(("unread", stream.id))
        self.connection.let_in(stream)

    def on_reset_frame(self, direction: str, code: int) -> None:
        self.reset_frames.append((direction, code))

    def on_drained(self) -> None:
        self.events.append(("drained",))

    def on_writable(self, stream: Stream) -> None:
        self.events.append(("writable", stream.id))
