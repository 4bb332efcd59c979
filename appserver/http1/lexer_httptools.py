"""The httptools lexer: llhttp takes heads apart, in C."""

from __future__ import annotations

import httptools

from appserver.http.fields import Fields
from appserver.http1.grammar import Lexed


class HttptoolsLexer:
    """Lexes heads; declines what llhttp reads differently from the grammar."""

    __slots__ = ("_collector", "_llhttp")

    def __init__(self) -> None:
        self._collector = _Collector()
        self._llhttp: httptools.HttpRequestParser | None = None

    def lex(self, raw: bytes) -> Lexed | None:
        """Take a head apart as `grammar.lex` does, or return None to leave it to that.

        Left to it are: octets that are more than one head, heads that llhttp refuses (it knows a fixed set of methods,
        and judges framing, which is not its task here), versions other than 1.0 and 1.1 (it takes 0.9 and 2.0), and
        fragments in the target.
        """
        # llhttp skips empty lines behind a head. If there is a visible octet before the last one, more than a head
        # makes it call on_url again, or one of the callbacks for bodies, or refuse.
        if raw[-5] < 0x20:
            return None
        collector = self._collector
        fields: Fields = []
        collector.fields = fields
        collector.target = b""
        collector.complete = False
        llhttp = self._llhttp
        if llhttp is None:
            llhttp = httptools.HttpRequestParser(collector)
        self._llhttp = None
        try:
            llhttp.feed_data(raw)
        except httptools.HttpParserUpgrade as upgrade:
            if upgrade.args[0] != len(raw):
                return None
        except httptools.HttpParserError:
            return None
        method, target = llhttp.get_method(), collector.target
        if 0x23 in target:
            return None
        start = len(method) + 1 + len(target)
        line_end = raw[start : start + 11]
        if line_end == b" HTTP/1.1\r\n":
            version = b"1.1"
        elif line_end == b" HTTP/1.0\r\n":
            version = b"1.0"
        else:
            return None
        if collector.complete:
            # It has seen the end of the message, so it can be used again; otherwise it waits for a body.
            self._llhttp = llhttp
        return method, target, version, fields

    def forget(self) -> None:
        """The last head was the last one of its connection, and llhttp refuses whatever follows on such a message."""
        self._llhttp = None


class _MoreThanAHead(Exception):
    """There are octets behind the head."""


class _Collector:
    """The callbacks of llhttp. An exception raised here makes it stop with an HttpParserError."""

    __slots__ = ("complete", "fields", "target")

    target: bytes
    fields: Fields
    complete: bool

    def on_url(self, target: bytes) -> None:
        if self.target:
            raise _MoreThanAHead
        self.target = target

    def on_header(self, name: bytes, value: bytes) -> None:
        self.fields.append((name.lower(), value.rstrip()))

    def on_message_complete(self) -> None:
        self.complete = True

    def on_body(self, _data: bytes) -> None:
        raise _MoreThanAHead

    def on_chunk_header(self) -> None:
        raise _MoreThanAHead
