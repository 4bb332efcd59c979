"""A handler that writes down what a parser says, and a way to feed a parser in pieces."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from appserver.errors import RequestError
from appserver.http.limits import Limits
from appserver.http.request import Request as Head
from appserver.http1.parser import Handler, Parser, make_lexer

BACKENDS = ("httptools", "h11")


@dataclass
class Request:
    """One request as the handler saw it; `body` is what of it was delivered."""

    head: dict[str, Any]
    body: bytes = b""
    complete: bool = False


@dataclass
class Recorder:
    """Collects requests; takes over (`take_over`) or pauses at each head (`pause`), if told to."""

    take_over: bool = False
    pause: bool = False
    parser: Parser | None = None
    requests: list[Request] = field(default_factory=list)
    pieces: list[bytes] = field(default_factory=list)

    def on_head(self, request: Head, keep_alive: bool) -> bool:
        if self.requests:
            assert self.requests[-1].complete, "a head before the end of the last request"
        facts = {name: getattr(request, name) for name in Head.__slots__}
        self.requests.append(Request(facts | {"keep_alive": keep_alive}))
        if self.pause:
            assert self.parser is not None
            self.parser.paused = True
        return self.take_over

    def on_body(self, data: bytes) -> None:
        assert data, "an empty piece of a body"
        assert not self.requests[-1].complete, "a body after the end of the request"
        self.pieces.append(data)
        self.requests[-1].body += data

    def on_end(self) -> None:
        assert not self.requests[-1].complete, "two ends"
        self.requests[-1].complete = True


def make_parser(backend: str, handler: Handler, limits: Limits) -> Parser:
    """A parser with a lexer of its own; `backend` as `http.parser`."""
    return Parser(make_lexer(backend), handler, limits)


@dataclass
class Outcome:
    """What a parser made of some octets: the requests, why it refused if it did, and whether it minded an end there."""

    requests: list[Request]
    refusal: tuple[int, str] | None
    cut: tuple[int, str] | None

    @property
    def summary(self) -> list[tuple[str, bytes, bytes]]:
        """Method, target and body of the complete requests."""
        done = [request for request in self.requests if request.complete]
        return [(request.head["method"], request.head["target"], request.body) for request in done]


def outcome(backend: str, pieces: Iterable[bytes], limits: Limits | None = None, *, take_over: bool = False) -> Outcome:
    """Feed the pieces to a new parser until it refuses, then end the connection."""
    recorder = Recorder(take_over)
    parser = make_parser(backend, recorder, limits or Limits())
    try:
        for piece in pieces:
            parser.feed(piece)
    except RequestError as error:
        return Outcome(recorder.requests, (error.status, error.reason), None)
    try:
        parser.eof()
    except RequestError as error:
        return Outcome(recorder.requests, None, (error.status, error.reason))
    return Outcome(recorder.requests, None, None)


def octets(data: bytes) -> list[bytes]:
    """The data, one octet at a time."""
    return [data[index : index + 1] for index in range(len(data))]
