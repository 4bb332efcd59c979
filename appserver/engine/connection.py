"""A connection that speaks HTTP/1.1: one request after the other, each an `Exchange` whose carrier the connection is.

    octets ─▶ parser ─▶ on_head, on_body, on_end ─▶ Exchange ─▶ application
    octets ◀─ encoder ◀──────────── start, write_body ◀──┘

This is where the wire and the life of a request meet: `connection_states` has the states and what may follow on what,
`http1` the octets, `lifecycle` and `calls` everything about a request that does not depend on what carries it, `link` the transport.

The parser is paused from each head on until the response is complete, so there is never more than one request under
way: pipelined ones wait as octets. Reading goes on while those are few, as a client that leaves shows only where it is read.
The application is called after the parser has returned, so that what came with the head is there when it first calls `receive`.
"""

from __future__ import annotations

import asyncio
import select
from collections.abc import Iterable, Sequence
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from appserver.engine import calls, lifecycle, refusal
from appserver.engine import connection_states as states
from appserver.engine.exchange import DONE, GONE, Exchange
from appserver.engine.file import FilePart
from appserver.engine.filecopy import copy_file
from appserver.engine.http2_connection import HTTP2Connection
from appserver.engine.link import NEVER, Link
from appserver.engine.peer import Peer
from appserver.engine.pipe import SocketPipe
from appserver.engine.service import Service
from appserver.engine.work import RequestWork
from appserver.errors import RequestError
from appserver.http.request import Request
from appserver.http.response import HAS_ID, ResponseError
from appserver.http1.parser import Parser
from appserver.http1.response import CONTINUE, ResponseEncoder, early_hints, error_response
from appserver.http2.frames import PREFACE

if TYPE_CHECKING:
    from appserver.engine.session import Session

BUFFER_LIMIT = 64 * 1024
"""So much of a body waits for the application before reading pauses; one read more may come on top."""

LOOK_INTERVAL = 1.0
"""Seconds between two looks whether a client has left from which nothing is read at present."""

DISCARD_LIMIT = 256 * 1024
"""So much of a body that nobody wants is read for the sake of the connection; beyond that it is cheaper to close it."""


class Connection(Link):
    """Protocol of the transport, handler of the parser, carrier of the exchanges."""

    __deletable__ = ("_parser",)  # mypyc asks for that
    __slots__ = (
        "_body_size", "_encoder", "_expects_continue", "_keep_alive", "_parser", "_served", "_session", "_uncalled",
        "exchange", "peer", "state",
    )  # fmt: skip

    def __init__(self, service: Service, peer: Peer) -> None:
        super().__init__(service)
        self.peer = peer
        self.state = states.HEAD
        self.exchange: Exchange | None = None  # whose response is due: in BODY and RESPONSE
        assert service.lexer is not None, "this service has no connections"
        self._parser = Parser(service.lexer, self, service.limits)
        self._encoder = ResponseEncoder(service.defaults)
        # The parser's findings, to be acted on when it returns.
        self._uncalled: Exchange | None = None  # whose application is to be called
        self._session: Session | None = None  # what the connection is to be handed over to
        self._keep_alive = False  # the client wishes to send another request behind the present one
        self._expects_continue = False  # the client waits to be asked for the body
        self._body_size = 0  # octets of the body so far
        self._served = 0

    # The transport's side.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        service = self._service
        self._read_by = self.deadline = service.clock() + service.opening_timeout

    def data_received(self, data: bytes) -> None:
        self.received += len(data)
        if self.state == states.ENDING:
            return
        try:
            self._parser.feed(data)
        except RequestError as error:
            if error.status == HTTPStatus.HTTP_VERSION_NOT_SUPPORTED and self._is_preface(data):
                self._speak_http2(data)
            else:
                self._refuse_client(error)
            return
        exchange = self._uncalled
        if exchange is not None and self.state == states.RESPONSE and self._parser.idle:
            # What `_proceed` comes to for a request without a body and with nothing behind it, as most are.
            self._uncalled = None
            calls.call(self._service, exchange)
        else:
            self._proceed()

    def eof_received(self) -> bool:
        """The client has closed its side; returns whether it is still owed something."""
        self._half_closed = True
        state = self.state
        if state == states.ENDING:
            return False
        try:
            self._end_input()
        except RequestError as error:
            self._refuse_client(error)
        else:
            if self.exchange is None and self._parser.idle:
                self.close()
        return True

    def connection_lost(self, error: Exception | None) -> None:
        self._uncalled = None
        if self.exchange is not None:
            self._finish(self.exchange, GONE, "aborted")
        del self._parser  # it refers to this connection: not to be left to the garbage collector
        super().connection_lost(error)

    # The parser's side.

    def on_head(self, request: Request, keep_alive: bool) -> bool:
        self.state = states.AFTER_HEAD_READ[self.state]
        self._parser.paused = True
        self._keep_alive = keep_alive
        if request.upgrade is not None and self._service.speaks_websocket and self._is_handshake(request):
            return True
        exchange = self._begin(request)
        length = request.content_length
        if length is not None and length > self._service.max_body_size:
            raise refusal.body_too_large(self._service)
        self._uncalled = exchange
        self._body_size = 0
        self._expects_continue = request.expect_continue
        return False

    def on_body(self, data: bytes) -> None:
        self._expects_continue = False
        self._body_size += len(data)
        exchange = self.exchange
        if exchange is not None:  # otherwise nobody wants it any more
            if self._body_size > self._service.max_body_size:
                raise refusal.body_too_large(self._service)
            exchange.take(data)

    def on_end(self) -> None:
        self.state = states.AFTER_REQUEST_READ[self.state]
        self._read_by = NEVER
        if self.exchange is not None:
            self.exchange.end()
        else:
            self._service.loop.call_soon(self._take_turn)

    def _end_input(self) -> None:
        """Tell parser and exchange that nothing more comes; raises RequestError if a request breaks off by that."""
        if self.state in (states.BODY, states.REST):
            self._parser.paused = False  # for what comes behind this body, and nothing will
        self._parser.eof()
        if self.exchange is not None:
            self.exchange.half_close()

    # Requests.

    def _begin(self, request: Request) -> Exchange:
        """Begin an exchange, whoever will answer it."""
        service = self._service
        exchange = self.exchange = Exchange(self, request)
        lifecycle.begin(service, self.peer, exchange)
        self._served += 1
        keep_alive = self._keep_alive and not service.draining and self._served < service.max_requests
        encoder = self._encoder
        encoder.begin(request.method, request.http_version, keep_alive)
        if exchange.request_id is not None:
            encoder.id_field = service.id_field(exchange.request_id)
        self._read_by = NEVER
        self._finish_by = self.deadline = exchange.finish_by
        return exchange

    def _proceed(self) -> None:
        """Act on what the parser has delivered, and decide what is to be read next, and by when."""
        if self._session is not None:
            self._switch(self._session)
            return
        if self._uncalled is not None:
            exchange, self._uncalled = self._uncalled, None
            calls.call(self._service, exchange)
        state = self.state
        if state in (states.BODY, states.REST):
            self._await_body()
        elif state in (states.HEAD, states.IDLE):
            self._await_head()
        elif state == states.ENDING:
            pass  # the application has answered at once, and with that the connection ends: `linger` reads on
        elif self._parser.reads_on:
            self.resume_reading()  # to notice if the client goes away
        else:
            self.pause_reading()  # enough pipelined requests wait for this one
            self.send_by(self._service.clock() + LOOK_INTERVAL)

    def _await_body(self) -> None:
        exchange = self.exchange
        if exchange is not None and exchange.buffered > BUFFER_LIMIT:
            self.pause_reading()
            self._read_by = self._service.clock() + LOOK_INTERVAL
        elif exchange is None and self._body_size > DISCARD_LIMIT:
            self.linger()
        else:
            self.resume_reading()
            # A client that waits to be asked for its body is not late, however long the application takes to ask for it.
            self._read_by = NEVER if self._expects_continue else self._service.clock() + self._service.body_timeout
        self._set_deadline()

    def _await_head(self) -> None:
        """Nothing is under way: wait for a head to begin, or to end."""
        if self._half_closed:
            self.close()
            return
        self.resume_reading()
        if self.state == states.HEAD:
            return  # its time limit counts from its beginning
        service = self._service
        limit = service.keepalive_timeout
        if not self._parser.idle:
            self.state = states.AFTER_HEAD_BEGAN[self.state]
            limit = service.header_timeout
        self._read_by = service.clock() + limit
        self._set_deadline()

    def _complete(self, exchange: Exchange, phase: int = DONE) -> None:
        """The response is complete: wait for the next request, or end the connection.

        `phase` is GONE if the application is not through with it.
        """
        now = self._finish(exchange, phase)
        self.state = state = states.AFTER_RESPONSE_SENT[self.state]
        if state == states.ENDING:
            return
        if not self._encoder.keep_alive:
            if state == states.TURN and not self._keep_alive:
                self.close()  # as the client has asked for, so it sends nothing more
            else:
                self.linger()
        elif state == states.REST:
            self._await_body()
        elif self.congested or self._half_closed or not self._parser.idle:
            # Not from within the application's `send`; and other connections have their turn first.
            self._service.loop.call_soon(self._take_turn)
        else:
            self.state = states.AFTER_NEXT_WANTED[state]
            self._parser.paused = False
            self._read_by = self.deadline = now + self._service.keepalive_timeout

    def _take_turn(self) -> None:
        """Go on with what has arrived during the last request, if its response is on its way."""
        if self.state != states.TURN or self.congested:
            return
        self.state = states.AFTER_NEXT_WANTED[self.state]
        try:
            self._parser.resume()
            if self._half_closed:
                self._end_input()
        except RequestError as error:
            self._refuse_client(error)
        else:
            self._proceed()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._take_turn()

    # WebSocket.

    def _is_handshake(self, request: Request) -> bool:
        """Whether a request with an Upgrade field begins a session; raises RequestError."""
        from appserver.engine.session import take_handshake  # loads a library that only those need who speak WebSocket

        try:
            self._session = take_handshake(self._service, request)
        except RequestError:
            self._begin(request)  # no application will see it, but it has its id and its record
            raise
        return self._session is not None

    def _switch(self, session: Session) -> None:
        """Leave the transport to a WebSocket session; nothing is left to do here."""
        self.state = states.AFTER_SWITCH[self.state]
        rest = self._parser.take_rest()
        del self._parser  # as in `connection_lost`, which the pipe will get in its place
        pipe = SocketPipe(self._service, self._encoder, session)
        self.hand_over(pipe)
        session.begin(pipe, self.peer, rest)
        if self._half_closed:
            pipe.eof_received()  # the client has said so already, behind an earlier request

    # HTTP/2 by prior knowledge.

    def _is_preface(self, data: bytes) -> bool:
        """Whether all that the client has sent, with `data` last, begins an HTTP/2 connection (RFC 9113 section 3.3)."""
        before = self.received - len(data)
        octets = PREFACE[:before] + data
        size = min(len(octets), len(PREFACE))
        return (
            self._service.http2 is not None
            and not self.encrypted
            and not self._served
            and before < len(PREFACE)
            and octets[:size] == PREFACE[:size]
        )

    def _speak_http2(self, data: bytes) -> None:
        """Leave the transport to a connection of HTTP/2, with what the client has sent."""
        self.state = states.AFTER_SWITCH[self.state]
        del self._parser
        connection = HTTP2Connection(self._service, self.peer)
        octets = PREFACE[: self.received - len(data)] + data
        self.received = 0
        self.hand_over(connection)
        connection.data_received(octets)

    # The exchange's side.

    @property
    def on_wire(self) -> bool:
        return self._encoder.on_wire

    def start(self, status: Any, headers: Iterable[Sequence[Any]]) -> bool:
        return self._encoder.start(status, headers)

    def write_body(self, data: bytes, more: bool) -> None:
        encoder = self._encoder
        if encoder.on_wire:
            if self._transport.is_closing():
                self._note_loss()
                return
            parts = encoder.body(data, more)
        else:
            if self.state == states.BODY:
                self._decide_on_unread_body(more)
            parts = encoder.head_and_body(data, more)
        if len(data) <= self._service.join_limit:
            octets = b"".join(parts)
            self.sent += len(octets)
            self._transport.write(octets)
        else:
            self.write_pieces(parts)
        if not more:
            assert self.exchange is not None
            self._complete(self.exchange)

    def _note_loss(self) -> None:
        """A write has failed, of which the transport tells only in the next turn of the loop: the client has left.

        The transport takes whatever is written till then, so an application that does nothing but send would never come to that turn.
        """
        assert self.exchange is not None
        self._finish(self.exchange, GONE, "aborted")

    async def write_file(self, part: FilePart, more: bool) -> None:
        exchange = self.exchange
        assert exchange is not None
        if self.state == states.BODY and not self._encoder.on_wire:
            self._decide_on_unread_body(more)
        before, behind, size = self._encoder.file(part.size, more)
        self.write(b"".join(before))
        if size:
            try:
                complete = await copy_file(self, part._replace(size=size))
            except BaseException:
                if exchange is self.exchange:
                    # Octets are missing that have been announced: nothing that the application goes on to send may stand in their place.
                    self.break_off("error")
                raise
            if not complete:
                if exchange is self.exchange:
                    self._finish(exchange, GONE, "aborted")  # uvloop says it is lost only after the application goes on
                return
        if exchange is self.exchange:
            self.write(b"".join(behind))
            if not more:
                self._complete(exchange)

    def write_trailers(self, headers: Iterable[Sequence[Any]]) -> None:
        exchange = self.exchange
        assert exchange is not None
        self.write(b"".join(self._encoder.trailers(headers, accepted=exchange.request.accepts_trailers)))
        self._complete(exchange)

    def hint(self, links: Iterable[Any]) -> None:
        if self._encoder.on_wire:
            raise ResponseError("http.response.early_hint was sent after the head of the response")
        octets = early_hints(links)
        if self.exchange is None:
            return
        if self._transport.is_closing():
            self._note_loss()
        elif self.exchange.request.http_version != "1.0":
            self.write(octets)

    def _decide_on_unread_body(self, more: bool) -> None:
        """The response does not wait for the request's body: announce the end if what follows is not worth reading.

        A client that waits for a 100 (Continue) may send its body nevertheless, or its next request (RFC 9110, 10.1.1).
        """
        assert self.exchange is not None
        left = (self.exchange.request.content_length or 0) - self._body_size
        if self._expects_continue or (left > DISCARD_LIMIT and not more):
            self._encoder.keep_alive = False

    def invite_body(self) -> None:
        if self._expects_continue:
            self._expects_continue = False
            if not self._encoder.on_wire:
                self.write(CONTINUE)
            self._await_body()

    def body_taken(self, octets: int) -> None:  # noqa: ARG002  # all that is buffered has been taken
        if not self.reading and self.state == states.BODY:
            self._await_body()

    def refuse(self, error: RequestError, outcome: str) -> None:
        exchange, encoder = self.exchange, self._encoder
        if exchange is not None:
            method = exchange.request.method
        else:
            method = "HEAD" if self._parser.begins_with_head else "GET"
            encoder.id_field = b""  # that of an earlier request
        encoder.begin(method, "1.1", keep_alive=False)
        self.write(b"".join(error_response(encoder, error)))
        if exchange is not None:
            self._finish(exchange, GONE, outcome)
        self.linger()

    def turn_away(self, error: RequestError) -> None:
        if self.state == states.BODY:
            self.refuse(error, "error")  # rather than read a body that nobody wants
            return
        assert self.exchange is not None
        self.write(b"".join(error_response(self._encoder, error)))
        self._complete(self.exchange)

    def break_off(self, outcome: str) -> None:
        assert self.exchange is not None
        self._finish(self.exchange, GONE, outcome)
        if self._encoder.ends_with_connection:
            self.reset()
        else:
            self.close()

    def let_go(self) -> None:
        """Do so for a client that has sent its next request, or has closed its side: as nothing is written, it would not be seen to leave."""
        if self.state == states.RESPONSE and (self._half_closed or not self._parser.idle):
            assert self.exchange is not None
            self._complete(self.exchange, GONE)

    def _finish(self, exchange: Exchange, phase: int, outcome: str | None = None) -> float:
        """Forget an exchange that is over for the client; returns the time."""
        encoder = self._encoder
        exchange.received, exchange.sent = self.received, self.sent
        self.received = self.sent = 0
        self.exchange = self._uncalled = None
        self._finish_by = NEVER
        if not encoder.on_wire:
            return lifecycle.finish(self._service, exchange, phase, 0, outcome)
        if encoder.flags >= HAS_ID:
            exchange.request_id = encoder.own_id.decode("latin-1")  # the one that the client has
        return lifecycle.finish(self._service, exchange, phase, encoder.status, outcome)

    # Errors of the client.

    def _refuse_client(self, error: RequestError) -> None:
        """Answer a client that cannot be understood, or asks for too much, and take nothing more from it."""
        exchange = self.exchange
        lifecycle.note_refusal(self._service, error, self.peer.address, exchange)
        if exchange is not None and self._encoder.on_wire:
            self.break_off("error")
        elif self.state == states.REST:
            self.linger()  # it has its answer already
        else:
            self.refuse(error, "error")

    def _identity(self) -> dict[str, str]:
        return lifecycle.describe(self.peer.address, self.exchange)

    # Time.

    def _client_sends_nothing(self) -> None:
        state = self.state
        if state == states.ENDING:
            self._has_lingered()
        elif not self.reading:
            self._look_after_client()
        elif state in (states.BODY, states.REST):
            self._refuse_client(refusal.body_late(self._service))
        elif self._parser.idle:
            self.close()
        else:
            self._refuse_client(refusal.head_late(self._service))

    def _look_after_client(self) -> None:
        """Notice if the client has left while nothing is read from it."""
        state, exchange = self.connected(), self.exchange
        if state & select.POLLERR:
            self.abort()
            return
        if state & select.POLLRDHUP and self.state == states.RESPONSE and exchange is not None:
            exchange.half_close()  # more of a body may be there to be read, but not of this one
        self._read_by = self._service.clock() + LOOK_INTERVAL

    def _is_late(self, now: float) -> None:  # noqa: ARG002
        assert self.exchange is not None
        calls.time_out(self._service, self.exchange)

    # Work that is under way, and the drain.

    def works(self) -> Sequence[RequestWork]:
        exchange = self.exchange
        return () if exchange is None else (exchange,)

    def drain(self) -> None:
        if not self._encoder.on_wire:
            self._encoder.keep_alive = False

    def close_if_idle(self) -> None:
        if (self.state == states.IDLE or self.state == states.HEAD) and self._parser.idle:
            self.close()

    def _end(self) -> None:
        super()._end()
        self.state = states.AFTER_END[self.state]
