"""One request and its response, as ASGI sees them (ASGI HTTP specification, version 2.5).

    START ──http.response.start──▶ BODY ──http.response.body, the last; or a file──▶ DONE
      │ │                           │                                              ▲
      │ └──the same with trailers──▶│ TRAILED ──the last body──▶ TRAILERS ──the last trailers
      └──────── client gone ────────┴─────▶ GONE

An exchange holds the application to that order, hands it the body of the request, and makes it wait while the client
does not read. An application whose client has left hears of it in `receive`; what it sends is ignored at first, so that it
can come to its own end, and `outlive` ends what does not. It knows nothing of how a response looks on the wire: that is its carrier's, be it a connection of HTTP/1.1
(`connection`), or whatever else carries a request and a response. `lifecycle` begins and ends it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any, Final, Protocol

from appserver.asgi.types import Message
from appserver.engine.file import FilePart, part_of_file, whole_file
from appserver.engine.waiters import Waiters
from appserver.errors import ClientDisconnected, RequestError
from appserver.http.request import Request
from appserver.http.response import ResponseError
from appserver.proxy import Address

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


GRACE: Final = 0.5
"""Seconds for which an application may go on when its client has left in the middle of a stream, and it does not listen."""

TURNS: Final = 16
"""One message in so many is waited for when the client has left: not each, as what cancels a stream had best meet it where
it waits for its next piece, and its `finally` runs at once; not none, as a stream without waits would block the event loop."""


IGNORED: Final = 256
"""So many messages to a client that has left are ignored at most."""

SMALL = 1024
"""Pieces of a body below so many octets are put together while they wait: each takes 60 octets besides."""


class Carrier(Protocol):
    """Carries an exchange to the client and back.

    Whatever ends the response (a last piece of the body, a refusal, breaking off) ends the exchange as well: the carrier
    then calls `lifecycle.finish`, with the octets of both directions in the exchange.
    """

    @property
    def sent(self) -> int:
        """Octets of the response so far."""

    @property
    def congested(self) -> bool:
        """Whether the client does not read: wait for `writable` before sending more."""

    @property
    def on_wire(self) -> bool:
        """Whether the head of the response has been sent."""

    def start(self, status: Any, headers: Iterable[Sequence[Any]]) -> bool:
        """Check the head of the response, and hold it back; raises ResponseError.

        Returns whether what follows is an event stream, the head of which must not wait for the first event.
        """

    def write_body(self, data: bytes, more: bool) -> None:
        """Send a piece of the body, with the head if that has not been sent; ends the response unless `more`."""

    async def writable(self) -> None:
        """Wait until the client reads again, or is gone."""

    async def write_file(self, part: FilePart, more: bool) -> None:
        """Send a part of a file as a piece of the body; ends the response unless `more`."""

    def write_trailers(self, headers: Iterable[Sequence[Any]]) -> None:
        """Send trailer fields if the client takes them; ends the response."""

    def hint(self, links: Iterable[Any]) -> None:
        """Send an interim response; raises ResponseError if the head of the final one has been sent."""

    def invite_body(self) -> None:
        """The application asks for the body: ask the client for it, if that waits to be asked (RFC 9110, 10.1.1)."""

    def body_taken(self, octets: int) -> None:
        """The application has taken so much of the body: go on reading."""

    def refuse(self, error: RequestError, outcome: str) -> None:
        """Answer with `error` in place of the application; nothing of another answer is on the wire."""

    def turn_away(self, error: RequestError) -> None:
        """The same for an error that says nothing about the client: other requests of its may follow."""

    def break_off(self, outcome: str) -> None:
        """End the response in a way that the client cannot take for its end."""

    def let_go(self) -> None:
        """All that the client gets of the response has been sent: end it if the client does not wait for that."""


class Exchange:
    """`receive` and `send` of one request."""

    __slots__ = (
        "_abandoned", "_chunks", "_gone_at", "_handed_over", "_ignored", "_patience", "_sent_before", "_trailers",
        "_waiters", "asked_to_end", "body_complete", "buffered", "called", "carrier", "client", "event_stream",
        "finish_by", "half_closed", "number", "phase", "received", "request", "request_id", "sent", "started", "task",
        "template", "told_of_disconnect",
    )  # fmt: skip

    _trailers: list[Sequence[Any]]
    client: Address | None  # who has sent the request, as far as that is known
    template: dict[str, Any]  # what its scope is to be made from
    finish_by: float  # when the application has to be through
    _gone_at: float  # when the client left
    _abandoned: bool  # the client left in the middle of the response
    _ignored: int  # messages that were sent after that
    _patience: int  # how many more sweeps may find that messages were ignored

    def __init__(self, carrier: Carrier, request: Request) -> None:
        """Raises nothing, and begins nothing: see `lifecycle.begin`."""
        self.carrier = carrier
        self.request = request
        self.phase = START
        self.received = self.sent = 0  # octets on the wire; set when it is finished
        self.started = 0.0  # 0: not yet
        self.number = 0  # in the scoreboard
        self.request_id: str | None = None
        self.called = False  # the application, which may not be through with it when the client is
        self.task: asyncio.Task[None] | None = None
        self.body_complete = False
        self.half_closed = False  # the client will not send anything any more, but may still read
        self.told_of_disconnect = False  # the application, while the client might still read
        self.event_stream = False  # the response is one
        self.asked_to_end = False  # the application, by http.disconnect, although the client is there
        self.buffered = 0  # octets of the body that the application has not taken
        self._chunks: list[bytes] = []
        self._handed_over = False  # the application has got the whole body
        self._waiters: Waiters | None = None
        self._sent_before = -1

    @property
    def kind(self) -> str:
        return self.request.method

    @property
    def is_owed(self) -> bool:
        return self.phase < DONE

    async def receive(self) -> Message:
        """The next piece of the body; after that, and after the response, wait for http.disconnect."""
        while self.phase < DONE:
            if self._chunks or (self.body_complete and not self._handed_over):
                chunks = self._chunks
                data = chunks[0] if len(chunks) == 1 else b"".join(chunks)
                chunks.clear()
                taken, self.buffered = self.buffered, 0
                self._handed_over = self.body_complete
                if not self.body_complete:
                    self.carrier.body_taken(taken)
                return {"type": "http.request", "body": data, "more_body": not self.body_complete}
            if self.half_closed or self.asked_to_end:
                break
            if not self.body_complete:
                self.carrier.invite_body()
            if self._waiters is None:
                self._waiters = Waiters(asyncio.get_running_loop())
            await self._waiters.wait()
        if self.told_of_disconnect:
            await asyncio.sleep(0)  # an application that asks for ever has to let others have their turn
        self.told_of_disconnect = True
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        """Take a message of the response; raises ResponseError, and ClientDisconnected (an OSError).

        What is sent to a client that has left is ignored, as by most servers up to version 2.3 of the specification: a
        response that was being made is then finished as usual, with the work that the application does behind it. The
        error is for an application that goes on and on (see `outlive`).
        """
        kind = message["type"]
        phase = self.phase
        if phase == BODY and kind == "http.response.body":
            data = message.get("body", b"")
            if type(data) is not bytes:
                data = _octets(data)
            more = bool(message.get("more_body", False))
            carrier = self.carrier
            carrier.write_body(data, more)
            if more and (carrier.congested or self.asked_to_end or self.request.method == "HEAD"):
                await self._may_go_on()
        elif phase == START and kind == "http.response.start":
            self.event_stream = self.carrier.start(message["status"], message.get("headers", ()))
            self.phase = BODY
            if message.get("trailers"):
                self.phase = TRAILED
                self._trailers = []
            if self.event_stream:
                self.release_head()
        else:
            await self._send_more(kind, message)

    async def _send_more(self, kind: object, message: Message) -> None:
        """Take a message of an extension, or with trailers."""
        phase, carrier = self.phase, self.carrier
        if phase == GONE and kind in MESSAGES:
            await self._ignore()
            return
        more = bool(message.get("more_body", False))
        if kind == "http.response.early_hint" and phase <= TRAILED:
            carrier.hint(message["links"])
            if carrier.congested:
                await carrier.writable()
        elif kind == "http.response.pathsend" and phase == BODY:
            with whole_file(message["path"]) as part:
                await carrier.write_file(part, False)
        elif kind == "http.response.zerocopysend" and phase == BODY:
            part = part_of_file(message["file"], message.get("offset"), message.get("count"))
            await carrier.write_file(part, more)
            if more:
                await self._may_go_on()
        elif kind == "http.response.body" and phase == TRAILED:
            carrier.write_body(_octets(message.get("body", b"")), True)
            await self._may_go_on()
            if not more and self.phase == TRAILED:
                self.phase = TRAILERS
        elif kind == "http.response.trailers" and phase == TRAILERS:
            self._trailers += message.get("headers", ())
            if not message.get("more_trailers", False):
                carrier.write_trailers(self._trailers)
        else:
            raise self._misplaced(kind)

    async def _may_go_on(self) -> None:
        """Wait until there is room for more; raises ClientDisconnected, once, if the stream is to end.

        An application that does not listen to `receive` learns it so. The client has got what was sent.
        """
        if self.carrier.congested:
            await self.carrier.writable()
        elif self.request.method == "HEAD":
            await asyncio.sleep(0)  # nothing of it is written, so nothing else would make an endless stream wait
        if self.asked_to_end and self.phase == BODY and not self.told_of_disconnect:
            self.told_of_disconnect = True
            raise ClientDisconnected("the server is stopping, so event streams end")

    async def _ignore(self) -> None:
        """Take a message for a client that has left; raises ClientDisconnected if that has been going on for long."""
        if not self._patience or self._ignored == IGNORED:
            raise ClientDisconnected("the client has disconnected")
        self._ignored += 1
        if self._ignored % TURNS == 0:
            await asyncio.sleep(0)

    def ignore_no_more(self) -> None:
        """Have `send` raise an error from now on, since there is no client any more."""
        self._patience = 0

    def release_head(self) -> None:
        """Send the head of the response now, if it is being held back for the body to follow."""
        if (self.phase == BODY or self.phase == TRAILED) and not self.carrier.on_wire:
            self.carrier.write_body(b"", True)

    def outlive(self, now: float) -> None:
        """Look at an application that is still at work although its client has left. Due once a second.

        If it was in the middle of the response and has not heard of it, it cannot know, so its task is cancelled. If it
        sends on, `send` raises an error from the second time on. Work that is not for the client (the response was not
        begun, or the application has heard, and does what it has to do behind it) is not disturbed.
        """
        if self.phase != GONE or now - self._gone_at < GRACE:
            return
        if self._ignored and self._patience:
            self._patience -= 1
        if self._abandoned and not self.told_of_disconnect and self.task is not None:
            self._abandoned = False
            self.task.cancel()

    def sweep(self, ending: bool) -> None:
        """Send a head that still waits for its body; when `ending`, ask an event stream that sends nothing for its end.

        Due once a second. The answer to HEAD may be let go, since a client that has the head has all of it.

        The end is asked for by http.disconnect, which `receive` returns, and by an error of `send`. An application that has come
        to neither within a second is cancelled, as for a client that has left (see `outlive`). The client of an event stream
        connects again when it ends, and misses nothing: so browsers' EventSource works. A response to anything but GET is left
        alone: it may be the answer to a request that is being worked on.
        """
        self.release_head()
        if self.request.method == "HEAD" and (self.phase == BODY or self.phase == TRAILED):
            self.carrier.let_go()
        if ending and self.event_stream and self.phase == BODY and self.request.method == "GET":
            if self.asked_to_end:
                if not self.told_of_disconnect and self.task is not None:
                    self.told_of_disconnect = True
                    self.task.cancel()
            elif self.carrier.sent == self._sent_before:
                self.asked_to_end = True
                self.wake()
            self._sent_before = self.carrier.sent

    def identity(self) -> dict[str, str]:
        """The request's id as a field for records that are not made in its task; empty if it has none."""
        return {} if self.request_id is None else {"request_id": self.request_id}

    def take(self, data: bytes) -> None:
        """Buffer a piece of the body for the application."""
        chunks = self._chunks
        if chunks and len(data) < SMALL and len(chunks[-1]) < SMALL:
            chunks[-1] += data
        else:
            chunks.append(data)
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

    def enter(self, phase: int, now: float) -> None:
        """The response is DONE, or the client GONE: `receive` has nothing to wait for any more."""
        if phase == GONE:
            self._gone_at = now
            self._abandoned = self.phase != START
            self._ignored = 0
            self._patience = 2
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
