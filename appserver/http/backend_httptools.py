"""The httptools backend: llhttp takes heads apart, in C."""

from __future__ import annotations

import httptools

from appserver.http.grammar import Fields, Lexed


class HttptoolsLexer:
    """Lexes the heads of one connection; declines what llhttp reads differently from the grammar."""

    __slots__ = ("_collector", "_llhttp")

    def __init__(self) -> None:
        self._collector = _Collector()
        self._llhttp: httptools.HttpRequestParser | None = None

    def lex(self, raw: bytes) -> Lexed | None:
        """Take a whole head apart as `grammar.lex` does, or return None to leave it to that.

        Left to the grammar are: heads that llhttp refuses (it knows a fixed set of methods, and judges framing, which
        is not its task here), anything but " HTTP/1.1" right behind the target (it takes HTTP/0.9 and 2.0), and fragments.
        """
        collector = self._collector
        fields: Fields = []
        collector.fields = fields
        collector.target = b""
        collector.complete = False
        llhttp = self._llhttp
        if llhttp is None:
            llhttp = self._llhttp = httptools.HttpRequestParser(collector)
        try:
            llhttp.feed_data(raw)
        except httptools.HttpParserUpgrade:
            self._llhttp = None
        except httptools.HttpParserError:
            self._llhttp = None
            return None
        if not collector.complete:
            # It waits for a body, which it won't get.
            self._llhttp = None
        method = llhttp.get_method()
        target = collector.target
        end = len(method) + 1 + len(target)
        if raw[end : end + 11] != b" HTTP/1.1\r\n" or 0x23 in target:
            self._llhttp = None
            return None
        return method, target, b"1.1", fields


class _Collector:
    """What llhttp calls back."""

    __slots__ = ("complete", "fields", "target")

    target: bytes
    fields: Fields
    complete: bool

    def on_url(self, target: bytes) -> None:
        self.target = target

    def on_header(self, name: bytes, value: bytes) -> None:
        self.fields.append((name.lower(), value.rstrip()))

    def on_message_complete(self) -> None:
        self.complete = True
