"""Waiting for something to change, for any number of coroutines."""

from __future__ import annotations

import asyncio


class Waiters:
    """Those who wait until `wake` is called. A waiter has to look again then: others may have been quicker."""

    __slots__ = ("_futures", "_loop")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._futures: list[asyncio.Future[None]] = []

    async def wait(self) -> None:
        """Return after the next `wake`. Each waiter has a future of its own, so that cancelling one concerns no other."""
        future = self._loop.create_future()
        self._futures.append(future)
        try:
            await future
        finally:
            self._futures.remove(future)

    def wake(self) -> None:
        for future in self._futures:
            if not future.done():
                future.set_result(None)
