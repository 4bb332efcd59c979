"""A connection that speaks HTTP/1.1: one request after the other, each an `Exchange`.

    octets ─▶ parser ─▶ on_head, on_body, on_end ─▶ Exchange ─▶ application
    octets ◀─ encoder ◀────────────────────────────── send ◀──────┘

The parser is paused from each head on until the response is complete, so there is never more than one request under
way: pipelined ones wait as octets, and reading stops when they do. The application is started after the parser has
returned, so that what came with the head is there when it first calls `receive`.
"""

from __future__ import annotations

import asyncio
import ssl
from functools import partial
from typing import TYPE_CHECKING, Any

from appserver.engine import refusal
from appserver.engine.admission import Overload
from appserver.engine.exchange import DONE, GONE, Exchange
from appserver.engine.failure import ENDS_WORKER, because_of_disconnect, report_failure, report_timeout
from appserver.engine.link import NEVER
from appserver.engine.responder import DISCARD_LIMIT, Responder
from appserver.engine.scope import http_scope, seen_by_proxy
from appserver.engine.service import Service, start_task
from appserver.errors import RequestError
from appserver.http.head import RequestHead
from appserver.http.parser import Parser
from appserver.http.response import error_response
from appserver.proxy import Address
from appserver.tls import describe_session

if TYPE_CHECKING:
    from appserver.engine.session import Session

BUFFER_LIMIT = 64 * 1024
"""So much of a body waits for the application before reading pauses; one read more may come on top."""


class Connection(Responder):
    """Protocol of the transport, handler of the parser, and what decides on the life of both."""

    __slots__ = ("_in_head", "_next", "_parser", "_served", "_session", "_template", "peer", "trusted")

    def __init__(self, service: Service, client: Address | None, template: dict[str, Any]) -> None:
        """`template`: what is the same in the scope of each of its requests (see `scope.scope_template`)."""
        super().__init__(service, client)
        self.peer = client
        self.trusted = service.trust.trusts(client)  # what the peer says about others is believed
        self._template = template
        self._parser = Parser(service.lexer, self, service.limits)
        self._next: Exchange | None = None  # whose application is to be started when the parser returns
        self._session: Session | None = None  # what the connection is to be handed over to when the parser returns
        self._in_head = True  # a head is due
        self._served = 0

    def introduce(self, client: Address | None, server: Address | None) -> None:
        """A proxy has made this connection for another one: whose, and to where (None: through a unix socket)."""
        self.peer = self._client = client
        self.trusted = self._service.trust.trusts(client)
        if server is not None:
            self._template = self._template | {"server": server}

    # The transport's side.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        service = self._service
        # In a drain, the last ones out of the backlog have no more time to begin than those that are idle.
        limit = min(service.header_timeout, service.keepalive_timeout) if service.draining else service.header_timeout
        self._read_by = self.deadline = service.clock() + limit

    def secured(self, session: ssl.SSLObject) -> None:
        """The TLS handshake is complete."""
        self._template = self._template | {"extensions": describe_session(session)}

    def insecure(self, error: ssl.SSLError) -> None:
        """There was no TLS handshake; the connection ends."""
        self._service.slot.rejected("tls")
        detail = (error.reason or str(error)).lower().replace("_", " ")
        self._service.logger.info("connection refused", reason="tls", client=self.peer, detail=detail)

    def data_received(self, data: bytes) -> None:
        self._received += len(data)
        if self._closing:
            return
        try:
            self._parser.feed(data)
        except RequestError as error:
            self._refuse(error)
            return
        exchange = self._next
        if exchange is not None and self._receiving is None:
            # What `_proceed` comes to for a request without a body, which most are.
            self._next = None
            self._start(exchange)
        else:
            self._proceed()

    def eof_received(self) -> bool:
        """The client has closed its side; returns whether it is still owed something."""
        self._half_closed = True
        if self._closing:
            return False
        if self._receiving is not None:
            self._parser.paused = False  # for what comes behind this body, and nothing will
        try:
            self._parser.eof()
        except RequestError as error:
            self._refuse(error)
        else:
            if self.exchange is not None:
                self.exchange.half_close()
            elif self._parser.idle:
                self._close()
        return True

    def connection_lost(self, error: Exception | None) -> None:
        self._next = self._receiving = None
        if self.exchange is not None:
            self._finish(self.exchange, GONE, "aborted")
        del self._parser  # it refers to this connection: not to be left to the garbage collector
        super().connection_lost(error)

    # The parser's side.

    def on_head(self, head: RequestHead) -> bool:
        self._parser.paused = True
        self._in_head = False
        length = head.content_length
        if length is not None and length > self._service.max_body_size:
            raise self._refused(head, refusal.body_too_large(self._service))
        if head.upgrade is not None and self._service.speaks_websocket:
            from appserver.engine.session import take_handshake

            try:
                self._session = take_handshake(self._service, head)
            except RequestError as error:
                raise self._refused(head, error) from None
            if self._session is not None:
                return True
        self._next = self._receiving = Exchange(self, head)
        self._body_size = 0
        self._expects_continue = head.expect_continue
        return False

    def on_body(self, data: bytes) -> None:
        exchange = self._receiving
        assert exchange is not None
        self._expects_continue = False
        self._body_size += len(data)
        if exchange.phase < DONE:
            if self._body_size > self._service.max_body_size:
                raise refusal.body_too_large(self._service)
            exchange.take(data)

    def on_end(self) -> None:
        exchange = self._receiving
        assert exchange is not None
        self._receiving = None
        exchange.end()
        if exchange.phase == DONE:
            self._parser.paused = False  # the rest of a body that nobody wanted, so the next request has its turn

    # Requests.

    def _proceed(self) -> None:
        """Act on what the parser has delivered: start the application, and decide what to wait for next."""
        exchange = self._next
        if self._session is not None:
            self._begin_session(self._session)
            return
        if exchange is not None:
            self._next = None
            self._start(exchange)
        if self._receiving is not None:
            self._await_body(self._receiving)
        elif not self._parser.paused:
            self._await_request()
        elif exchange is None and not self._parser.idle:
            self._pause_reading()  # a pipelined request has to wait for this one

    def _start(self, exchange: Exchange) -> None:
        service = self._service
        template = self._open(exchange)
        scope = http_scope(template, exchange.head, self._client, service.state)
        if exchange.request_id is not None:
            scope["state"]["request_id"] = exchange.request_id
        application = service.application
        if service.admission is not None:
            application = partial(service.admission.run, exchange, application)
        running = exchange.run(application, scope, service.background)
        task = start_task(running, loop=service.loop, context=service.context.copy())
        exchange.task = None if task.done() else task

    def _open(self, exchange: Exchange) -> dict[str, Any]:
        """Begin to answer a request, whoever will do that; returns what its scope is to be made from."""
        service = self._service
        head = exchange.head
        self._served += 1
        keep_alive = head.keep_alive and not service.draining and self._served < service.max_requests
        self.encoder.begin(head.method, head.http_version, keep_alive)
        self.exchange = exchange
        exchange.started = now = service.clock()
        self._read_by = NEVER
        self._finish_by = self.deadline = now + service.request_timeout
        octets = b""
        if service.request_ids is not None:
            exchange.request_id = request_id = service.request_ids.of(head, self.trusted)
            octets = request_id.encode()
            self.encoder.id_field = service.request_ids.prefix + octets
        exchange.number = service.slot.request_started(now, head.method, head.raw_path, octets)
        return self._template if not self.trusted else self._find_origin(head)

    def _find_origin(self, head: RequestHead) -> dict[str, Any]:
        """Note who the client of a request from a trusted peer is; returns what the scope is to be made from."""
        read_origin = self._service.read_origin
        if not head.forwarded or read_origin is None:
            self._client = self.peer
            return self._template
        origin = read_origin(head.headers, self.peer, self._service.trust)
        self._client = origin.client
        return seen_by_proxy(self._template, head, origin)

    def _begin_session(self, session: Session) -> None:
        """Leave the connection to a WebSocket session; nothing is left to do here."""
        rest = self._parser.take_rest()
        del self._parser  # as in `connection_lost`, which the session will get in its place
        template = self._template if not self.trusted else self._find_origin(session.head)
        if self._service.request_ids is not None:
            session.request_id = self._service.request_ids.of(session.head, trusted=self.trusted)
        session.begin(self, self._client, template, rest)

    def _await_body(self, exchange: Exchange) -> None:
        if exchange.buffered > BUFFER_LIMIT:
            self._pause_reading()
            self._read_by = NEVER
        elif exchange.phase >= DONE and self._body_size > DISCARD_LIMIT:
            self._receiving = None
            self._linger()
        else:
            self._resume_reading()
            self._read_by = self._service.clock() + self._service.body_timeout
        self._set_deadline()

    def _await_request(self) -> None:
        """Nothing is under way: wait for a head to begin, or to end."""
        if self._closing or (self._in_head and not self._half_closed):
            return
        if self._half_closed:
            self._close()
            return
        service = self._service
        self._in_head = not self._parser.idle
        self._read_by = service.clock() + (service.header_timeout if self._in_head else service.keepalive_timeout)
        self._set_deadline()

    def _complete(self, exchange: Exchange) -> None:
        now = self._finish(exchange, DONE)
        if not self.encoder.keep_alive:
            if self._receiving is None and not exchange.head.keep_alive:
                self._close()  # as the client has asked for, so it sends nothing more
            else:
                self._receiving = None
                self._linger()
        elif self._receiving is not None:
            self._await_body(self._receiving)
        elif self.congested or self._half_closed or not self._parser.idle:
            # Not from within the application's `send`; and other connections have their turn first.
            self._service.loop.call_soon(self._resume)
        else:
            self._parser.paused = False
            self._read_by = self.deadline = now + self._service.keepalive_timeout

    def resume_writing(self) -> None:
        super().resume_writing()
        if not self._closing and self.exchange is None and self._parser.paused:
            self._resume()

    def _resume(self) -> None:
        """Go on with what has arrived during the last request, once its response is on its way."""
        if self._closing or self.congested or not self._parser.paused:
            return
        self._resume_reading()
        try:
            self._parser.resume()
        except RequestError as error:
            self._refuse(error)
        else:
            self._proceed()

    # The exchange's side.

    def body_taken(self) -> None:
        if not self._reading and self._receiving is not None:
            self._await_body(self._receiving)

    def application_failed(self, exchange: Exchange, error: BaseException | None) -> None:
        report_failure(self._service, exchange, error)
        if exchange.phase < DONE:
            if isinstance(error, Overload):
                self._turn_away(exchange, error)
            elif because_of_disconnect(exchange, error):
                self._break_off(exchange, "aborted")
            elif self.encoder.on_wire:
                self._break_off(exchange, "error")
            elif isinstance(error, asyncio.CancelledError):
                self._answer(refusal.application_cancelled(), "aborted")
            else:
                self._answer(refusal.application_failed(), "error")
        if isinstance(error, ENDS_WORKER):
            self._service.on_exit()

    # Errors.

    def _refuse(self, error: RequestError) -> None:
        """Answer a client that cannot be understood, or asks for too much, and take nothing more from it."""
        self._note_refusal(error)
        receiving = self._receiving
        self._next = self._receiving = None
        if self.exchange is not None and self.encoder.on_wire:
            self._break_off(self.exchange, "error")
        elif receiving is not None and receiving.phase == DONE:
            self._linger()  # it has its answer already
        else:
            self._answer(error, "error", "GET" if receiving is None else receiving.head.method)

    def _note_refusal(self, error: RequestError) -> None:
        self._service.slot.rejected(error.reason)
        self._service.logger.info(
            "request refused", status=error.status, reason=error.reason, detail=str(error), **self._identity()
        )

    def _refused(self, head: RequestHead, error: RequestError) -> RequestError:
        """Open a request that no application will see, so that it has its id and its record; returns the error."""
        self._open(Exchange(self, head))
        return error

    def _identity(self) -> dict[str, str]:
        known = {} if self._client is None else {"client": self._client[0]}
        if self.exchange is not None:
            known |= {"method": self.exchange.head.method, "path": self.exchange.head.path, **self.exchange.identity()}
        return known

    def _turn_away(self, exchange: Exchange, error: RequestError) -> None:
        """Answer an error that does not affect the connection."""
        if self._receiving is not None:
            self._refuse(error)
            return
        self._note_refusal(error)
        self.write(error_response(self.encoder, error))
        self._complete(exchange)

    # Time.

    def _client_sends_nothing(self) -> None:
        if self._closing:
            self.abort()
        elif self._receiving is not None:
            self._refuse(refusal.body_late(self._service))
        elif self._parser.idle:
            self._close()
        else:
            self._refuse(refusal.head_late(self._service))

    def _application_is_late(self) -> None:
        exchange = self.exchange
        assert exchange is not None
        error = refusal.application_late(self._service)
        self._service.slot.rejected(error.reason)
        report_timeout(self._service, exchange, error)
        task = exchange.task
        if self.encoder.on_wire:
            self._break_off(exchange, "timed_out")
        else:
            self._answer(error, "timed_out")
        if task is not None:
            task.cancel()

    # Drain.

    def drain(self) -> None:
        if not self.encoder.on_wire:
            self.encoder.keep_alive = False

    def close_if_idle(self) -> None:
        if not self._closing and not self._parser.paused and self._parser.idle:
            self._close()
