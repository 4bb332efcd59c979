"""The reference lexer, and the check of lines that are still arriving."""

from __future__ import annotations

import pytest

from appserver.errors import RequestError
from appserver.http1.grammar import check_lines, lex
from tests.unit.http1.corpus import GET

HEAD = b"GET /a?b HTTP/1.1\r\nHost: x\r\nAccept:\t*/*  \r\nempty:\r\n\r\n"


class TestLex:
    def test_a_head_is_taken_apart(self) -> None:
        assert lex(HEAD) == (b"GET", b"/a?b", b"1.1", [(b"host", b"x"), (b"accept", b"*/*"), (b"empty", b"")])

    def test_a_head_without_fields_is_a_head(self) -> None:
        assert lex(b"GET / HTTP/1.0\r\n\r\n") == (b"GET", b"/", b"1.0", [])

    @pytest.mark.parametrize("raw", [b"GET /\r\n\r\n", b"\r\n\r\n", b"GET / HTTP/11.1\r\n\r\n"])
    def test_a_malformed_request_line_is_refused(self, raw: bytes) -> None:
        with pytest.raises(RequestError, match="the request line is malformed"):
            lex(raw)

    @pytest.mark.parametrize("line", [b"a : b", b": b", b"a", b" a: b", b"a: \x00", b"a: b\rc: d", b"a: b\nc: d"])
    def test_a_malformed_field_line_is_refused(self, line: bytes) -> None:
        with pytest.raises(RequestError, match="a header field line is malformed"):
            lex(GET + line + b"\r\n\r\n")

    def test_the_message_does_not_repeat_what_the_client_sent(self) -> None:
        with pytest.raises(RequestError) as caught:
            lex(GET + b"<script> : b\r\n\r\n")
        assert "script" not in str(caught.value)


class TestCheckLines:
    def test_complete_lines_are_checked_once(self) -> None:
        checked = 0
        for size in range(len(HEAD) - 2):
            after = check_lines(HEAD[:size], checked)
            assert after in (checked, size), "a line counts when its end has arrived"
            checked = after
        assert checked == HEAD.index(b"\r\n\r\n") - len(b"empty:")

    def test_the_line_that_is_arriving_is_not_judged(self) -> None:
        assert check_lines(GET + b"a b \x00", len(GET)) == len(GET)

    @pytest.mark.parametrize("lines", [b"GET /\n", b"\n", GET + b"a\r\n", GET + b"\n", GET + b"a: b\n"])
    def test_a_malformed_line_is_refused_when_it_is_complete(self, lines: bytes) -> None:
        with pytest.raises(RequestError, match="malformed"):
            check_lines(lines, 0)
