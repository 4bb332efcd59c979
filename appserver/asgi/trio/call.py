"""One call of the application: a task of asyncio that waits, and the task of trio that it waits for."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import trio
from trio.lowlevel import checkpoint, checkpoint_if_cancelled

from appserver.asgi.trio import mistakes
from appserver.asgi.trio.bridge import finish
from appserver.asgi.trio.guest import Guest
from appserver.asgi.types import ASGIApplication, Message, Receive, Scope, Send

TURNS = 64
"""At one message in so many others have their turn, so that one that sends and sends does not block the event loop."""

_ENDS_WORKER = (SystemExit, KeyboardInterrupt)


class Call:
    """Has the lifetime of both tasks: `serve` is the body of that of asyncio, `run` of that of trio."""

    __slots__ = (
        "_application",
        "_cancel_scope",
        "_ended",
        "_error",
        "_guest",
        "_receive",
        "_scope",
        "_send",
        "_sent",
        "coroutine",
    )

    def __init__(self, guest: Guest, application: ASGIApplication, scope: Scope, receive: Receive, send: Send) -> None:
        self._guest = guest
        self._application = application
        self._scope = scope
        self._receive = receive
        self._send = send
        self._sent = 0
        self._error: BaseException | None = None
        self._ended: asyncio.Future[None] | None = None
        self._cancel_scope = trio.CancelScope()
        self.coroutine: Coroutine[Any, Any, None] | None = None
        """The coroutine that the task of trio runs, for reports of where it stands."""

    async def serve(self) -> None:
        """Have the application called by trio; returns when it returns, and raises what it raises.

        The context of this task is copied for that of trio. If this task is cancelled, that of trio is, and is waited for.
        """
        guest = self._guest
        ended = self._ended = guest.loop.create_future()
        guest.start_soon(self, self._scope["type"])
        cancelled = False
        while True:
            try:
                await ended
            except asyncio.CancelledError:
                if self._ended is not None:  # else it has come to its end in this very turn of the loop
                    cancelled = True
                    ended = self._ended = guest.loop.create_future()
                    self._cancel_scope.cancel()
                    continue
            break
        if self._error is not None:
            raise self._error
        if cancelled and self._cancel_scope.cancelled_caught:
            raise asyncio.CancelledError

    async def run(self) -> None:
        """Call the application; the body of the task of trio. Raises trio.Cancelled if the whole of trio ends, else nothing."""
        self.coroutine = trio.lowlevel.current_task().coro
        try:
            with self._cancel_scope:
                await self._application(self._scope, self.receive, self.send)
        except trio.Cancelled:
            self._error = asyncio.CancelledError("trio ends")
            raise
        except BaseException as error:  # noqa: BLE001  # it is raised in the task of asyncio
            self._error = _outcome(error)
        finally:
            self._guest.forget(self)
            self._end()

    def abandon(self, error: BaseException) -> None:
        """Trio has crashed by `error`, and `run` will not be heard of any more."""
        if self._ended is not None:
            self._error = RuntimeError("trio has crashed, and this call with it")
            self._error.__cause__ = error
            self._end()

    def _end(self) -> None:
        self.coroutine = None
        ended, self._ended = self._ended, None
        if ended is not None and not ended.done():
            ended.set_result(None)

    async def receive(self) -> Message:
        await checkpoint_if_cancelled()
        coroutine: Any = self._receive()
        try:
            waits_for = coroutine.send(None)
        except StopIteration as stop:
            message: Message = stop.value
            return message
        return await finish(coroutine, waits_for)

    async def send(self, message: Message) -> None:
        self._sent += 1
        if self._sent % TURNS:
            await checkpoint_if_cancelled()
        else:
            await checkpoint()
        coroutine: Any = self._send(message)
        try:
            waits_for = coroutine.send(None)
        except StopIteration:
            return
        await finish(coroutine, waits_for)


def _outcome(error: BaseException) -> BaseException:
    """The exception to raise on asyncio's side for one that the application has raised.

    asyncio's task groups let SystemExit out as it is; nurseries put it into a group, out of which it is taken here.
    """
    mistakes.explain(error, "trio")
    if isinstance(error, BaseExceptionGroup) and (asked := error.subgroup(_ENDS_WORKER)) is not None:
        leaf: BaseException = asked
        while isinstance(leaf, BaseExceptionGroup):
            leaf = leaf.exceptions[0]
        leaf.__cause__ = error if leaf.__cause__ is None else leaf.__cause__
        return leaf
    return error
