"""A WSGI application as one of ASGI 3.0."""

from __future__ import annotations

import asyncio

from appserver.asgi.types import Receive, Scope, Send, WSGIApplication
from appserver.asgi.wsgi.call import Call
from appserver.asgi.wsgi.environ import common_environ
from appserver.asgi.wsgi.threads import Meter, Threads


class WSGIAdapter:
    """Serve a WSGI application as one of ASGI 3.0, in up to `threads` threads.

    Each request has a thread of its own until the iterable that the application returned is closed. Further ones wait,
    in the order of their arrival; those of clients that leave meanwhile are never begun. A call that is cancelled stops
    at once for the client; its thread cannot be stopped, but runs on only until it next reads or writes.
    """

    def __init__(self, application: WSGIApplication, threads: int) -> None:
        self._application = application
        self._threads = Threads(threads)
        self._common = common_environ(multithread=threads > 1)

    def report_to(self, meter: Meter) -> None:
        """Have `meter` told how busy the threads are, and how long requests wait for them."""
        self._threads.report_to(meter)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        kind = scope["type"]
        if kind == "http":
            loop = asyncio.get_running_loop()
            call = Call(self._application, self._common, scope, receive, loop, self._threads)
            await call.serve(send)
        elif kind == "websocket":
            await send({"type": "websocket.close", "code": 1000})  # before it was accepted: answered with 403
        elif kind == "lifespan":
            await self._live(receive, send)

    async def _live(self, receive: Receive, send: Send) -> None:
        """Answer the lifespan; its shutdown waits for the threads that are left, those of cancelled calls."""
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self._threads.close()
        await send({"type": "lifespan.shutdown.complete"})
