"""The carriers of a stream of HTTP/2: of an exchange (`StreamCarrier`), or a WebSocket session (`StreamPipe`, RFC 8441)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

from appserver.engine import calls, refusal
from appserver.engine.exchange import DONE, GONE, Exchange
from appserver.engine.file import FilePart, read_pieces
from appserver.engine.link import LINGER, NEVER
from appserver.engine.peer import Peer
from appserver.engine.pipe import Pipe, PipeUser
from appserver.engine.service import Service
from appserver.engine.waiters import Waiters
from appserver.errors import RequestError
from appserver.http.request import Request
from appserver.http.response import ResponseError, check_handshake_field
from appserver.http2.connection import Connection
from appserver.http2.errors import Code
from appserver.http2.response import CONTINUE, Response, early_hints, error_response
from appserver.http2.stream import Stream


class Streams(Protocol):
    """The connection of a stream, as what the stream carries knows it."""

    http2: Connection
    received: int  # octets that nobody has counted yet
    sent: int

    def flush_soon(self) -> None:
        """Write what there is to be written at the end of this turn."""

    def refuse(self, exchange: Exchange, error: RequestError) -> None:
        """Answer a request that asks for too much, or comes too slowly."""

    def forget(self, exchange: Exchange, phase: int, status: int, outcome: str | None) -> None:
        """An exchange is over for its client."""

    def abandon(self, work: Exchange | Session, stream: Stream) -> None:
        """A stream ends by what its client has done, and the application may be at work for it."""


class OnStream(Response):
    """The response on a stream, and the flow of its octets."""

    __slots__ = ("_connection", "_service", "_waiters", "stream")

    def __init__(self, service: Service, connection: Streams, stream: Stream, request: Request) -> None:
        super().__init__(service.defaults, request.method)
        self._service = service
        self._connection = connection
        self._waiters: Waiters | None = None
        self.stream = stream

    @property
    def congested(self) -> bool:
        """Whether the client, or the network, takes less than there is for this stream."""
        return self.stream.congested

    async def writable(self) -> None:
        """Wait until the client takes more, or the stream has ended."""
        if self._waiters is None:
            self._waiters = Waiters(self._service.loop)
        while self.stream.congested:
            await self._waiters.wait()

    def writing_resumed(self) -> None:
        """The stream is not congested any more."""
        if self._waiters is not None:
            self._waiters.wake()

    def _send(self, data: bytes, more: bool) -> None:
        """Send a piece of the body, behind the head if that has not been sent. Raises ResponseError."""
        http2, stream = self._connection.http2, self.stream
        size = len(data)
        if self.on_wire:
            self.piece(size, more)
            http2.send_data(stream, b"" if self.bodiless else data, end=not more)
        else:
            fields = self.head(size, more)
            if self.bodiless or not size:
                http2.send_head(stream, fields, end=not more)
            else:
                http2.send_head(stream, fields)
                http2.send_data(stream, data, end=not more)
        self._connection.flush_soon()

    def _answer(self, error: RequestError, method: str) -> None:
        """Send the answer to `error`; nothing of another one is on the wire."""
        http2, stream = self._connection.http2, self.stream
        head, body = error_response(self._defaults, error, method, self.id_value)
        http2.send_head(stream, head, end=not body)
        http2.send_data(stream, body, end=True)
        self._connection.flush_soon()


class StreamCarrier(OnStream):
    """Carrier of an exchange."""

    __slots__ = ("body_size", "exchange", "expects_continue", "read_by")

    exchange: Exchange

    def __init__(self, service: Service, connection: Streams, stream: Stream, request: Request) -> None:
        super().__init__(service, connection, stream, request)
        self.body_size = 0
        self.expects_continue = request.expect_continue
        self.read_by = NEVER  # by when something of the body has to arrive

    @property
    def sent(self) -> int:
        """Octets of the response so far."""
        return self.stream.sent + self.stream.queued

    def call(self) -> None:
        """Call the application, unless the client has reset the stream in the same breath."""
        if self.exchange.phase < DONE:
            calls.call(self._service, self.exchange)

    def look(self, now: float) -> None:
        """Act on the time limits of the request."""
        if now >= self.exchange.finish_by:
            calls.time_out(self._service, self.exchange)
        elif now >= self.read_by and not self.exchange.buffered:
            self._connection.refuse(self.exchange, refusal.body_late(self._service))

    def write_body(self, data: bytes, more: bool) -> None:
        self._send(data, more)
        if not more:
            self._connection.forget(self.exchange, DONE, self.status, None)

    async def write_file(self, part: FilePart, more: bool) -> None:
        left = self.file(part.size, more)
        if not left:
            self.write_body(b"", more)
        for data in read_pieces(part, left):
            left -= len(data)
            self.write_body(data, bool(left) or more)
            if self.exchange.phase < DONE:
                await self.writable()
            if self.exchange.phase >= DONE:
                break

    def write_trailers(self, headers: Iterable[Sequence[Any]]) -> None:
        fields = self.trailers(headers, accepted=self.exchange.request.accepts_trailers)
        http2, stream = self._connection.http2, self.stream
        if fields and not self.bodiless:
            http2.send_trailers(stream, fields)
        else:
            http2.send_data(stream, b"", end=True)
        self._connection.flush_soon()
        self._connection.forget(self.exchange, DONE, self.status, None)

    def hint(self, links: Iterable[Any]) -> None:
        if self.on_wire:
            raise ResponseError("http.response.early_hint was sent after the head of the response")
        self._connection.http2.send_head(self.stream, early_hints(links))
        self._connection.flush_soon()

    def invite_body(self) -> None:
        if self.expects_continue:
            self.expects_continue = False
            self.read_by = self._service.clock() + self._service.body_timeout
            if not self.on_wire:
                self._connection.http2.send_head(self.stream, CONTINUE)
                self._connection.flush_soon()

    def body_taken(self, octets: int) -> None:
        self.read_by = self._service.clock() + self._service.body_timeout
        self._connection.http2.body_taken(self.stream, octets)
        self._connection.flush_soon()

    def refuse(self, error: RequestError, outcome: str) -> None:
        self._answer(error, self.exchange.request.method)
        self._connection.forget(self.exchange, GONE, error.status, outcome)

    def turn_away(self, error: RequestError) -> None:
        self._answer(error, self.exchange.request.method)
        self._connection.forget(self.exchange, DONE, error.status, None)

    def break_off(self, outcome: str) -> None:
        self._connection.http2.reset(self.stream, Code.INTERNAL_ERROR)
        self._connection.flush_soon()
        self._connection.forget(self.exchange, GONE, self.status if self.on_wire else 0, outcome)

    def let_go(self) -> None:
        """Nothing: no other request waits for this one, and a client that leaves resets its stream."""


class Session(PipeUser, Protocol):
    """The session that a pipe carries."""

    task: asyncio.Task[None] | None

    def begin(self, pipe: Pipe, peer: Peer, rest: bytes) -> None: ...


class StreamPipe(OnStream):
    """Pipe of a WebSocket session: one direction ends with END_STREAM, both with RST_STREAM (RFC 8441 section 5).

    The session begins when all that has arrived is read. What the client does to the stream before that waits for it; a
    stream that does not last so long has no session.
    """

    __slots__ = (
        "_begun", "_ended", "_held", "_peer", "deadline", "linger_until", "reading", "received", "sent", "session",
    )  # fmt: skip

    def __init__(
        self, service: Service, connection: Streams, stream: Stream, request: Request, peer: Peer, session: Session
    ) -> None:
        super().__init__(service, connection, stream, request)
        stream.tunnel = True
        self.session = session
        self._peer = peer
        self._begun = False
        self._held = bytearray()  # what has arrived while the session reads nothing; its window bounds it
        self._ended = False  # and behind that, the client's direction
        self.reading = False  # until it has begun
        self.received = self.sent = 0
        self.deadline = NEVER  # when the session has to look after something
        self.linger_until = NEVER  # when the client has to have ended its direction

    def call(self) -> None:
        """Begin the session, unless the client has reset the stream in the same breath."""
        if self.stream.carrier is self:
            self._begun = True
            self.session.begin(self, self._peer, b"")
            self.resume_reading()

    # The connection's side.

    def data_received(self, data: bytes) -> None:
        """Take octets of the client."""
        self.received += len(data)
        self._connection.received -= len(data)
        if self.reading:
            self._hand_over(data)
        else:
            self._held += data

    def ended(self) -> None:
        """The client has ended its direction."""
        self._ended = True
        if self.reading:
            self._hand_over_end()

    def lost(self, why: str) -> None:
        """The stream is gone, and with it the session; `why` is for people."""
        if self._begun:
            self.session.lost(why)
            self._connection.abandon(self.session, self.stream)

    def writing_resumed(self) -> None:
        super().writing_resumed()
        if self._begun:
            self.session.writing_resumed()

    def look(self, now: float) -> None:
        """Act on what is due."""
        if now >= self.linger_until:
            if self.stream.queued:  # the client still takes it; if it stops, that is `http.write_timeout`
                self.linger_until = now + LINGER
            else:
                self._connection.http2.reset(self.stream, Code.CANCEL)
        elif now >= self.deadline:
            self.session.expire(now)

    def _hand_over(self, data: bytes) -> None:
        self._connection.http2.body_taken(self.stream, len(data))
        self._connection.flush_soon()
        self.session.data_received(data)

    def _hand_over_end(self) -> None:
        self.session.ended()
        self._connection.abandon(self.session, self.stream)

    # The answer to the handshake.

    def begin_answer(self, request: Request, request_id: str | None) -> None:  # noqa: ARG002
        self.id_value = b"" if request_id is None else request_id.encode()

    def accept(self, agreed: Iterable[tuple[str, str]], headers: Iterable[Sequence[Any]]) -> None:
        fields = [(name.encode(), value.encode("latin-1")) for name, value in agreed]
        for name, value in headers:
            check_handshake_field(name, value)
            fields.append((name, value))
        self.start(200, fields)
        self._connection.http2.send_head(self.stream, self.head(0, True))
        self._connection.flush_soon()

    def write_body(self, data: bytes, more: bool) -> None:
        self._send(data, more)

    def refuse(self, error: RequestError) -> None:
        self.status, self.on_wire = error.status, True
        self._answer(error, "CONNECT")

    # The session.

    def write(self, octets: bytes) -> None:
        self.sent += len(octets)
        self._connection.sent -= len(octets)
        self._connection.http2.send_data(self.stream, octets)
        self._connection.flush_soon()

    def write_pieces(self, pieces: list[bytes]) -> None:
        self.write(b"".join(pieces))

    def untaken(self) -> int:
        """How much of what was written has not left the stream; what the kernel holds belongs to all streams."""
        return self.stream.queued

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        if not self.reading:
            self.reading = True
            held, self._held = self._held, bytearray()
            if held:
                self._hand_over(bytes(held))
            if self._ended and self.reading:  # it may have paused again
                self._hand_over_end()

    def watch(self, deadline: float) -> None:
        self.deadline = deadline

    # Ends.

    def linger(self) -> None:
        self._connection.http2.send_data(self.stream, b"", end=True)
        self._connection.flush_soon()
        self.linger_until = self._service.clock() + LINGER
        self.resume_reading()

    def close(self) -> None:
        if self.on_wire:
            self.linger()
        else:  # DATA without a head would be malformed
            self._cancel()

    def reset(self) -> None:
        self._connection.http2.reset(self.stream, Code.INTERNAL_ERROR)
        self._connection.flush_soon()

    def abort(self) -> None:
        self.lost("the stream was given up")
        self._cancel()

    def _cancel(self) -> None:
        self._connection.http2.reset(self.stream, Code.CANCEL)
        self._connection.flush_soon()


Carried = StreamCarrier | StreamPipe
"""The type of a stream's `carrier`."""
