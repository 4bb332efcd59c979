"""The client's side of a WebSocket session: octets and frames, flow, keep-alive, time limits, how it ends.

Reading pauses while enough messages wait for the application, and while the client does not take the answers to its
pings. That a client is there is asked with a ping every `websocket.ping_interval`; anything that it sends is an answer,
so one that is busy sending a large message is not taken for gone.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

from appserver.engine.link import NEVER, Link
from appserver.engine.service import Service
from appserver.http.head import RequestHead
from appserver.http.response import ResponseEncoder
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


class SessionLink(Link):
    """What a session is made of below the application."""

    __slots__ = (
        "_client", "_early", "_handshake", "_message_by", "_messages_then", "_ping_due", "_pong_due", "_receivers",
        "close_code", "close_reason", "closed_by_application", "disconnect", "encoder", "head", "messages_received",
        "messages_sent", "number", "octets_received", "octets_sent", "phase", "protocol", "request_id", "started", "task",
    )  # fmt: skip

    def __init__(self, service: Service, head: RequestHead, handshake: Handshake) -> None:
        super().__init__(service)
        self._client: Address | None = None
        self.request_id: str | None = None
        self.number = 0  # in the scoreboard
        self._handshake = handshake
        self.head = head
        self.encoder = ResponseEncoder(service.defaults)
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
        self._early: list[bytes] = []
        self._receivers: list[asyncio.Future[None]] = []
        self._ping_due = self._pong_due = NEVER
        self._message_by = NEVER  # by when a message that has begun to arrive has to be complete
        self._messages_then = 0  # how many had arrived when that was noted

    # The transport's side.

    def data_received(self, data: bytes) -> None:
        self._received += len(data)
        protocol = self.protocol
        if protocol is None:
            self._take_early(data)
        elif self.phase != CLOSED:
            protocol.receive_data(data)
            self._act(protocol)

    def eof_received(self) -> bool:
        """The client has closed its side, without a close frame unless the session has ended already."""
        self._half_closed = True
        if self.phase != CLOSED:
            self._lose("the client closed the connection")
            self._close()
        return False

    def connection_lost(self, error: Exception | None) -> None:
        if self.phase != CLOSED:
            self._lose("the connection was lost")
        super().connection_lost(error)

    def resume_writing(self) -> None:
        super().resume_writing()
        if not self._reading:
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
        self._read_by = min(self._ping_due, now + service.session_limits.message_timeout)
        self._set_deadline()
        early, self._early = self._early, []
        if early:
            protocol.receive_data(b"".join(early))
            self._act(protocol)
        if not self._reading:
            self._go_on()

    def send_message(self, data: bytes, head: int) -> None:
        """Send a message; `head` is TEXT or BINARY."""
        protocol, service = self.protocol, self._service
        assert protocol is not None
        parts = protocol.encode(data, head)
        if len(data) <= service.join_limit:
            octets = b"".join(parts)
            self._sent += len(octets)
            self._transport.write(octets)
        else:
            self._sent += sum(map(len, parts))
            self._transport.writelines(parts)
        self.messages_sent += 1
        service.slot.message_sent()

    def _take_early(self, data: bytes) -> None:
        """Keep what arrives before the session is open."""
        if self.phase == CONNECTING:
            self._early.append(data)
            if sum(map(len, self._early)) > EARLY_LIMIT:
                self._pause_reading()

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
            self._pause_reading()
            if protocol.tired or self.disconnect is not None:  # or nobody will ask for more
                self._service.loop.call_soon(self._go_on)

    def _go_on(self) -> None:
        """Read what is held, and go on reading from the client, if there is room for it."""
        protocol = self.protocol
        if protocol is None or self.phase == CLOSED or self.congested:
            return
        if protocol.held and (protocol.tired or not protocol.messages):
            protocol.receive_data(b"")
            self._act(protocol)
        if not protocol.held and not protocol.is_full:
            self._resume_reading()

    def _flush(self, protocol: FrameProtocol) -> None:
        """Write what the protocol has to say, and end with it."""
        octets = b"".join(protocol.data_to_send())
        if octets:
            self._sent += len(octets)
            self._transport.write(octets)
        if protocol.eof_sent:
            close = protocol.close_sent or protocol.close_rcvd
            failed = protocol.close_rcvd is None
            if protocol.violation is not None:
                self._report_violation(*protocol.violation)
            if close is None:
                self._finish(ABNORMAL, "", "error")
            else:
                self._finish(close.code, close.reason, "error" if failed else None)
            self._linger()
        elif self.congested:
            self._pause_reading()  # it does not take the answers to its pings: `resume_writing` goes on

    def _report_violation(self, code: int, reason: str) -> None:
        service = self._service
        service.slot.rejected(VIOLATION)
        detail = f"{reason} (close code {code})"
        service.logger.info("session ended", reason=VIOLATION, detail=detail, **self._identity())

    def _identity(self) -> dict[str, str]:
        known = {} if self._client is None else {"client": self._client[0]}
        return known | {"path": self.head.path, **self.identity()}

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
        self._read_by = service.clock() + service.session_limits.close_timeout
        if service.draining:
            self._read_by = min(self._read_by, service.clock() + service.keepalive_timeout)
        protocol.close(code, reason)
        self._flush(protocol)
        self._set_deadline()

    def stop_receiving(self, code: int, reason: str) -> None:
        """The application wants no more messages."""
        self.closed_by_application = True
        self._set_disconnect(code, reason)
        if self.protocol is not None:
            self._discard(self.protocol)
            if not self._reading:
                self._go_on()

    def abort(self) -> None:
        # At once, not with the end of the connection: an application that never waits must not go on sending till then.
        if self.phase != CLOSED:
            self._lose("the connection was given up")
        super().abort()

    def _lose(self, why: str) -> None:
        """The client is gone without a closing handshake."""
        if self.phase == CLOSING:
            self._finish(self.close_code, self.close_reason, "aborted")
        else:
            self._finish(ABNORMAL, why, "aborted")

    def _finish(self, code: int, reason: str, outcome: str | None) -> None:
        """Nothing more will be received or sent: tell the application, count, write the access line."""
        phase, self.phase = self.phase, CLOSED
        self.close_code, self.close_reason = code, reason
        self._finish_by = self._read_by = NEVER
        self._early.clear()
        self._set_disconnect(code, reason)
        if phase <= DENYING:
            status = self.encoder.status if self.encoder.on_wire else 0
            self._count_request(status, outcome)
            return
        assert self.protocol is not None
        self.protocol.discard_unfinished()  # the application may go on for hours
        service = self._service
        service.slot.session_closed(self.number)
        self._settle()
        if service.access_log is not None:
            received, sent = self.octets_received, self.octets_sent
            end = SessionEnd(
                service.clock() - self.started,
                received,
                sent,
                self.messages_received,
                self.messages_sent,
                code,
                outcome,
            )
            service.access_log.session(self.head, self._client, end, self.request_id)

    def _set_disconnect(self, code: int, reason: str) -> None:
        if self.disconnect is None:
            self.disconnect = {"type": "websocket.disconnect", "code": int(code), "reason": reason}
            self._wake()

    def _count_request(self, status: int, outcome: str | None = None) -> None:
        """Count the request that the handshake was, and the session; without one, the request has an access line."""
        service = self._service
        seconds = service.clock() - self.started
        received, sent = self._received, self._sent
        self._received = self._sent = 0
        self.octets_received, self.octets_sent = received, sent
        number = self.number
        if status == 101:
            self.number = service.slot.session_opened(number)
        service.slot.request_finished(number, self.head.method, status, seconds, received, sent)
        if status != 101 and service.access_log is not None:
            service.access_log.request(
                self.head, self._client, status, seconds, received, sent, outcome, self.request_id
            )

    def _settle(self) -> None:
        """Count the octets since the last time."""
        self._service.slot.traffic(self._received, self._sent)
        self.octets_received += self._received
        self.octets_sent += self._sent
        self._received = self._sent = 0

    # Time.

    def _client_sends_nothing(self) -> None:
        if self.phase == OPEN:
            self._look_after()
        elif self.phase == CLOSING:
            self._finish(self.close_code, self.close_reason, "timed_out")
            self._close()
        else:
            self.abort()

    def _look_after(self) -> None:
        """A ping is due, an answer to one, or a look at a message that does not come to its end."""
        protocol, limits, now = self.protocol, self._service.session_limits, self._service.clock()
        assert protocol is not None
        if now >= self._pong_due:
            self._pong_due = NEVER
            if not self._received and self._reading:
                self._give_up("ping_timeout", NO_PONG, "no answer to a ping")
                return
        if protocol.unfinished and self._reading:
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
        self._read_by = min(self._ping_due, self._pong_due, now + limits.message_timeout)

    def _give_up(self, limit: str, code: int, reason: str) -> None:
        """The client keeps to a limit (of the section websocket) no longer: end the session without waiting for it."""
        service, protocol = self._service, self.protocol
        assert protocol is not None
        service.slot.rejected(limit)
        seconds = getattr(service.session_limits, limit)
        detail = f"{reason} ({seconds:g} s, websocket.{limit})"
        service.logger.info("session ended", reason=limit, detail=detail, **self._identity())
        protocol.close(code, reason)
        self.write(protocol.data_to_send())
        self._finish(ABNORMAL if code == NO_PONG else code, reason, "timed_out")
        self._close()

    # Drain.

    def drain(self) -> None:
        if self.phase == OPEN:
            self.close(*self._service.farewell)

    def close_if_idle(self) -> None:
        if self.phase == CLOSING:
            self._client_sends_nothing()
