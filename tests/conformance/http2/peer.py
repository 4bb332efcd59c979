"""A client of HTTP/2 that can say anything: frames by `hyperframe`, header blocks by `hpack`, judgements of its own."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from hpack import Decoder, Encoder
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

from tests.support.address import Address

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DEADLINE = 10.0

(
    NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR, FLOW_CONTROL_ERROR, SETTINGS_TIMEOUT, STREAM_CLOSED, FRAME_SIZE_ERROR,
    REFUSED_STREAM, CANCEL, COMPRESSION_ERROR, CONNECT_ERROR, ENHANCE_YOUR_CALM,
) = range(12)  # fmt: skip

Fields = list[tuple[bytes, bytes]]
GET: Fields = [(b":method", b"GET"), (b":scheme", b"http"), (b":authority", b"example.org"), (b":path", b"/")]
POST: Fields = [(b":method", b"POST"), *GET[1:]]


def raw(kind: int, flags: int = 0, stream_id: int = 0, payload: bytes = b"") -> bytes:
    """A frame as octets, whatever it means."""
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream_id.to_bytes(4, "big") + payload


def changed(fields: Fields, **pseudo: bytes | None) -> Fields:
    """The same fields with other pseudo-header fields; None leaves one out."""
    found = []
    for name, value in fields:
        wanted = pseudo.get(name[1:].decode(), value)
        if wanted is not None:
            found.append((name, wanted))
    return found


@dataclass
class Answer:
    """What has arrived on a stream."""

    fields: Fields = field(default_factory=list)
    interim: list[Fields] = field(default_factory=list)
    trailers: Fields = field(default_factory=list)
    body: bytes = b""
    sizes: list[int] = field(default_factory=list)
    ended: bool = False
    reset: int | None = None

    @property
    def status(self) -> int:
        return int(dict(self.fields)[b":status"])


class Gone(AssertionError):
    """The server has closed the connection."""


class Peer:
    """A connection to the server under test."""

    def __init__(self, address: Address, *, begin: bool = True, settings: dict[int, int] | None = None) -> None:
        self._socket = socket.create_connection((address.host, address.port), timeout=DEADLINE)
        self._octets = b""
        self.encoder = Encoder()
        self.decoder = Decoder()
        self.answers: dict[int, Answer] = {}
        self.goaway: GoAwayFrame | None = None
        self.settings: dict[int, int] = {}
        self.pongs: list[bytes] = []
        self.windows: dict[int, int] = {}
        self.acknowledged = 0
        self.order: list[int] = []  # streams of DATA, in the order of its frames
        self._block: list[Any] = []
        if begin:
            self.send(PREFACE, SettingsFrame(0, settings=settings or {}))
            self.until(lambda: self.settings)
            self.send(SettingsFrame(0, flags=["ACK"]))

    def close(self) -> None:
        self._socket.close()

    # Sending.

    def send(self, *pieces: Frame | bytes) -> None:
        octets = b"".join(piece if isinstance(piece, bytes) else piece.serialize() for piece in pieces)
        try:
            self._socket.sendall(octets)
        except OSError:
            pass  # the server may have enough of it; what it has said is read

    def block(self, fields: Iterable[tuple[bytes, bytes]]) -> bytes:
        return self.encoder.encode(list(fields))

    def headers(self, stream_id: int, fields: Fields | None = None, *, end: bool = True, flags: int = 4) -> bytes:
        """HEADERS as octets; END_HEADERS unless `flags` says otherwise."""
        return raw(1, flags | int(end), stream_id, self.block(GET if fields is None else fields))

    def data(self, stream_id: int, data: bytes = b"", *, end: bool = False) -> bytes:
        return raw(0, int(end), stream_id, data)

    def begin(self, stream_id: int, fields: Fields | None = None, *, end: bool = False) -> None:
        """Begin a request, whose body may follow."""
        self.send(self.headers(stream_id, POST if fields is None else fields, end=end))

    # Receiving.

    def until(self, condition: Callable[[], object], deadline: float = DEADLINE) -> None:
        """Read until something is true. Raises Gone at the end of the connection."""
        ends = time.monotonic() + deadline
        while not condition():
            self._read(ends)

    def _read(self, ends: float) -> None:
        while len(self._octets) < 9 or len(self._octets) < 9 + int.from_bytes(self._octets[:3], "big"):
            self._socket.settimeout(max(0.01, ends - time.monotonic()))
            try:
                octets = self._socket.recv(65536)
            except TimeoutError:
                raise AssertionError(f"nothing of the kind in time: {self}") from None
            except ConnectionError:
                octets = b""
            if not octets:
                raise Gone(f"the server has closed the connection: {self}")
            self._octets += octets
        frame, size = Frame.parse_frame_header(memoryview(self._octets[:9]))
        frame.parse_body(memoryview(self._octets[9 : 9 + size]))
        self._octets = self._octets[9 + size :]
        self._take(frame)

    def _take(self, frame: Frame) -> None:
        answer = self.answers.setdefault(frame.stream_id, Answer()) if frame.stream_id else Answer()
        if isinstance(frame, HeadersFrame | ContinuationFrame):
            self._block.append(frame)
            if "END_HEADERS" in frame.flags:
                self._take_block(answer)
        elif isinstance(frame, DataFrame):
            answer.body += frame.data
            answer.sizes.append(len(frame.data))
            answer.ended = answer.ended or "END_STREAM" in frame.flags
            self.order.append(frame.stream_id)
        elif isinstance(frame, RstStreamFrame):
            answer.reset = frame.error_code
        elif isinstance(frame, GoAwayFrame):
            self.goaway = frame
        elif isinstance(frame, SettingsFrame):
            if "ACK" in frame.flags:
                self.acknowledged += 1
            else:
                self.settings |= frame.settings or {0: 0}
        elif isinstance(frame, PingFrame) and "ACK" in frame.flags:
            self.pongs.append(bytes(frame.opaque_data))
        elif isinstance(frame, WindowUpdateFrame):
            self.windows[frame.stream_id] = self.windows.get(frame.stream_id, 0) + frame.window_increment

    def _take_block(self, answer: Answer) -> None:
        frames, self._block = self._block, []
        block = b"".join(frame.data for frame in frames)
        fields = [(bytes(name), bytes(value)) for name, value in self.decoder.decode(block, raw=True)]
        if answer.fields:
            answer.trailers = fields
        elif dict(fields)[b":status"].startswith(b"1"):
            answer.interim.append(fields)
        else:
            answer.fields = fields
        answer.ended = answer.ended or "END_STREAM" in frames[0].flags

    def __repr__(self) -> str:
        return f"<Peer {self.answers} goaway={self.goaway}>"

    # Judgements.

    def response(self, stream_id: int) -> Answer:
        """The complete response on a stream."""
        answer = self.answers.setdefault(stream_id, Answer())
        self.until(lambda: answer.ended or answer.reset is not None or self.goaway)
        assert answer.ended, self
        return answer

    def get(self, stream_id: int, fields: Fields | None = None) -> Answer:
        self.send(self.headers(stream_id, fields))
        return self.response(stream_id)

    def fine(self) -> None:
        """The connection is open, and nothing has been said against it or any stream."""
        self.ping()
        assert self.goaway is None, self.goaway
        assert all(answer.reset in (None, NO_ERROR) for answer in self.answers.values()), self

    def ping(self) -> None:
        """Wait until the server has read everything so far."""
        count = len(self.pongs)
        self.send(PingFrame(0, opaque_data=b"are-you?"))
        self.until(lambda: len(self.pongs) > count)

    def stream_error(self, stream_id: int, *codes: int) -> None:
        """A stream is reset with one of these codes, or (which is allowed, section 5.4.2) the connection ends with one."""
        answer = self.answers.setdefault(stream_id, Answer())
        self.until(lambda: answer.reset is not None or self.goaway)
        if self.goaway is not None:
            assert self.goaway.error_code in codes, self
        else:
            assert answer.reset in codes, self

    def connection_error(self, *codes: int) -> None:
        """The connection ends with GOAWAY and one of these codes, and is closed."""
        self.until(lambda: self.goaway)
        assert self.goaway is not None
        assert self.goaway.error_code in codes, self.goaway
        try:
            self.until(lambda: False, deadline=5)
        except Gone:
            return
        raise AssertionError("the connection was left open")
