"""WSGI applications, through a2wsgi: each request in one of its threads.

a2wsgi translates; what it leaves open is closed here, in front of and behind it. The module needs the extra `wsgi` and
is imported only for an application that needs it.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from a2wsgi import WSGIMiddleware

from appserver.asgi.types import Message, Receive, Scope, Send, WSGIApplication

_DELIVERY = "appserver.delivery"


class WSGIAdapter:
    """Serve a WSGI application as one of ASGI 3.0."""

    def __init__(self, application: WSGIApplication) -> None:
        self._application = application
        self._translated: Any = WSGIMiddleware(self._call)
        self._abandoned: set[asyncio.Task[None]] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._translated(scope, receive, send)
            return
        delivery = scope[_DELIVERY] = _Delivery(send)
        request = asyncio.ensure_future(self._translated(scope, receive, delivery.send))
        try:
            await asyncio.shield(request)
        except asyncio.CancelledError:
            # A thread cannot be cancelled, but it ends with the next part of the body, which goes nowhere. If what
            # takes its parts were cancelled as well, it would wait for ever, and with ten such nothing would be served.
            delivery.lost = True
            self._abandoned.add(request)
            request.add_done_callback(self._forget)
            raise

    def _call(self, environ: Any, start_response: Callable[..., Any]) -> Iterator[bytes]:
        """The application as a2wsgi sees it, in a thread."""
        delivery = environ["asgi.scope"].pop(_DELIVERY)
        environ["wsgi.errors"] = sys.stderr  # standard output may be where the access log goes
        parts: Iterable[bytes] = self._application(environ, start_response)
        try:
            for part in parts:
                if delivery.lost:
                    return
                yield part
        finally:
            if (close := getattr(parts, "close", None)) is not None:
                close()

    def _forget(self, request: asyncio.Task[None]) -> None:
        self._abandoned.discard(request)
        if not request.cancelled():
            request.exception()  # nobody is left to be told


class _Delivery:
    """The way of one response to the client, until it is lost."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.lost = False

    async def send(self, message: Message) -> None:
        """Send a message, or drop it: after the client has gone, `send` raises OSError, and a2wsgi's thread would stay."""
        if self.lost:
            return
        try:
            await self._send(message)
        except OSError:
            self.lost = True
