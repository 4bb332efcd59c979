"""An application written for trio as one of ASGI 3.0 under asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from appserver.asgi.types import ASGIApplication, Receive, Scope, Send
from appserver.errors import StartupError

if TYPE_CHECKING:
    from appserver.asgi.trio.guest import Guest


class TrioAdapter:
    """Run an application in tasks of trio: one for the lifespan, one for each request and each session.

    Await `start` before the first call, in the event loop that is to be the host, and `end` after the last one.
    """

    def __init__(self, application: ASGIApplication) -> None:
        """Raises ImportError if trio cannot be imported."""
        from appserver.asgi.trio.call import Call

        self._application = application
        self._call = Call
        self._guest: Guest | None = None

    async def start(self, on_crash: Callable[[BaseException], None]) -> None:
        """Start trio. Raises StartupError if it does not run as a guest of this event loop.

        `on_crash` is called if trio ends before it is told to; whatever is being served is cancelled by then, and further
        calls fail.
        """
        from appserver.asgi.trio.guest import Guest

        guest = Guest(asyncio.get_running_loop())
        try:
            await guest.start(on_crash)
        except Exception as error:
            loop = type(guest.loop)
            raise StartupError(
                f'app.async_library = "trio": trio does not run as a guest of {loop.__module__}.{loop.__qualname__}'
                f" ({type(error).__name__}: {error})"
            ) from error
        self._guest = guest

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Coroutine[Any, Any, None]:
        guest = self._guest
        if guest is None:
            raise RuntimeError("trio has not been started: await TrioAdapter.start first")
        return self._call(guest, self._application, scope, receive, send).serve()

    async def end(self, grace: float) -> bool:
        """Cancel what still runs, and end trio; returns whether it has ended within `grace` seconds."""
        return self._guest is None or await self._guest.end(grace)

    def describe_tasks(self, *, calls: bool = False) -> str:
        """Return where the tasks of trio stand, as text; with `calls` also those that tasks of asyncio wait for.

        Without, these are left out because `describe_stack` of the task of asyncio goes on into that of trio.
        """
        return "" if self._guest is None else self._guest.describe_tasks(calls=calls)
