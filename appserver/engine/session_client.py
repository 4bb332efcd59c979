"""The client's side of a WebSocket session: octets and frames, flow, keep-alive, time limits, how it ends.

It runs over a `Pipe`, and does not know what that is made of. `session` is the application's side.

Reading pauses while enough messages wait for the application, and while the client does not take the answers to its
pings. That a client is there is asked with a ping every `websocket.ping_interval`; anything that it sends is an answer,
so one that is busy sending a large message is not taken for gone.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

from appserver.engine.failure import report_unrecorded
from appserver.engine.link import NEVER
from appserver.engine.pipe import Pipe
from appserver.engine.service import Service
from appserver.http.request import Request
from appserver.proxy import Address
from appserver.telemetry.access_format import SessionEnd
from appserver.websocket.handshake import Handshake
from appserver.websocket.protocol import FrameProtocol

CONNECTING: Final = 0
DENYING: Final = 1
OPEN: Final = 2
CLOSING: Final = 3
CLOSED: Final = 4

EARLY_LIMIT = 64 * 1024
"""So many octets may arrive before the application has accepted; a client has to wait for that (RFC 6455 section 4.1)."""

VIOLATION = "websocket"
"""The label in `appserver_rejected_total` of clients that do not keep to the protocol, or send too large a message."""

ABNORMAL: Final = 1006
POLICY_VIOLATION: Final = 1008
NO_PONG: Final = 1011


class ClientSide:
    """The parts of a session below the application."""

    __slots__ = (
        "_asked_at", "_early", "_early_size", "_finish_by", "_handshake", "_look_by", "_message_by", "_messages_then", "_ping_due",
        "_pipe", "_pong_due", "_receivers", "_service", "_taken", "client", "close_code", "close_reason", "closed_by_application",
        "disconnect", "messages_received", "messages_sent", "number", "octets_received", "octets_sent", "phase", "protocol",
        "request", "request_id", "started", "task",
    )  # fmt: skip

    _pipe: Pipe

    def __init__(self, service: Service, request: Request, handshake: Handshake) -> None:
        self._service = service
        self.client: Address | None = None
        self.request_id: str | None = None
        self.number = 0  # in the scoreboard
        self._handshake = handshake
        self.request = request
        self.phase = CONNECTING
        self.started = 0.0  # when the application was called
        self.task: asyncio.Task[None] | None = None
        self.protocol: FrameProtocol | None = None  # from the acceptance on
        self.disconnect: dict[str, Any] | None = None  # what the application gets after the last message
        self.close_code = ABNORMAL
        self.close_reason = ""
        self.closed_by_application = False
        self.messages_received = self.messages_sent = 0
        self.octets_received = self.octets_sent = 0  # that have been counted
        # Counted in octets of the session: where the ping or close frame ends that the client has to answer, and how far
        # the client had come at the last look.
        self._asked_at = self._taken = 0
        self._early: list[bytes] = []
        self._early_size = 0
        self._finish_by = NEVER  # by when the application has to have answered the handshake
        self._look_by = NEVER  # when `_look_after` is due, or the client has to have closed
        self._receivers: list[asyncio.Future[None]] = []
        self._ping_due = self._pong_due = NEVER
        self._message_by = NEVER  # by when a message that has begun to arrive has to be complete
        self._messages_then = 0  # how many had arrived when that was noted

    # The pipe's side.

    def data_received(self, data: bytes) -> None:
        protocol = self.protocol
        if protocol is None:
            self._take_early(data)
        elif self.phase != CLOSED:
            protocol.receive_data(data)
            self._act(protocol)

    def ended(self) -> None:
        """The client has closed its side, without a close frame unless the session has ended already."""
        if self.phase != CLOSED:
            self.lost("the client closed the connection")
            self._pipe.close()

    def lost(self, why: str) -> None:
        """The client is gone without a closing handshake."""
        if self.phase == CLOSING:
            self._finish(self.close_code, self.close_reason, "aborted")
        elif self.phase != CLOSED:
            self._finish(ABNORMAL, why, "aborted")

    def writing_resumed(self) -> None:
        if not self._pipe.reading:
            self._go_on()

    # Messages.

    def open(self, protocol: FrameProtocol) -> None:
        """The application has accepted: go on with frames, the first of which may be there."""
        service = self._service
        self.protocol = protocol
        self.phase = OPEN
        self._finish_by = NEVER
        now = service.clock()
        self._ping_due = now + service.session_limits.ping_interval
        self._look_by = min(self._ping_due, now + service.session_limits.message_timeout)
        self._watch()
        early, self._early = self._early, []
        if early:
            protocol.receive_data(b"".join(early))
            self._act(protocol)
        if not self._pipe.reading:
            self._go_on()

    def send_message(self, data: bytes, head: int) -> None:
        """Send a message; `head` is TEXT or BINARY."""
        protocol, service = self.protocol, self._service
        assert protocol is not None
        parts = protocol.encode(data, head)
        if len(data) <= service.join_limit:
            self._pipe.write(b"".join(parts))
        else:
            self._pipe.write_pieces(parts)
        self.messages_sent += 1
        service.slot.message_sent()

    def _take_early(self, data: bytes) -> None:
        """Keep what arrives before the session is open."""
        if self.phase == CONNECTING:
            self._early.append(data)
            self._early_size += len(data)
            if self._early_size > EARLY_LIMIT:
                self._pipe.pause_reading()

    def _act(self, protocol: FrameProtocol) -> None:
        """Act on what has been read."""
        received = protocol.received
        if received != self.messages_received:
            self._service.slot.messages_received(received - self.messages_received)
            self.messages_received = received
            if self.disconnect is not None:
                self._discard(protocol)
            else:
                self._wake()
        if protocol.writes:
            self._flush(protocol)
        if (protocol.held or protocol.is_full) and not protocol.eof_sent:
            self._pipe.pause_reading()
            if protocol.tired or self.disconnect is not None:  # or nobody will ask for more
                self._service.loop.call_soon(self._go_on)

    def _go_on(self) -> None:
        """Read what is held, and go on reading from the client, if there is room for it."""
        protocol = self.protocol
        if protocol is None or self.phase == CLOSED or self._pipe.congested:
            return
        if protocol.held and (protocol.tired or not protocol.messages):
            protocol.receive_data(b"")
            self._act(protocol)
        if not protocol.held and not protocol.is_full:
            self._pipe.resume_reading()

    def _flush(self, protocol: FrameProtocol) -> None:
        """Write what the protocol has to say, and end with it."""
        octets = b"".join(protocol.data_to_send())
        if octets:
            self._pipe.write(octets)
        if protocol.eof_sent:
            close = protocol.close_sent or protocol.close_rcvd
            failed = protocol.close_rcvd is None
            if protocol.violation is not None:
                self._report_violation(*protocol.violation)
            if close is None:
                self._finish(ABNORMAL, "", "error")
            else:
                self._finish(close.code, close.reason, "error" if failed else None)
            self._pipe.linger()
        elif self._pipe.congested:
            self._pipe.pause_reading()  # it does not take the answers to its pings: `resume_writing` goes on

    def _report_violation(self, code: int, reason: str) -> None:
        service = self._service
        service.slot.rejected(VIOLATION)
        detail = f"{reason} (close code {code})"
        service.logger.info("session ended", reason=VIOLATION, detail=detail, **self.description())

    def description(self) -> dict[str, str]:
        known = {} if self.client is None else {"client": self.client[0]}
        return known | {"path": self.request.path, **self.identity()}

    def identity(self) -> dict[str, str]:
        """The request's id as a field for records that are not made in its task; empty if it has none."""
        return {} if self.request_id is None else {"request_id": self.request_id}

    def _wake(self) -> None:
        for future in self._receivers:
            if not future.done():
                future.set_result(None)

    def _discard(self, protocol: FrameProtocol) -> None:
        """Forget the messages that the application has not taken; it has closed the session."""
        protocol.messages.clear()
        protocol.queued = 0

    # Ends.

    def close(self, code: int, reason: str) -> None:
        """Begin the closing handshake; what the client has sent before it answers is still received."""
        protocol, service = self.protocol, self._service
        assert protocol is not None
        self.phase = CLOSING
        self.close_code, self.close_reason = code, reason
        self._look_by = service.clock() + service.session_limits.close_timeout
        if service.draining:
            self._look_by = min(self._look_by, service.clock() + service.keepalive_timeout)
        protocol.close(code, reason)
        self._flush(protocol)
        self._await_answer()
        self._watch()

    def stop_receiving(self, code: int, reason: str) -> None:
        """The application wants no more messages."""
        self.closed_by_application = True
        self._set_disconnect(code, reason)
        if self.protocol is not None:
            self._discard(self.protocol)
            if not self._pipe.reading:
                self._go_on()

    def _finish(self, code: int, reason: str, outcome: str | None) -> None:
        """Nothing more will be received or sent: tell the application, count, write the access line."""
        phase, self.phase = self.phase, CLOSED
        self.close_code, self.close_reason = code, reason
        self._finish_by = self._look_by = NEVER
        self._watch()
        self._early.clear()
        self._set_disconnect(code, reason)
        if phase <= DENYING:
            status = self._pipe.status if self._pipe.on_wire else 0
            self._count_request(status, outcome)
            return
        assert self.protocol is not None
        self.protocol.discard_unfinished()  # the application may go on for hours
        service = self._service
        service.slot.session_closed(self.number)
        self._settle()
        if service.access_log is not None:
            counts = self.octets_received, self.octets_sent, self.messages_received, self.messages_sent
            end = SessionEnd(service.clock() - self.started, *counts, code, outcome)
            try:
                service.access_log.session(self.request, self.client, end, self.request_id)
            except Exception as error:  # noqa: BLE001  # costs the record, not the end of the connection (as in `lifecycle.finish`)
                report_unrecorded(service, self, error)

    def _set_disconnect(self, code: int, reason: str) -> None:
        if self.disconnect is None:
            self.disconnect = {"type": "websocket.disconnect", "code": int(code), "reason": reason}
            self._wake()

    def _count_request(self, status: int, outcome: str | None = None) -> None:
        """Count the request that the handshake was, and the session; without one, the request has an access line."""
        service = self._service
        seconds = service.clock() - self.started
        received, sent = self._take_counts()
        self.octets_received, self.octets_sent = received, sent
        number = self.number
        if status == 101:
            self.number = service.slot.session_opened(number)
        service.slot.request_finished(number, self.request.method, status, seconds, received, sent)
        if status != 101 and service.access_log is not None:
            try:
                service.access_log.request(
                    self.request, self.client, status, seconds, received, sent, outcome, self.request_id
                )
            except Exception as error:  # noqa: BLE001  # as in `_finish`
                report_unrecorded(service, self, error)

    def _settle(self) -> None:
        """Count the octets since the last time."""
        received, sent = self._take_counts()
        self._service.slot.traffic(received, sent)
        self.octets_received += received
        self.octets_sent += sent

    def _take_counts(self) -> tuple[int, int]:
        pipe = self._pipe
        received, sent = pipe.received, pipe.sent
        pipe.received = pipe.sent = 0
        return received, sent

    # Time.

    def _watch(self) -> None:
        self._pipe.watch(min(self._finish_by, self._look_by))

    def expire(self, now: float) -> None:
        if now >= self._finish_by:
            self._finish_by = NEVER
            self._application_is_late()
        elif now >= self._look_by:
            self._look_by = NEVER
            self._look_after()
        self._watch()

    def _application_is_late(self) -> None:
        """The application had to have answered the handshake by now."""
        raise NotImplementedError

    def _look_after(self) -> None:
        """Something is due of the session, or the client had to have answered a close frame by now."""
        if self.phase == OPEN:
            self._keep_alive()
        elif self.phase == CLOSING:
            limit = self._service.session_limits.close_timeout
            if self._still_comes_to_it() and not self._service.draining:
                self._look_by = self._service.clock() + limit
                return
            self._finish(self.close_code, self.close_reason, "timed_out")
            self._pipe.close()

    def _keep_alive(self) -> None:
        """A ping is due, an answer to one, or a look at a message that does not come to its end."""
        protocol, limits, now = self.protocol, self._service.session_limits, self._service.clock()
        assert protocol is not None
        if now >= self._pong_due:
            self._pong_due = NEVER
            if self._still_comes_to_it():
                self._pong_due = now + limits.ping_timeout
            elif not self._pipe.received and self._pipe.reading:
                self._give_up("ping_timeout", NO_PONG, "no answer to a ping")
                return
        if protocol.unfinished and self._pipe.reading:
            if self._messages_then != protocol.received or self._message_by == NEVER:
                self._messages_then, self._message_by = protocol.received, now + limits.message_timeout
            elif now >= self._message_by:
                self._give_up("message_timeout", POLICY_VIOLATION, "a message takes too long to arrive")
                return
        else:
            self._message_by = NEVER
        if now >= self._ping_due:
            self._ping_due = now + limits.ping_interval
            if self._pong_due == NEVER:
                self._settle()
                self._pong_due = now + limits.ping_timeout
                protocol.send_ping(b"")
                self._flush(protocol)
                self._await_answer()
        self._look_by = min(self._ping_due, self._pong_due, now + limits.message_timeout)

    def _await_answer(self) -> None:
        """Note where the frame ends that was written last: the client has to answer it."""
        self._asked_at = self.octets_sent + self._pipe.sent
        self._taken = self._asked_at - self._pipe.untaken()

    def _still_comes_to_it(self) -> bool:
        """Whether that frame waits behind a large message, of which the client has taken something since the last look."""
        taken = self.octets_sent + self._pipe.sent - self._pipe.untaken()
        before, self._taken = self._taken, taken
        return before < self._asked_at and taken > before

    def _give_up(self, limit: str, code: int, reason: str) -> None:
        """The client keeps to a limit (of the section websocket) no longer: end the session without waiting for it."""
        service, protocol = self._service, self.protocol
        assert protocol is not None
        service.slot.rejected(limit)
        seconds = getattr(service.session_limits, limit)
        detail = f"{reason} ({seconds:g} s, websocket.{limit})"
        service.logger.info("session ended", reason=limit, detail=detail, **self.description())
        protocol.close(code, reason)
        self._pipe.write(b"".join(protocol.data_to_send()))
        self._finish(ABNORMAL if code == NO_PONG else code, reason, "timed_out")
        self._pipe.close()

    # Drain.

    def drain(self) -> None:
        if self.phase == OPEN:
            self.close(*self._service.farewell)

    def close_if_idle(self) -> None:
        if self.phase == CLOSING:
            self._look_after()
