"""The same small site for the interfaces of before ASGI 3.0: ASGI 2.0 and WSGI."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import Any

Event = dict[str, Any]
Receive = Callable[[], Awaitable[Event]]
Send = Callable[[Event], Awaitable[None]]

journal: list[str] = []


class ASGI2Site:
    """Called with the scope, then with the rest."""

    def __init__(self, scope: Event) -> None:
        self.scope = scope

    async def __call__(self, receive: Receive, send: Send) -> None:
        if self.scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        body = b""
        more = True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        answer = f"{self.scope['method']} {self.scope['path']} {self.scope['asgi']['version']} {len(body)} {journal}"
        headers = [(b"content-type", b"text/plain")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": answer.encode()})

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        journal.append("started")
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})


def wsgi_site(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Dispatch by the path, as WSGI applications do without a framework."""
    pages = {"/echo": _echo, "/stream": _stream, "/endless": _endless, "/fail": _fail, "/journal": _journal}
    return pages.get(environ["PATH_INFO"], _describe)(environ, start_response)


def _describe(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    names = ("REQUEST_METHOD", "SCRIPT_NAME", "PATH_INFO", "QUERY_STRING", "SERVER_PROTOCOL", "HTTP_X_USER")
    text = "\n".join(f"{name}={environ.get(name)}" for name in names).encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(text)))])
    return [text]


def _echo(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    start_response("201 Created", [("Content-Type", environ.get("CONTENT_TYPE", "text/plain"))])
    while piece := environ["wsgi.input"].read(65536):
        yield piece


def _stream(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    write = start_response("200 OK", [("Content-Type", "text/plain")])
    write(b"written\n")
    return [b"piece %d\n" % number for number in range(20)]


def _endless(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterator[bytes]:
    start_response("200 OK", [])
    try:
        while True:
            yield b"x" * 65536
    finally:
        journal.append("endless closed")


def _fail(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    raise RuntimeError("failed on purpose")


def _journal(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    return ["\n".join(journal).encode()]
