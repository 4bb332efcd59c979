"""From octets to requests: where a head begins and ends, what belongs to its body, and what comes next.

The parser finds a head within its limits and has a lexer take it apart; `head.interpret` decides what it means; and by
that the parser delimits the body itself. No lexer reads a body.

    feed(octets) ─▶ [empty line] head ─▶ on_head ─▶ body ─▶ on_body … ─▶ on_end ─▶ the next head
                                          │
                                          └─▶ true: taken over; `take_rest` has what follows
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from appserver.http.backend_h11 import H11Lexer
from appserver.http.backend_httptools import HttptoolsLexer
from appserver.http.chunked import ChunkedDecoder
from appserver.http.grammar import START, Lexed, bad_request, check_lines, lex
from appserver.http.head import Limits, RequestHead, interpret


class Handler(Protocol):
    """What the parser calls, synchronously and in the order of the octets; an engine's connection is one."""

    def on_head(self, head: RequestHead) -> bool:
        """Take the head of a request; true takes the connection over: the parser stops behind this head."""

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


class Parser:
    """The requests of one connection.

    Call `feed` with what arrives and `eof` when the client has half-closed. Both raise RequestError at the first
    violation, after everything before it has been delivered; the parser must not be fed after that.

    After a request that ends the connection (`RequestHead.keep_alive` false) further octets are ignored (RFC 9112
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
        "_read",
        "_rest",
        "_searched",
        "_skipped",
        "paused",
    )

    def __init__(self, lexer: Lexer, handler: Handler, limits: Limits) -> None:
        self.paused = False
        self._lexer = lexer
        self._handler = handler
        self._limits = limits
        # What to read next: a plain function of the class, as a bound method would be a reference cycle.
        self._read: Callable[[Parser, bytes, int], int] = Parser._read_head
        self._rest = b""  # octets that could not be used yet
        self._searched = 0  # so many octets of an unfinished head hold no end of it
        self._checked = 0  # so many octets of it are complete lines, and good
        self._skipped = False  # the empty line that may stand before a request has been there
        self._persistent = True  # another request may follow the present one
        self._left = 0  # octets of a body of known length that are still to come
        self._chunks: ChunkedDecoder | None = None
        self._eof = False

    @property
    def idle(self) -> bool:
        """Whether the last request is complete and no octet of a next one has arrived."""
        return not self._rest and self._read is Parser._read_head

    def feed(self, data: bytes) -> None:
        """Parse what has arrived and call the handler; raises RequestError."""
        if self._rest:
            data = self._rest + data
            self._rest = b""
        position, size = 0, len(data)
        while position < size:
            position = self._read(self, data, position)

    def eof(self) -> None:
        """Note that nothing more will arrive; raises RequestError in the middle of a request (RFC 9112 section 8)."""
        self._eof = True
        if self.paused or self.idle or self._read is Parser._keep or self._read is Parser._ignore:
            return
        raise bad_request("the connection was closed in the middle of a request")

    def resume(self) -> None:
        """Go on after a pause; raises RequestError as `feed` does, and as `eof` if that came meanwhile."""
        self.paused = False
        self.feed(b"")
        if self._eof:
            self.eof()

    def take_rest(self) -> bytes:
        """Return, and forget, what has arrived behind a head that was taken over."""
        rest, self._rest = self._rest, b""
        return rest

    # Each of the following reads `data` from `position` on and returns how far it came; octets that it cannot use yet
    # it keeps.

    def _read_head(self, data: bytes, position: int) -> int:
        if self.paused:
            return self._keep(data, position)
        if data[position] == 0x0D:
            return self._skip_empty_line(data, position)
        limits = self._limits
        end, lexed = len(data), None
        if not position and data[-4:] == b"\r\n\r\n" and end <= limits.max_header_size:
            # Mostly what has arrived is just one head. The lexer sees that for less than the search for its end costs.
            lexed = self._lexer.lex(data)
        if lexed is None:
            end = data.find(b"\r\n\r\n", position + self._searched) + 4
            if end < 4 or end - position > limits.max_header_size:
                return self._await_head(data, position)
            raw = data[position:end]
            lexed = self._lexer.lex(raw) or self._lex_strictly(raw)
        self._searched = self._checked = 0
        self._skipped = False
        method, target, version, fields = lexed
        if len(target) > limits.max_target_size:
            raise limits.target_too_large()
        if len(fields) > limits.max_headers:
            raise limits.too_many_fields()
        head = interpret(method, target, version, fields)

        self._persistent = head.keep_alive
        has_body = head.chunked or bool(head.content_length)
        if has_body:
            self._begin_body(head)
        if self._handler.on_head(head):
            self._read = Parser._keep
        elif not has_body:
            self._end_request()
        return end

    def _await_head(self, data: bytes, position: int) -> int:
        """Keep a head that has not ended within what is there, or refuse what cannot become a request any more."""
        limit = self._limits.max_header_size
        unfinished = data[position : position + limit]
        self._check_target_size(unfinished)
        self._checked = check_lines(unfinished, self._checked)
        if len(data) - position >= limit:
            raise self._limits.head_too_large()
        self._searched = max(0, len(unfinished) - 3)
        return self._keep(data, position)

    def _skip_empty_line(self, data: bytes, position: int) -> int:
        """Skip one CRLF before a request line, which some clients send behind a body (RFC 9112 section 2.2)."""
        start = data[position : position + 2]
        if self._skipped or start not in (b"\r", b"\r\n"):
            raise bad_request("the request does not begin with a method")
        if start == b"\r":
            return self._keep(data, position)
        self._skipped = True
        return position + 2

    def _begin_body(self, head: RequestHead) -> None:
        if head.content_length:
            self._left = head.content_length
            self._read = Parser._read_body
        else:
            self._chunks = ChunkedDecoder(self._limits)
            self._read = Parser._read_chunks

    def _read_body(self, data: bytes, position: int) -> int:
        end = position + self._left
        if end > len(data):
            self._left = end - len(data)
            self._handler.on_body(data[position:])
            return len(data)
        self._left = 0
        self._handler.on_body(data[position:end])
        self._end_request()
        return end

    def _read_chunks(self, data: bytes, position: int) -> int:
        assert self._chunks is not None
        pieces: list[bytes] = []
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
        return self._keep(data, position)

    def _keep(self, data: bytes, position: int) -> int:
        self._rest = data[position:]
        return len(data)

    def _ignore(self, data: bytes, _position: int) -> int:
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


LEXERS: dict[str, Callable[[], Lexer]] = {"auto": HttptoolsLexer, "httptools": HttptoolsLexer, "h11": H11Lexer}


def make_lexer(name: str) -> Lexer:
    """Make a lexer, which any number of parsers may share; `name` is the setting `http.parser`: auto, httptools or h11."""
    return LEXERS[name]()
