"""A WebSocket session: handshake, messages, closing handshake, as ASGI sees them (ASGI WebSocket specification, 2.5).

    CONNECTING ──websocket.accept──▶ OPEN ──websocket.close, drain──▶ CLOSING ──the client's close──▶ CLOSED
      │  │                             └──the client's close, a violation, connection lost────────────▲
      │  └──websocket.http.response.start──▶ DENYING ──websocket.http.response.body, the last──▶────────│
      └──websocket.close (403), failure of the application, client gone──▶────────────────────────────┘

Whoever has read the head of the request makes the session (`take_handshake`), gives it the pipe on which the client speaks
from then on, and calls `begin`. What octets mean is decided by `FrameProtocol`; this is the flow between that, the pipe and
the application. `ClientSide`, on which it stands, is about the client; this class about the application.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

from appserver.asgi.types import Message
from appserver.engine import calls, lifecycle, refusal
from appserver.engine.failure import ENDS_WORKER, is_cut_off, report_session_failure, report_timeout
from appserver.engine.peer import Peer
from appserver.engine.pipe import Pipe
from appserver.engine.scope import websocket_scope
from appserver.engine.service import Service
from appserver.engine.session_client import CLOSED, CLOSING, CONNECTING, DENYING, OPEN, ClientSide
from appserver.errors import ClientDisconnected, RequestError
from appserver.http.request import Request
from appserver.http.response import ResponseError
from appserver.telemetry.serving import SESSION
from appserver.websocket.handshake import is_attempt, shake_hands
from appserver.websocket.protocol import BINARY, TEXT, FrameProtocol

NORMAL: Final = 1000
INTERNAL_ERROR: Final = 1011

MESSAGES: Final = {
    "websocket.http.response.body",
    "websocket.http.response.start",
    "websocket.accept",
    "websocket.close",
    "websocket.send",
}


class Session(ClientSide):
    """`receive` and `send` of one session."""

    __slots__ = ("_announced", "_told_of_disconnect", "finish_by", "template")

    finish_by: float
    template: dict[str, Any]  # what its scope is to be made from

    @property
    def kind(self) -> str:
        return SESSION

    @property
    def is_owed(self) -> bool:
        return True

    def begin(self, pipe: Pipe, peer: Peer, rest: bytes) -> None:
        """Go on with a client from here, of whom `rest` has arrived behind the head, and call the application."""
        service = self._service
        self._pipe = pipe
        self._announced = False  # the application has been told that a client wants to connect
        self._told_of_disconnect = False
        lifecycle.begin(service, peer, self)
        self._finish_by = self.finish_by
        self._watch()
        pipe.begin_answer(self.request, self.request_id)
        service.registry.sessions.add(self)
        if rest:
            self._take_early(rest)
        scope = websocket_scope(self.template, self.request, self.client, service.state, self._handshake.subprotocols)
        calls.call_for_session(service, self, scope)

    async def receive(self) -> Message:
        """The next message; before the first, websocket.connect; after the last, websocket.disconnect."""
        if not self._announced:
            self._announced = True
            return {"type": "websocket.connect"}
        while True:
            protocol = self.protocol
            if protocol is not None and protocol.messages:
                message = protocol.messages.pop(0)
                if not protocol.messages:
                    protocol.queued = 0
                if type(message) is str:
                    return {"type": "websocket.receive", "text": message}
                return {"type": "websocket.receive", "bytes": message}
            if self.disconnect is not None:
                if self._told_of_disconnect:
                    await asyncio.sleep(0)  # as in `Exchange.receive`
                self._told_of_disconnect = True
                return self.disconnect.copy()
            if protocol is not None and protocol.held:
                # Others have their turn first: what is held may keep an application that never waits busy for seconds.
                self._service.loop.call_soon(self._go_on)
            elif not self._pipe.reading and protocol is not None:
                self._go_on()
                if protocol.messages or self.phase == CLOSED:
                    continue
            future = self._service.loop.create_future()
            self._receivers.append(future)
            try:
                await future
            finally:
                self._receivers.remove(future)

    async def send(self, message: Message) -> None:
        """Take a message of the application; raises ResponseError, and ClientDisconnected (an OSError).

        The latter after the client has left; but for a `websocket.close` only if the application has been told so.
        """
        kind = message["type"]
        if self.phase != OPEN or kind != "websocket.send":
            await self._send_other(kind, message)
            return
        text = message.get("text")
        if text is None:
            data, head = _octets(kind, message.get("bytes")), BINARY
        else:
            data, head = _encoded(text), TEXT
        self.send_message(data, head)
        if self._pipe.congested:
            await self._pipe.writable()
            if self.phase == CLOSED:
                raise self._gone()

    async def _send_other(self, kind: object, message: Message) -> None:
        phase = self.phase
        if phase == CONNECTING and kind == "websocket.accept":
            self._accept(message)
        elif phase == OPEN and kind == "websocket.close":
            self.close(*_close_code(message))
            self.stop_receiving(self.close_code, self.close_reason)
        elif phase == CONNECTING and kind == "websocket.close":
            self._pipe.start(403, ())
            self._deny(b"", more=False)
        elif phase == CONNECTING and kind == "websocket.http.response.start":
            self._pipe.start(message["status"], message.get("headers", ()))
            self.phase = DENYING
        elif phase == DENYING and kind == "websocket.http.response.body":
            self._deny(_octets(kind, message.get("body", b"")), more=bool(message.get("more_body", False)))
            await self._pipe.writable()
        elif not (kind == "websocket.close" and phase >= CLOSING and not self._knows_the_end()):
            raise self._misplaced(kind)

    def _knows_the_end(self) -> bool:
        """Whether the application has been told that the client has left, or has closed the session itself."""
        return self.closed_by_application or self._told_of_disconnect

    def _accept(self, message: Message) -> None:
        handshake = self._handshake
        subprotocol = message.get("subprotocol")
        if subprotocol is not None and subprotocol not in handshake.subprotocols:
            raise ResponseError(
                f"the subprotocol {subprotocol!r} of websocket.accept is none of those that the client offers"
                f" ({', '.join(handshake.subprotocols) or 'it offers none'}): take one of scope['subprotocols'], or None"
            )
        agreed = [] if handshake.accept is None else [("sec-websocket-accept", handshake.accept)]
        if subprotocol is not None:
            agreed.append(("sec-websocket-protocol", subprotocol))
        if handshake.extensions_field is not None:
            agreed.append(("sec-websocket-extensions", handshake.extensions_field))
        self._pipe.accept(agreed, message.get("headers") or ())
        self._count_request(101)
        limits = self._service.session_limits
        self.open(FrameProtocol(handshake.extensions, max_size=limits.max_message_size, max_queue=limits.max_queue))
        if self._service.draining:
            self.drain()

    def _deny(self, data: bytes, *, more: bool) -> None:
        """Send a piece of a response that is no session."""
        self._pipe.write_body(data, more)
        if not more:
            self._finish(1006, "", None)
            self._pipe.linger()

    def _answer(self, error: RequestError, outcome: str) -> None:
        self._pipe.refuse(error)
        self._finish(1006, "", outcome)
        self._pipe.linger()

    def application_ended(self, error: BaseException | None) -> None:
        """The application has raised `error` or (None) returned."""
        phase = self.phase
        if error is not None:
            self._report(error, ("before", "before", "during", "after", "after")[phase] + " the session")
        elif phase == CONNECTING:
            self._report(None, "returned without answering: send websocket.accept or websocket.close")
        elif phase == DENYING:
            self._report(None, "returned without completing its response: send websocket.http.response.body")
        if phase == CONNECTING or (phase == DENYING and not self._pipe.on_wire):
            cancelled = is_cut_off(self._service, error, over=False)
            self._answer(refusal.application_cancelled() if cancelled else refusal.application_failed(), "error")
        elif phase == DENYING:
            self._finish(1006, "", "error")
            self._pipe.reset()
        elif phase == OPEN:
            self.close(NORMAL if error is None else INTERNAL_ERROR, "")
            self.stop_receiving(self.close_code, "")
        elif phase == CLOSING:
            self.stop_receiving(self.close_code, self.close_reason)
        if isinstance(error, ENDS_WORKER):
            self._service.on_exit()

    def _report(self, error: BaseException | None, detail: str) -> None:
        over = self.phase >= CLOSING and not self.closed_by_application
        report_session_failure(self._service, self.request, error, detail, over=over)

    def _application_is_late(self) -> None:
        """The handshake takes longer than `http.request_timeout`; a session may go on for ever."""
        if self.phase > DENYING:
            return
        error = refusal.application_late(self._service)
        self._service.slot.rejected(error.reason)
        report_timeout(self._service, self, error)
        task = self.task
        if self._pipe.on_wire:
            self._finish(1006, "", "timed_out")
            self._pipe.reset()
        else:
            self._answer(error, "timed_out")
        if task is not None:
            task.cancel()

    def _gone(self) -> ClientDisconnected:
        return ClientDisconnected(f"the session has ended (close code {self.close_code})")

    def _misplaced(self, kind: object) -> Exception:
        phase = self.phase
        if kind not in MESSAGES:
            return ResponseError(f"a message of type {kind!r} was sent, which a WebSocket session does not have")
        if phase >= CLOSING and not self.closed_by_application:
            return self._gone()
        if phase >= CLOSING:
            return ResponseError(
                f"{kind} was sent after websocket.close, or after the response that denied the session"
            )
        if phase == OPEN:
            return ResponseError(
                f"{kind} was sent after websocket.accept, behind which only send and close have a place"
            )
        if phase == DENYING:
            return ResponseError(
                f"{kind} was sent after websocket.http.response.start: complete that with websocket.http.response.body"
            )
        return ResponseError(f"{kind} was sent before websocket.accept: accept the session, or close it, first")


def take_handshake(service: Service, request: Request) -> Session | None:
    """The session that a request with an Upgrade field begins; None if that names another protocol. Raises RequestError."""
    assert request.upgrade is not None
    if not is_attempt(request.upgrade, request.headers, may_upgrade=request.may_upgrade):
        return None
    compression = service.session_limits.compression
    handshake = shake_hands(request.method, request.http_version, request.headers, compression=compression)
    return Session(service, request, handshake)


def _octets(kind: object, data: Any) -> bytes:
    if type(data) is bytes:
        return data
    if not isinstance(data, bytes | bytearray | memoryview):
        raise ResponseError(f"{kind} has to hold bytes (or text), got {type(data).__name__}")
    return bytes(data)


def _encoded(text: Any) -> bytes:
    try:
        data: bytes = text.encode()
    except (AttributeError, UnicodeEncodeError) as error:
        raise ResponseError(f"the text of websocket.send has to be a str that UTF-8 can encode ({error})") from error
    return data


def _close_code(message: Message) -> tuple[int, str]:
    """Code and reason of websocket.close (RFC 6455 section 7.4)."""
    code, reason = message.get("code", NORMAL), message.get("reason") or ""
    if not isinstance(code, int) or not (code in CODES or 3000 <= code <= 4999):
        raise ResponseError(
            f"the code of websocket.close cannot be sent, got {code!r}: take 1000, 1001, 1003, 1008, 1011 or 3000 to 4999"
        )
    if not isinstance(reason, str):
        raise ResponseError(f"the reason of websocket.close has to be a str, got {type(reason).__name__}")
    return int(code), reason


CODES: Final = {1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014}
"""The close codes below 3000 that a close frame may have; 1005, 1006 and 1015 are for the ends to themselves."""
