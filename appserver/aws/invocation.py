"""An invocation as what carries an exchange: a response goes into one answer, or piece by piece into a stream.

An answer is made when the response is complete. Until then nothing has left, so an application that fails half-way is answered
for like one that has not begun. A stream begins with a prelude, a JSON object with status and headers, and eight NUL octets;
what fails behind that is told to Lambda in trailers.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

from appserver.aws.events import InvocationRequest, Kind, Options
from appserver.engine import lifecycle
from appserver.engine.exchange import DONE, GONE, Exchange
from appserver.engine.file import FilePart, read_pieces
from appserver.engine.service import Service
from appserver.errors import RequestError
from appserver.http.fields import Fields
from appserver.http.response import describe_error
from appserver.http2.response import Response, error_response

PRELUDE_END = bytes(8)
"""Octets between the prelude and the body of a streamed response."""

HEAD_DELAY = 0.5
"""So long, in seconds, the head of a streamed response is held back for the first piece of its body."""

MOST_ESCAPED = 6
"""So many octets of JSON one octet of a body takes at most; half of what is allowed is left to the head."""

_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def encode_json(answer: Any) -> bytes:
    """An answer as Lambda is given it. Raises TypeError and ValueError for what JSON does not hold."""
    return _ENCODER.encode(answer).encode("utf-8", "replace")


class Stream(Protocol):
    """Where a streamed response goes."""

    @property
    def congested(self) -> bool:
        """Whether Lambda takes less than there is."""

    def write(self, data: bytes) -> None: ...

    async def writable(self) -> None: ...

    def end(self) -> None: ...

    def fail(self, kind: str, message: str) -> None:
        """End it as broken."""


class Carrier(Response):
    """The common part of both: the rules for heads and lengths, and the end of the exchange."""

    __slots__ = ("_event", "_kind", "_options", "_service", "_size", "exchange", "waiter")

    exchange: Exchange

    def __init__(
        self, service: Service, kind: Kind, event: dict[str, Any], request: InvocationRequest, options: Options
    ) -> None:
        super().__init__(service.defaults, request.method)
        self._service = service
        self._kind = kind
        self._event = event
        self._options = options
        self._size = 0  # octets of the body so far
        self.waiter: asyncio.Future[None] | None = None

    @property
    def sent(self) -> int:
        return self._size

    @property
    def congested(self) -> bool:
        return False

    async def writable(self) -> None:
        """Nothing has to be waited for."""

    def write_body(self, data: bytes, more: bool) -> None:
        raise NotImplementedError

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

    def write_trailers(self, headers: Iterable[Sequence[bytes]]) -> None:
        self.trailers(headers, accepted=False)
        self.write_body(b"", False)

    def hint(self, links: Iterable[bytes]) -> None:
        """Nobody who triggers a function takes interim responses."""

    def invite_body(self) -> None:
        """The body is here."""

    def body_taken(self, octets: int) -> None:
        """It is here as a whole."""

    def let_go(self) -> None:
        """Nothing: there is no other request, and Lambda waits for the whole response."""

    def turn_away(self, error: RequestError) -> None:
        self._refuse(error, DONE, None)

    def refuse(self, error: RequestError, outcome: str) -> None:
        self._refuse(error, GONE, outcome)

    def _refuse(self, error: RequestError, phase: int, outcome: str | None) -> None:
        raise NotImplementedError

    def _finish(self, phase: int, status: int, outcome: str | None) -> None:
        self.exchange.sent = self._size
        lifecycle.finish(self._service, self.exchange, phase, status, outcome)
        if self.waiter is not None and not self.waiter.done():
            self.waiter.set_result(None)


class Buffered(Carrier):
    """The response as one answer."""

    __slots__ = ("_pieces", "answer")

    def __init__(
        self, service: Service, kind: Kind, event: dict[str, Any], request: InvocationRequest, options: Options
    ) -> None:
        super().__init__(service, kind, event, request, options)
        self._pieces: list[bytes] = []
        self.answer: dict[str, Any] | None = None

    def write_body(self, data: bytes, more: bool) -> None:
        if data:
            self._size += len(data)
            self._pieces.append(data)
        if more:
            return
        fields = self.head(self._size, False)
        pieces = self._pieces
        body = b"" if self.bodiless else pieces[0] if len(pieces) == 1 else b"".join(pieces)
        answer = self._kind.write(self._event, self.status, fields[1:], body, self._options)
        limit = self._kind.limit(self._event)
        if len(body) * MOST_ESCAPED > limit // 2 and (length := len(encode_json(answer))) > limit:
            self._too_large(length, limit)
        else:
            self.answer = answer
            self._finish(DONE, self.status, None)

    def break_off(self, outcome: str) -> None:
        """End what has not left: it is answered for as if it had not begun."""
        self._refuse(RequestError(500, "error", "the response was broken off"), GONE, outcome)

    def _refuse(self, error: RequestError, phase: int, outcome: str | None) -> None:
        head, body = error_response(self._service.defaults, error, self.exchange.request.method, self.id_value)
        self._size = len(body)
        self.answer = self._kind.write(self._event, error.status, head[1:], body, self._options)
        self._finish(phase, error.status, outcome)

    def _too_large(self, size: int, limit: int) -> None:
        self._service.logger.error(
            "response too large",
            method=self.exchange.request.method,
            path=self.exchange.request.path,
            size=size,
            detail=f"a {self._kind.name} takes {limit} octets of JSON from a function, headers and all",
            advice="answer with a link to the content, or stream it (lambda.streaming)",
            **self.exchange.identity(),
        )
        self._refuse(
            RequestError(500, "response_too_large", "the response is larger than a function may send"), GONE, "error"
        )


class Streamed(Carrier):
    """The response piece by piece. The stream is opened by its first piece."""

    __slots__ = ("_open", "_release", "stream")

    def __init__(
        self,
        service: Service,
        kind: Kind,
        event: dict[str, Any],
        request: InvocationRequest,
        options: Options,
        open_stream: Callable[[], Stream],
    ) -> None:
        super().__init__(service, kind, event, request, options)
        self._open = open_stream
        self._release: asyncio.TimerHandle | None = None
        self.stream: Stream | None = None

    @property
    def congested(self) -> bool:
        return self.stream is not None and self.stream.congested

    async def writable(self) -> None:
        if self.stream is not None:
            await self.stream.writable()

    def start(self, status: int, headers: Iterable[Sequence[bytes]]) -> bool:
        is_event_stream = super().start(status, headers)
        self._release = self._service.loop.call_later(HEAD_DELAY, self.exchange.release_head)
        return is_event_stream

    def write_body(self, data: bytes, more: bool) -> None:
        size = len(data)
        if self.on_wire:
            self.piece(size, more)
            stream = self.stream
            assert stream is not None
        else:
            fields = self.head(size, more)
            stream = self._begin(self.status, fields[1:])
        if data and not self.bodiless:
            self._size += size
            stream.write(data)
        if not more:
            stream.end()
            self._finish(DONE, self.status, None)

    def break_off(self, outcome: str) -> None:
        if self.stream is not None:
            self.stream.fail("Function.ResponseBrokenOff", "the application failed behind the head of its response")
        self._finish(GONE, self.status, outcome)

    def _begin(self, status: int, fields: Fields) -> Stream:
        if self._release is not None:
            self._release.cancel()
        self.stream = stream = self._open()
        prelude = self._kind.prelude(status, fields, self._options)
        stream.write(json.dumps(prelude, separators=(",", ":")).encode() + PRELUDE_END)
        return stream

    def _refuse(self, error: RequestError, phase: int, outcome: str | None) -> None:
        head, body = error_response(self._service.defaults, error, self.exchange.request.method, self.id_value)
        self.on_wire, self.status = True, error.status
        stream = self._begin(error.status, head[1:])
        if body:
            self._size = len(body)
            stream.write(body)
        stream.end()
        self._finish(phase, error.status, outcome)

    def _finish(self, phase: int, status: int, outcome: str | None) -> None:
        if self._release is not None:
            self._release.cancel()
        super()._finish(phase, status, outcome)


def refusal(kind: Kind, event: dict[str, Any], error: RequestError, options: Options) -> dict[str, Any]:
    """The answer to an event of which no request could be made."""
    fields, body = describe_error(error)
    return kind.write(event, error.status, list(fields), body, options)
