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
        is not its task here); anything but " HTTP/1.1" behind the target (it takes HTTP/0.9 and 2.0, and skips leading
        empty lines); and values that end in white space (it keeps or loses that, depending on where it stands).
        """
        collector = self._collector
        fields: Fields = []
        collector.fields = fields
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
        method = llhttp.get_method()
        if not collector.complete:
            self._llhttp = None
        target = collector.target
        if not raw.startswith(b" HTTP/1.1\r\n", len(method) + 1 + len(target)):
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
        self.fields.append((name.lower(), value))

    def on_message_complete(self) -> None:
        self.complete = True
