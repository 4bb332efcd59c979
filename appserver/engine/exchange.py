"""One request and its response, as ASGI sees them (ASGI HTTP specification, version 2.5).

    START ──http.response.start──▶ BODY ──http.response.body, the last; or a file──▶ DONE
      │ │                           │                                              ▲
      │ └──the same with trailers──▶│ TRAILED ──the last body──▶ TRAILERS ──the last trailers
      └──────── client gone ────────┴─────▶ GONE

An exchange holds the application to that order, hands it the body of the request, and makes it wait while the client
does not read. It knows nothing of how a response looks on the wire: that is its carrier's, a connection of HTTP/1.1.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any, Final, Protocol

from appserver.asgi.types import ASGIApplication, Message, Scope
from appserver.engine.file import FilePart, part_of_file, whole_file
from appserver.engine.waiters import Waiters
from appserver.errors import AppserverError
from appserver.http.head import RequestHead
from appserver.http.response import ResponseError
from appserver.telemetry.logs import REQUEST_ID

START: Final = 0
BODY: Final = 1
TRAILED: Final = 2  # as BODY, but trailers follow
TRAILERS: Final = 3
DONE: Final = 4
GONE: Final = 5

MESSAGES: Final = {
    "http.response.start",
    "http.response.body",
    "http.response.early_hint",
    "http.response.pathsend",
    "http.response.trailers",
    "http.response.zerocopysend",
}


class ClientDisconnected(AppserverError, ConnectionError):
    """The client is gone, so nothing can be sent to it; ASGI asks for an OSError here."""


class Encoder(Protocol):
    """Takes the head of a response; raises ResponseError."""

    def start(self, status: int, headers: Iterable[Sequence[bytes]]) -> None: ...


class Carrier(Protocol):
    """What carries an exchange to the client and back."""

    @property
    def encoder(self) -> Encoder: ...

    congested: bool  # the client does not read: wait for `writable` before sending more

    def write_body(self, data: bytes, more: bool) -> None:
        """Send a piece of the body, with the head if that has not been sent; ends the response unless `more`."""

    async def writable(self) -> None:
        """Wait until the client reads again, or is gone."""

    async def write_file(self, part: FilePart, more: bool) -> None:
        """Send a part of a file as a piece of the body; ends the response unless `more`."""

    def write_trailers(self, headers: Iterable[Sequence[bytes]]) -> None:
        """Send trailer fields if the client takes them; ends the response."""

    def hint(self, links: Iterable[bytes]) -> None:
        """Send an interim response; raises ResponseError if the head of the final one has been sent."""

    def invite_body(self) -> None:
        """The application asks for the body: ask the client for it, if that waits to be asked (RFC 9110, 10.1.1)."""

    def body_taken(self) -> None:
        """What was buffered of the body has been taken: go on reading."""

    def application_failed(self, exchange: Exchange, error: BaseException | None) -> None:
        """The application has raised `error`, or (None) returned before the response was complete."""


class Exchange:
    """`receive` and `send` of one request."""

    __slots__ = (
        "_carrier", "_chunks", "_handed_over", "_trailers", "_waiters", "body_complete", "buffered", "called", "head",
        "half_closed", "number", "phase", "request_id", "started", "task", "told_of_disconnect",
    )  # fmt: skip

    _trailers: list[Sequence[bytes]]

    def __init__(self, carrier: Carrier, head: RequestHead) -> None:
        self.head = head
        self.phase = START
        self.started = 0.0  # when the application was called
        self.number = 0  # in the scoreboard
        self.request_id: str | None = None
        self.called = False  # the application, which may not be through with it when the client is
        self.task: asyncio.Task[None] | None = None
        self.body_complete = False
        self.half_closed = False  # the client will not send anything any more, but may still read
        self.told_of_disconnect = False  # the application, while the client might still read
        self.buffered = 0  # octets of the body that the application has not taken
        self._carrier = carrier
        self._chunks: list[bytes] = []
        self._handed_over = False  # the application has got the whole body
        self._waiters: Waiters | None = None

    async def run(self, application: ASGIApplication, scope: Scope, background: set[Exchange]) -> None:
        """Call the application; the body of its task. At its end the exchange leaves `background`."""
        self.called = True
        if self.request_id is not None:
            REQUEST_ID.set(self.request_id)  # for the records that are made in this task, and in what it starts
        try:
            await application(scope, self.receive, self.send)
        except BaseException as error:  # noqa: BLE001  # whatever an application raises ends its request, not the worker
            self._carrier.application_failed(self, error)
        else:
            if self.phase < DONE:
                self._carrier.application_failed(self, None)
        self.task = None
        background.discard(self)

    async def receive(self) -> Message:
        """The next piece of the body; after that, and after the response, wait for http.disconnect."""
        while self.phase < DONE:
            if self._chunks or (self.body_complete and not self._handed_over):
                chunks = self._chunks
                data = chunks[0] if len(chunks) == 1 else b"".join(chunks)
                chunks.clear()
                self.buffered = 0
                self._handed_over = self.body_complete
                if not self.body_complete:
                    self._carrier.body_taken()
                return {"type": "http.request", "body": data, "more_body": not self.body_complete}
            if self.half_closed:
                break
            if not self.body_complete:
                self._carrier.invite_body()
            if self._waiters is None:
                self._waiters = Waiters(asyncio.get_running_loop())
            await self._waiters.wait()
        if self.told_of_disconnect:
            await asyncio.sleep(0)  # an application that asks for ever has to let others have their turn
        self.told_of_disconnect = True
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        """Take a message of the response; raises ResponseError, and ClientDisconnected (an OSError)."""
        kind = message["type"]
        phase = self.phase
        if phase == BODY and kind == "http.response.body":
            data = message.get("body", b"")
            if type(data) is not bytes:
                data = _octets(data)
            more = message.get("more_body", False)
            carrier = self._carrier
            carrier.write_body(data, more)
            if carrier.congested and more:
                await carrier.writable()
                if self.phase == GONE:
                    raise ClientDisconnected("the client has disconnected")
        elif phase == START and kind == "http.response.start":
            self._carrier.encoder.start(message["status"], message.get("headers", ()))
            self.phase = BODY
            if message.get("trailers"):
                self.phase = TRAILED
                self._trailers = []
        else:
            await self._send_more(kind, message)

    async def _send_more(self, kind: object, message: Message) -> None:
        """Take a message of an extension, or with trailers."""
        phase, carrier = self.phase, self._carrier
        more = message.get("more_body", False)
        if kind == "http.response.early_hint" and phase <= TRAILED:
            carrier.hint(message["links"])
        elif kind == "http.response.pathsend" and phase == BODY:
            with whole_file(message["path"]) as part:
                await carrier.write_file(part, False)
        elif kind == "http.response.zerocopysend" and phase == BODY:
            part = part_of_file(message["file"], message.get("offset"), message.get("count"))
            await carrier.write_file(part, more)
        elif kind == "http.response.body" and phase == TRAILED:
            carrier.write_body(_octets(message.get("body", b"")), True)
            await carrier.writable()
            if not more and self.phase == TRAILED:
                self.phase = TRAILERS
        elif kind == "http.response.trailers" and phase == TRAILERS:
            self._trailers += message.get("headers", ())
            if not message.get("more_trailers", False):
                carrier.write_trailers(self._trailers)
        else:
            raise self._misplaced(kind)
        if self.phase == GONE:
            raise ClientDisconnected("the client has disconnected")

    def identity(self) -> dict[str, str]:
        """The request's id as a field for records that are not made in its task; empty if it has none."""
        return {} if self.request_id is None else {"request_id": self.request_id}

    def take(self, data: bytes) -> None:
        """Buffer a piece of the body for the application."""
        self._chunks.append(data)
        self.buffered += len(data)
        self.wake()

    def end(self) -> None:
        """Note that the body is complete."""
        self.body_complete = True
        if self._waiters is not None:
            self._waiters.wake()

    def half_close(self) -> None:
        """Note that the client has closed its side. It may still read, so `send` works; `receive` says http.disconnect."""
        self.half_closed = True
        self.wake()

    def enter(self, phase: int) -> None:
        """The response is DONE, or the client GONE: `receive` has nothing to wait for any more."""
        self.phase = phase
        if self._waiters is not None:
            self._waiters.wake()
        if self._chunks:
            self._chunks.clear()
            self.buffered = 0

    def wake(self) -> None:
        if self._waiters is not None:
            self._waiters.wake()

    def _misplaced(self, kind: object) -> Exception:
        if self.phase == GONE:
            return ClientDisconnected("the client has disconnected")
        if kind not in MESSAGES:
            return ResponseError(f"a message of type {kind!r} was sent, which an HTTP response does not have")
        if self.phase == START:
            return ResponseError(f"{kind} was sent before http.response.start: send the status and headers first")
        if self.phase == DONE:
            return ResponseError(
                f"{kind} was sent after the response was complete: set more_body on all but the last body"
            )
        if kind == "http.response.start":
            return ResponseError("http.response.start was sent twice: a request has one response")
        if kind == "http.response.trailers":
            return ResponseError(
                "http.response.trailers have to be announced by http.response.start, and follow the body"
            )
        return ResponseError(f"{kind} cannot be sent in a response with trailers, or behind its body")


def _octets(data: Any) -> bytes:
    if not isinstance(data, bytes | bytearray | memoryview):
        raise ResponseError(f"the body of http.response.body has to be bytes, got {type(data).__name__}")
    return bytes(data)
