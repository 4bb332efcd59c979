"""The contract of a lexer: for every head it returns what the grammar's own lexer returns, or declines."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

import pytest

from appserver.errors import RequestError
from appserver.http1.grammar import Lexed, lex
from appserver.http1.lexer_h11 import H11Lexer
from appserver.http1.lexer_httptools import HttptoolsLexer
from appserver.http1.parser import Lexer
from tests.unit.http1.corpus import CASES, CHUNKED, GET, POST, UPGRADE

END = b"\r\n\r\n"
lexers = pytest.mark.parametrize("make", [HttptoolsLexer, H11Lexer])

HEADS = (
    b"GET /a?b HTTP/1.1\r\nHost: x\r\nA:\tb \r\nC:\r\n\r\n",
    b"POST http://y/ HTTP/1.1\r\nHost:x\r\nContent-Length: 3\r\n\r\n",
    b"PUT * HTTP/1.0\r\nTransfer-Encoding: chunked\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
)


def reference(raw: bytes) -> Lexed | None:
    """What the grammar makes of it; None if it refuses."""
    try:
        return lex(raw)
    except RequestError:
        return None


def may_be_lexed(raw: bytes) -> bool:
    """What the parser promises a lexer: there is an empty line at the end, and none at the beginning."""
    return raw.endswith(END) and raw[0] != 0x0D


def one_octet_away(head: bytes) -> Iterator[bytes]:
    """Every head with one octet more, one fewer or one other."""
    for index in range(len(head) + 1):
        yield head[:index] + head[index + 1 :]
        for value in range(256):
            yield head[:index] + bytes([value]) + head[index:]
            yield head[:index] + bytes([value]) + head[index + 1 :]


PARTS = (
    END,
    b"\r\n",
    b"\r",
    b"\n",
    b" ",
    b"\t",
    b":",
    b"\x00",
    b"\x0b",
    b"\x7f",
    b"\xff",
    b",",
    b";",
    b"/",
    b"#",
    b'"',
    b" HTTP/1.1",
    b"Host: x\r\n",
    b"\r\n ",
)


def some_steps_away(head: bytes, source: random.Random) -> bytes:
    """The head with two to five pieces put in, left out or replaced."""
    for _ in range(source.randint(2, 5)):
        start = source.randrange(len(head))
        stop = start + source.choice((0, 0, 1, 2, 3))
        head = head[:start] + source.choice((*PARTS, b"")) + head[stop:]
    return head


@lexers
class TestContract:
    def test_the_corpus(self, make: Callable[[], Lexer]) -> None:
        for case in CASES:
            for end in range(len(END), len(case.octets) + 1):
                raw = case.octets[:end]
                if may_be_lexed(raw):
                    assert make().lex(raw) in (None, reference(raw)), case.name

    @pytest.mark.parametrize("head", HEADS)
    def test_every_head_that_is_one_octet_away_from_a_good_one(self, make: Callable[[], Lexer], head: bytes) -> None:
        lexer = make()
        for raw in one_octet_away(head):
            if may_be_lexed(raw):
                assert lexer.lex(raw) in (None, reference(raw)), raw

    @pytest.mark.parametrize("head", HEADS)
    def test_a_head_with_something_behind_it(self, make: Callable[[], Lexer], head: bytes) -> None:
        lexer = make()
        for other in (*HEADS, b"", b"5\r\nhello", b"\x81\x00", b"GE", b"GET / HTTP/1.1"):
            for between in (
                b"",
                b"\r",
                b"\n",
                b"\r\n",
                b"\r\r\n",
                b"\n\r\n",
                END,
                b"\r" + END,
                b"\n" + END,
                b" " + END,
                b"x" + END,
                b"\t" + END,
            ):
                for raw in (head + between + other, head + other + between, head + between + other + END):
                    if may_be_lexed(raw):
                        assert lexer.lex(raw) in (None, reference(raw)), raw

    def test_many_heads_that_are_some_steps_away(self, make: Callable[[], Lexer]) -> None:
        source = random.Random(9112)
        lexer = make()
        for _ in range(20_000):
            raw = some_steps_away(b"".join(source.choices(HEADS, k=source.choice((1, 1, 1, 2)))), source)
            if may_be_lexed(raw):
                assert lexer.lex(raw) in (None, reference(raw)), raw

    def test_no_head_leaves_anything_behind_for_the_next(self, make: Callable[[], Lexer]) -> None:
        bodies = (
            POST + b"Content-Length: 5" + END,
            CHUNKED,
            GET + UPGRADE + END[:2],
            b"CONNECT x:1 HTTP/1.1\r\nHost: x:1" + END,
        )
        others = (b"GET /" + END, b"GET / HTTP/2.0" + END, b"GETX / HTTP/1.1\r\nA: b" + END)
        heads = [GET + END[:2], *bodies, *others]
        fresh = {raw: make().lex(raw) for raw in heads}
        lexer = make()
        for first in heads:
            for second in heads:
                lexer.lex(first)
                assert lexer.lex(second) == fresh[second], (first, second)


@pytest.mark.parametrize(
    "head",
    [GET + END[:2], POST + b"Content-Length: 5" + END, CHUNKED, GET + UPGRADE + END[:2], b"GET / HTTP/1.0" + END],
)
@lexers
def test_common_heads_are_not_declined(make: Callable[[], Lexer], head: bytes) -> None:
    assert make().lex(head) == lex(head)


def test_httptools_declines_what_it_reads_differently() -> None:
    for line in (b"GETX / HTTP/1.1", b"GET / HTTP/2.0", b"GET /", b"GET /#a HTTP/1.1"):
        assert HttptoolsLexer().lex(line + b"\r\nHost: x" + END) is None


def test_h11_declines_what_it_would_respell() -> None:
    for field in (
        b"Content-Length: 5, 5",
        b"Content-Length: 5\r\nContent-Length: 5",
        b"Transfer-Encoding: Chunked",
        b"A:b",
        b"A: b\r\n c",
    ):
        assert H11Lexer().lex(GET + field + END) is None
