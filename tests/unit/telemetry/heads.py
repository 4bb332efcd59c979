"""Request heads, made by the code that reads real ones."""

from __future__ import annotations

from appserver.http.request import Request
from appserver.http1.head import interpret

BROWSER = [
    (b"host", b"example.com"),
    (b"user-agent", b"Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"),
    (b"referer", b"https://example.com/start"),
]


def a_head(target: bytes = b"/", fields: list[tuple[bytes, bytes]] | None = None, *, method: bytes = b"GET") -> Request:
    return interpret(method, target, b"1.1", [(b"host", b"example.com")] if fields is None else fields)[0]
