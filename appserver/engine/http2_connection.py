"""A connection that speaks HTTP/2: any number of exchanges at a time, each carried by its stream.

    octets ─▶ http2.Connection ─▶ on_request, on_data, on_end ─▶ StreamCarrier, Exchange ─▶ application
    octets ◀─ http2.Connection ◀──────────── send_head, send_data ◀──┘

What frames mean, and what a client may ask for, is decided in `http2`; everything about a request that does not depend on
what carries it in `lifecycle`. Here both meet the transport, by way of `HTTP2Link`.

Time limits are looked at once a second while streams are open: there may be a hundred, each with three.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from appserver.engine import lifecycle, refusal
from appserver.engine.exchange import GONE, Exchange
from appserver.engine.http2_link import GRACE, HTTP2Link
from appserver.engine.http2_stream import Carried, Session, StreamCarrier, StreamPipe
from appserver.engine.link import NEVER
from appserver.engine.peer import Peer
from appserver.engine.service import Service
from appserver.engine.work import RequestWork
from appserver.errors import RequestError
from appserver.http.request import Request
from appserver.http2.connection import Connection
from appserver.http2.errors import Code, ConnectionFailure, Flood, StreamFailure
from appserver.http2.response import error_response
from appserver.http2.states import State
from appserver.http2.stream import Stream

LOOK_INTERVAL = 1.0
"""Seconds between two looks at the time limits of the streams."""

TURN_SIZE = 64 * 1024
"""Behind so many octets in one read others have a turn. There may be 20,000 frames in 256 KiB, and uvloop reads 32 times in a row."""


class HTTP2Connection(HTTP2Link):
    """Protocol of the transport, handler of the frames, owner of the exchanges."""

    __slots__ = ("_abandoned", "_begun", "peer")

    def __init__(self, service: Service, peer: Peer) -> None:
        assert service.http2 is not None, "HTTP/2 is not enabled"
        super().__init__(service, Connection(self, service.http2, service.clock()))
        self.peer = peer
        self._begun: list[Carried] = []  # to be called when all that has arrived is read
        # Applications are at work for these although the stream has ended: see `abandon`.
        self._abandoned: dict[int, Exchange | Session] | None = None

    # The transport's side.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        service = self._service
        service.slot.http2.connection_opened()
        self._read_by = service.clock() + service.opening_timeout
        self._finish_by = service.clock() + LOOK_INTERVAL
        self._set_deadline()
        if service.draining:
            self._leave()
        self.flush_soon()

    def data_received(self, data: bytes) -> None:
        self.received += len(data)
        if self._closing:
            return
        service = self._service
        if self._abandoned:
            self._count_abandoned(self._abandoned)
        self._flush_due = True  # at the end of this, and not before
        try:
            self.http2.receive(data, service.clock())
        except ConnectionFailure as failure:
            self._fail(failure)
            return
        if self._begun:
            begun, self._begun = self._begun, []
            for carrier in begun:
                carrier.call()
        self._flush()
        if self._is_unread():
            self.pause_reading()  # `resume_writing` goes on
        elif len(data) >= TURN_SIZE and not self._closing:
            self.pause_reading()
            service.loop.call_soon(self._read_on)

    def eof_received(self) -> bool:
        """The client has closed its side, and with it all: without its windows nothing can be sent for long."""
        self._half_closed = True
        if not self._closing:
            self._finish_all("aborted")
            self.close()
        return False

    def connection_lost(self, error: Exception | None) -> None:
        self._finish_all("aborted")
        self.received, self.sent = max(0, self.received), max(0, self.sent)
        super().connection_lost(error)
        self.http2.forget()
        self._count_streams()
        self._service.slot.http2.connection_closed()

    def resume_writing(self) -> None:
        super().resume_writing()
        if not self._closing:
            self._flush()
            self._read_on()

    # The handler of the frames.

    def on_request(self, stream: Stream, request: Request, *, complete: bool) -> None:
        service = self._service
        self._served += 1
        self._uncounted += 1
        if self._served == service.max_requests:
            self._leave()
        self._read_by = NEVER
        if self._finish_by == NEVER:
            self._finish_by = self.deadline = self.http2.now + LOOK_INTERVAL
        if request.upgrade is not None and self._begin_session(stream, request):
            if complete and stream.carrier is not None:
                stream.carrier.ended()
            return
        exchange = self._begin(stream, request)
        length = request.content_length
        if request.upgrade is not None:
            detail = f"no protocol but WebSocket is spoken over CONNECT, and {request.upgrade!r} is none"
            self.refuse(exchange, RequestError(501, "not_implemented", detail))
        elif length is not None and length > service.max_body_size:
            self.refuse(exchange, refusal.body_too_large(service))
        else:
            if complete:
                exchange.end()
            elif not request.expect_continue:  # otherwise it waits to be asked
                stream.carrier.read_by = exchange.started + service.body_timeout
            self._begun.append(stream.carrier)

    def _begin(self, stream: Stream, request: Request) -> Exchange:
        """Begin an exchange, whoever will answer it."""
        service = self._service
        carrier = StreamCarrier(service, self, stream, request)
        exchange = carrier.exchange = Exchange(carrier, request)
        stream.carrier = carrier  # not before: other threads look at its exchange
        lifecycle.begin(service, self.peer, exchange)
        if exchange.request_id is not None:
            carrier.id_value = exchange.request_id.encode()
        return exchange

    def _begin_session(self, stream: Stream, request: Request) -> bool:
        """Begin a WebSocket session, or refuse its handshake; returns whether the request is one."""
        from appserver.engine.session import take_handshake  # as in `Connection`

        try:
            session = take_handshake(self._service, request)
        except RequestError as error:
            self.refuse(self._begin(stream, request), error)
            return True
        if session is None:
            return False
        stream.carrier = StreamPipe(self._service, self, stream, request, self.peer, session)
        self._begun.append(stream.carrier)
        return True

    def on_unservable(self, stream: Stream, error: RequestError, method: str) -> None:
        self._uncounted += 1
        lifecycle.note_refusal(self._service, error, self.peer.address, None)
        head, body = error_response(self._service.defaults, error, method, b"")
        self.http2.send_head(stream, head, end=not body)
        self.http2.send_data(stream, body, end=True)

    def on_data(self, stream: Stream, data: bytes) -> None:
        carrier: Carried | None = stream.carrier
        if carrier is None:
            self.http2.discard(len(data))
            return
        if isinstance(carrier, StreamPipe):
            carrier.data_received(data)
            return
        exchange, service = carrier.exchange, self._service
        carrier.expects_continue = False
        carrier.body_size += len(data)
        if carrier.body_size > service.max_body_size:
            self.refuse(exchange, refusal.body_too_large(service))
            return
        carrier.read_by = self.http2.now + service.body_timeout
        exchange.take(data)

    def on_end(self, stream: Stream) -> None:
        carrier: Carried | None = stream.carrier
        if isinstance(carrier, StreamPipe):
            carrier.ended()
        elif carrier is not None:
            carrier.read_by = NEVER
            carrier.exchange.end()

    def on_reset(self, stream: Stream, failure: StreamFailure | None) -> None:
        carrier: Carried | None = stream.carrier
        if isinstance(carrier, StreamPipe):
            if failure is not None:
                self._note_violation(failure, None)
            stream.carrier = None
            carrier.lost("the stream was reset")
            return
        if failure is not None:
            self._note_violation(failure, None if carrier is None else carrier.exchange)
        if carrier is not None:
            exchange = carrier.exchange
            status = carrier.status if carrier.on_wire else 0
            self.forget(exchange, GONE, status, "aborted" if failure is None else "error")
            self.abandon(exchange, stream)

    def on_rejected(self, stream_id: int, failure: StreamFailure) -> None:  # noqa: ARG002
        self._note_violation(failure, None)

    def on_writable(self, stream: Stream) -> None:
        if stream.carrier is not None:
            stream.carrier.writing_resumed()

    def on_reset_frame(self, direction: str, code: int) -> None:
        self._service.slot.http2.stream_reset(direction, code)

    def on_drained(self) -> None:
        self.http2.refuse_streams()

    def refuse(self, exchange: Exchange, error: RequestError) -> None:
        """Answer a request that asks for too much, or comes too slowly."""
        lifecycle.note_refusal(self._service, error, self.peer.address, exchange)
        if exchange.carrier.on_wire:
            exchange.carrier.break_off("error")
        else:
            exchange.carrier.refuse(error, "error")
        self.abandon(exchange, exchange.carrier.stream)  # type: ignore[attr-defined]  # of this connection

    def _note_violation(self, failure: StreamFailure, exchange: Exchange | None) -> None:
        """Count and log that a stream has been reset because of what the client has done."""
        service = self._service
        reason = "http2_refused" if failure.code is Code.REFUSED_STREAM else "http2_stream"
        service.slot.rejected(reason)
        known = lifecycle.describe(self.peer.address, exchange)
        service.logger.info("stream reset", reason=reason, code=failure.code.name, detail=str(failure), **known)

    def _fail(self, failure: ConnectionFailure) -> None:
        """End the connection because of what the client has done, or not done in time."""
        service = self._service
        service.slot.rejected(failure.reason)
        if isinstance(failure, Flood):
            service.slot.http2.flood(failure.kind)
        service.logger.info(
            "connection closed",
            reason=failure.reason,
            code=failure.code.name,
            detail=str(failure),
            **self._identity(),
        )
        self._finish_all("error")
        self._flush_due = False
        self.write(self.http2.octets_to_send(0))
        self.linger()

    # The exchanges.

    def forget(self, exchange: Exchange, phase: int, status: int, outcome: str | None) -> None:
        """An exchange is over for its client: count it."""
        carrier: StreamCarrier = exchange.carrier  # type: ignore[assignment]  # of this connection
        stream = carrier.stream
        exchange.received, exchange.sent = stream.received, stream.sent + stream.queued
        self.received -= exchange.received
        self.sent -= exchange.sent
        stream.carrier = None
        lifecycle.finish(self._service, exchange, phase, status, outcome)

    def _exchanges(self) -> list[Exchange]:
        # Other threads ask for it: making the list is one step for them, and behind that a carrier may go at any moment.
        streams = list(self.http2.streams.values())
        return [carrier.exchange for stream in streams if isinstance(carrier := stream.carrier, StreamCarrier)]

    def _pipes(self) -> list[StreamPipe]:
        streams = self.http2.streams.values()
        return [stream.carrier for stream in streams if isinstance(stream.carrier, StreamPipe)]

    def _finish_all(self, outcome: str) -> None:
        """The connection ends, and with it everything that is under way."""
        self._begun.clear()
        for stream in list(self.http2.streams.values()):
            carrier: Carried | None = stream.carrier
            stream.carrier = None
            if isinstance(carrier, StreamCarrier):
                status = carrier.status if carrier.on_wire else 0
                self.forget(carrier.exchange, GONE, status, outcome)
            elif carrier is not None:
                carrier.lost("the connection was lost")
            stream.congested = False
            if carrier is not None:
                carrier.writing_resumed()

    def abandon(self, work: Exchange | Session, stream: Stream) -> None:
        """A stream ends by what its client has done, or not done: it counts as open until the application is through."""
        if work.task is not None:
            if self._abandoned is None:
                self._abandoned = {}
            self._abandoned[stream.id] = work
            self.http2.abandoned(self._abandoned.keys())

    def _count_abandoned(self, abandoned: dict[int, Exchange | Session]) -> None:
        self._abandoned = {number: work for number, work in abandoned.items() if work.task is not None}
        self.http2.abandoned(self._abandoned.keys())

    def works(self) -> Sequence[RequestWork]:
        return self._exchanges()

    def _identity(self) -> dict[str, str]:
        return lifecycle.describe(self.peer.address, None)

    # Time.

    def _client_sends_nothing(self) -> None:
        if self._closing:
            self._has_lingered()
        elif self.http2.greeted and self.http2.incomplete_since is not None:
            self._give_up(_block_late())
        else:
            self._say_goodbye()

    def _is_late(self, now: float) -> None:
        """Look at the time limits of everything that is under way."""
        if self._closing:
            return
        http2, service = self.http2, self._service
        http2.now = now  # by which it notes what begins to wait: the client may have sent nothing for long
        if http2.incomplete_since is not None and now >= http2.incomplete_since + service.header_timeout:
            self._give_up(_block_late())
            return
        if http2.unanswered_settings is not None and now >= http2.unanswered_settings + service.header_timeout:
            self._give_up(ConnectionFailure(Code.SETTINGS_TIMEOUT, "the client does not acknowledge the settings"))
            return
        if now >= self._goodbye_by:
            http2.refuse_streams()
        elif now >= self._leave_by and self._served > self._leave_after:
            http2.announce_end(ask=True)
        interval = LOOK_INTERVAL
        for stream in list(http2.streams.values()):
            if self._is_stalled(stream, now):
                self._cut(stream)
            elif stream.carrier is not None:
                stream.carrier.look(now)
            elif stream.state is State.HALF_CLOSED_LOCAL and not self._call_off(stream, now):
                interval = GRACE
        waiting = http2.streams or http2.incomplete_since is not None or http2.unanswered_settings is not None
        self._finish_by = now + interval if waiting else NEVER
        self._flush()

    def _is_stalled(self, stream: Stream, now: float) -> bool:
        """Whether a client lets a response wait for a window for too long."""
        if not stream.queued or now < stream.moved + self._service.write_timeout:
            return False
        return stream.send_window <= 0 or self.http2.send_window <= 0

    def _cut(self, stream: Stream) -> None:
        """Give a response up of which the client takes nothing."""
        service, carrier = self._service, stream.carrier
        service.slot.rejected("write_timeout")
        limit = f"the client has opened no window for {service.write_timeout:g} s (http.write_timeout)"
        known = lifecycle.describe(self.peer.address, getattr(carrier, "exchange", None))
        service.logger.info("stream reset", reason="write_timeout", detail=limit, **known)
        self.http2.reset(stream, Code.CANCEL)
        if isinstance(carrier, StreamCarrier):
            self.forget(carrier.exchange, GONE, carrier.status, "aborted")
            self.abandon(carrier.exchange, stream)
        elif carrier is not None:
            stream.carrier = None
            carrier.lost(limit)

    def _give_up(self, failure: ConnectionFailure) -> None:
        self.http2.fail(failure)
        self._fail(failure)

    # Drain.

    def drain(self) -> None:
        for pipe in self._pipes():
            pipe.session.drain()
        self._leave()
        self.flush_soon()

    def close_if_idle(self) -> None:
        """The time for further requests is over: end now if no stream is open, else at the next quiet moment (see `_leave`)."""
        if not self._closing:
            for pipe in self._pipes():
                pipe.session.close_if_idle()
            if not self.http2.streams and self._goodbye_by == NEVER:
                self._say_goodbye()


def _block_late() -> ConnectionFailure:
    return Flood("slow", "a header block, or the preface, has taken longer than http.header_timeout")
