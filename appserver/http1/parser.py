"""From octets to requests: where a head begins and ends, what belongs to its body, and what comes next.

The parser finds a head within its limits and has a lexer take it apart; `head.interpret` decides what it means; and by
that the parser delimits the body itself. No lexer reads a body.

    feed(octets) ─▶ [empty line] head ─▶ on_head ─▶ body ─▶ on_body … ─▶ on_end ─▶ the next head
                                          │
                                          └─▶ true: taken over; `take_rest` has what follows

Octets that cannot be used yet are kept with a position in them. Requests that wait are not copied again for each one before them, and
what arrives in small pieces is appended to: the time is linear in what arrives, whatever a client pipelines or drips.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from appserver.errors import Problem, RequestError, SettingsError
from appserver.http.fields import bad_request
from appserver.http.limits import Limits
from appserver.http.request import Request
from appserver.http1.chunked import ChunkedDecoder
from appserver.http1.grammar import START, START_SIZE, TARGET_END, Lexed, check_lines, lex
from appserver.http1.head import interpret


class Handler(Protocol):
    """The callbacks of the parser, called synchronously and in the order of the octets; an engine's connection is one."""

    def on_head(self, request: Request, keep_alive: bool) -> bool:
        """Take the head of a request; `keep_alive` says whether the client wishes to send another one behind it.

        Returning true takes the connection over: the parser stops behind this head.
        """

    def on_body(self, data: bytes) -> None:
        """Take some octets of the body, decoded; never none, and however many came at once in one piece."""

    def on_end(self) -> None:
        """The request is complete; trailer fields have been discarded."""


class Lexer(Protocol):
    """Takes heads apart, faster than `grammar.lex` or by other means; between two heads it remembers nothing."""

    def lex(self, raw: bytes) -> Lexed | None:
        """Return exactly what `grammar.lex` returns for these octets, or None to leave them to it.

        `raw` does not begin with an empty line, and ends with one; if that is not the end of its first head, None.
        """

    def forget(self) -> None:
        """Let go of what was kept for further heads: the last one was the last of its connection."""


Octets = bytes | bytearray

IGNORE_LIMIT = 64 * 1024
"""So many octets behind the last request are read and ignored, before the connection is not read any more."""

WAIT_LIMIT = 64 * 1024
"""So many octets of further requests wait for the present one before no more are read; one read more may come on top."""


class Parser:
    """The requests of one connection.

    Call `feed` with what arrives and `eof` when the client has half-closed. Both raise RequestError at the first
    violation, after everything before it has been delivered; the parser must not be fed after that.

    After a request that ends the connection (`keep_alive` false) further octets are ignored (RFC 9112
    section 9.6). While `paused` is set, which a handler may do at any time, requests that have arrived behind the
    present one wait; `resume` goes on with them.
    """

    __slots__ = (
        "_checked",
        "_chunks",
        "_eof",
        "_handler",
        "_left",
        "_lexer",
        "_limits",
        "_persistent",
        "_position",
        "_read",
        "_rest",
        "_seen",
        "_skipped",
        "_target_at",
        "paused",
    )

    def __init__(self, lexer: Lexer, handler: Handler, limits: Limits) -> None:
        self.paused = False
        self._lexer = lexer
        self._handler = handler
        self._limits = limits
        # The step that reads next: a plain function of the class, as a bound method would be a reference cycle.
        self._read: Callable[[Parser, Octets, int], int] = Parser._read_head
        self._rest: Octets = b""  # octets that could not be used yet, from `_position` on
        self._position = 0
        self._seen = 0  # so many octets of an unfinished head have been searched for its end
        self._checked = 0  # so many octets of it are complete lines, and good
        self._target_at = 0  # where in it the target begins; 0: not known yet, -1: the target is complete
        self._skipped = False  # the empty line that may stand before a request has been there
        self._persistent = True  # another request may follow the present one
        self._left = (
            0  # octets of a body of known length that are still to come; behind the last request, those ignored
        )
        self._chunks: ChunkedDecoder | None = None
        self._eof = False

    @property
    def begins_with_head(self) -> bool:
        """Whether the request that is incomplete, or was refused before `on_head`, has the method HEAD."""
        return self._rest[self._position : self._position + 5] == b"HEAD "

    @property
    def idle(self) -> bool:
        """Whether the last request is complete and no octet of a next one has arrived.

        If none may follow, it is as long as what is ignored is little.
        """
        read = self._read
        return not self._rest and (read is Parser._read_head or (read is Parser._ignore and self._left <= IGNORE_LIMIT))

    @property
    def reads_on(self) -> bool:
        """Whether to read on while a request is answered, for a client that leaves shows only where it is read.

        It is as long as little has arrived behind the request.
        """
        read = self._read
        if read is Parser._read_head:
            return len(self._rest) - self._position <= WAIT_LIMIT
        return read is Parser._ignore and self._left <= IGNORE_LIMIT

    def feed(self, data: bytes) -> None:
        """Parse what has arrived and call the handler; raises RequestError."""
        if self._rest:
            self._run(self._append(data), 0)
        else:
            self._run(data, 0)

    def _append(self, data: bytes) -> bytearray:
        """The octets that are kept, with more behind them."""
        rest = self._rest
        if not isinstance(rest, bytearray):
            rest = bytearray(memoryview(rest)[self._position :])
        else:
            del rest[: self._position]
        rest += data
        return rest

    def _run(self, data: Octets, position: int) -> None:
        """Read from `position` on, as far as that is possible, and keep the rest."""
        size = len(data)
        while position < size:
            before = position
            try:
                position = self._read(self, data, position)
            except RequestError:
                self._rest, self._position = bytes(data[position : position + 5]), 0  # for `begins_with_head`
                raise
            if position == before:
                self._rest, self._position = data, position
                return
        if self._rest:
            self._rest = b""

    def eof(self) -> None:
        """Note that nothing more will arrive; raises RequestError in the middle of a request (RFC 9112 section 8)."""
        self._eof = True
        if self.paused or self.idle or self._read is Parser._wait or self._read is Parser._ignore:
            return
        raise bad_request("the connection was closed in the middle of a request")

    def resume(self) -> None:
        """Go on after a pause; raises RequestError as `feed` does, and as `eof` if that came meanwhile."""
        self.paused = False
        self._run(self._rest, self._position)
        if self._eof:
            self.eof()

    def take_rest(self) -> bytes:
        """Return, and forget, what has arrived behind a head that was taken over."""
        rest, self._rest = self._rest, b""
        return bytes(rest[self._position :])

    # Each of the following reads `data` from `position` on and returns how far it came: to where it began if it cannot use
    # what is there yet.

    def _read_head(self, data: Octets, position: int) -> int:
        if self.paused:
            return position
        if data[position] == 0x0D:
            return self._skip_empty_line(data, position)
        limits = self._limits
        end, lexed = len(data), None
        if not position and type(data) is bytes and data[-4:] == b"\r\n\r\n" and end <= limits.max_header_size:
            # Mostly what has arrived is just one head. The lexer sees that for less than the search for its end costs.
            lexed = self._lexer.lex(data)
        if lexed is None:
            end = data.find(b"\r\n\r\n", position + max(0, self._seen - 3)) + 4
            if end < 4 or end - position > limits.max_header_size:
                return self._await_head(data, position)
            raw = bytes(data[position:end])
            lexed = self._lexer.lex(raw) or self._lex_strictly(raw)
            self._seen = self._checked = self._target_at = 0
        self._skipped = False
        method, target, version, fields = lexed
        if len(target) > limits.max_target_size:
            raise limits.target_too_large()
        if len(fields) > limits.max_headers:
            raise limits.too_many_fields()
        request, chunked, keep_alive = interpret(method, target, version, fields)

        self._persistent = keep_alive
        if not keep_alive:
            self._lexer.forget()
        has_body = chunked or bool(request.content_length)
        if has_body:
            self._begin_body(request)
        if self._handler.on_head(request, keep_alive):
            self._read = Parser._wait
        elif not has_body:
            self._end_request()
        return end

    def _await_head(self, data: Octets, position: int) -> int:
        """Wait for the end of a head, or refuse what cannot become a request any more."""
        limit = self._limits.max_header_size
        stop = min(len(data), position + limit)
        self._check_start(data, position, stop)
        self._checked = check_lines(data, self._checked, seen=self._seen, start=position, stop=stop)
        if len(data) - position >= limit:
            raise self._limits.head_too_large()
        self._seen = stop - position
        return position

    def _check_start(self, data: Octets, position: int, stop: int) -> None:
        """Check the method, and the size of the target, of a head that is still arriving."""
        if not self._target_at:
            start = START.match(data, position, min(stop, position + START_SIZE))
            if start is None:
                raise bad_request("the request does not begin with a method")
            if start[1] is None:
                return
            self._target_at = start.start(1) - position
        if self._target_at > 0:
            target = position + self._target_at
            end = TARGET_END.search(data, max(target, position + self._seen), stop)
            if (end.start() if end else stop) - target > self._limits.max_target_size:
                raise self._limits.target_too_large()
            if end:
                self._target_at = -1

    def _skip_empty_line(self, data: Octets, position: int) -> int:
        """Skip one CRLF before a request line, which some clients send behind a body (RFC 9112 section 2.2)."""
        start = data[position : position + 2]
        if self._skipped or start not in (b"\r", b"\r\n"):
            raise bad_request("the request does not begin with a method")
        if start == b"\r":
            return position
        self._skipped = True
        return position + 2

    def _begin_body(self, request: Request) -> None:
        if request.content_length:
            self._left = request.content_length
            self._read = Parser._read_body
        else:
            self._chunks = ChunkedDecoder(self._limits)
            self._read = Parser._read_chunks

    def _read_body(self, data: Octets, position: int) -> int:
        end = position + self._left
        if end > len(data):
            self._left = end - len(data)
            self._handler.on_body(bytes(data[position:]))
            return len(data)
        self._left = 0
        self._handler.on_body(bytes(data[position:end]))
        self._end_request()
        return end

    def _read_chunks(self, data: Octets, position: int) -> int:
        assert self._chunks is not None
        pieces: list[Octets] = []
        try:
            position = self._chunks.decode(data, position, pieces)
        finally:
            # Also before an error: what came before it is delivered. One call, as there may be a chunk for each octet.
            if pieces:
                self._handler.on_body(b"".join(pieces))
        if self._chunks.finished:
            self._chunks = None
            self._end_request()
        return position

    def _wait(self, _data: Octets, position: int) -> int:
        return position

    def _ignore(self, data: Octets, position: int) -> int:
        self._left += len(data) - position
        return len(data)

    def _end_request(self) -> None:
        self._read = Parser._read_head if self._persistent else Parser._ignore
        self._handler.on_end()

    def _lex_strictly(self, raw: bytes) -> Lexed:
        """Take a complete head apart that the lexer has declined, or refuse it."""
        self._check_target_size(raw)
        check_lines(raw[:-2], 0)
        return lex(raw)

    def _check_target_size(self, raw: bytes) -> None:
        """Check the method and the size of the target, as far as they are there."""
        start = START.match(raw)
        if start is None:
            raise bad_request("the request does not begin with a method")
        if start[1] is not None and len(start[1]) > self._limits.max_target_size:
            raise self._limits.target_too_large()


try:
    from appserver.http1.lexer_httptools import HttptoolsLexer
except ImportError:  # there is none for this Python: PyPy, or no wheel and no compiler
    _has_httptools = False
else:
    _has_httptools = True


def make_lexer(name: str) -> Lexer:
    """Make a lexer, which any number of parsers may share; `name` is the setting `http.parser`: auto, httptools or h11.

    Raises SettingsError if httptools is asked for by name and cannot be imported.
    """
    if name != "h11" and _has_httptools:
        return HttptoolsLexer()
    if name == "httptools":
        expected = f"{name} cannot be imported: install it, or leave the choice to the server (auto)"
        raise SettingsError([Problem("", "http.parser", name, expected)])
    from appserver.http1.lexer_h11 import H11Lexer  # late: it takes longer to import than the rest, and few need it

    return H11Lexer()
