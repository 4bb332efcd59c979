"""Waiting in a task of trio for what an `async def` of asyncio waits for.

What the engine gives an application to await are coroutines that wait for nothing but futures of its event loop, or let others
have their turn (`asyncio.sleep(0)`, which yields None). Most do not wait at all: they are through at their first step, which
costs no more than calling them under asyncio. For the others, the task of trio is rescheduled by the future.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

import trio
from trio.lowlevel import Abort, RaiseCancelT, checkpoint, current_task, reschedule, wait_task_rescheduled

T = TypeVar("T")


async def finish(coroutine: Coroutine[Any, Any, T], waits_for: Any) -> T:
    """Return what `coroutine` returns; `waits_for` is what its first step has yielded.

    If the task is cancelled, so is the coroutine: it is closed where it waits, and trio.Cancelled is raised.
    """
    try:
        while True:
            if waits_for is None:
                await checkpoint()
            else:
                waits_for._asyncio_future_blocking = False  # the future would take another wait for a mistake
                await _Wait(waits_for).over()
            waits_for = coroutine.send(None)
    except StopIteration as stop:
        value: T = stop.value
        return value
    except trio.Cancelled:
        coroutine.close()
        raise


class _Wait:
    """One task of trio that waits for one future of asyncio."""

    __slots__ = ("_future", "_task")

    def __init__(self, future: asyncio.Future[Any]) -> None:
        self._future = future
        self._task: trio.lowlevel.Task | None = current_task()

    async def over(self) -> None:
        self._future.add_done_callback(self._wake)
        await wait_task_rescheduled(self._abort)

    def _wake(self, _future: asyncio.Future[Any]) -> None:
        task, self._task = self._task, None
        if task is not None:
            reschedule(task)

    def _abort(self, _raise_cancel: RaiseCancelT) -> Abort:
        # A future that is done has its callbacks scheduled already, and cannot take them back.
        self._task = None
        self._future.remove_done_callback(self._wake)
        return Abort.SUCCEEDED
