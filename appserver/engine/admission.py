"""Bounding how many requests of a worker run at once."""

from __future__ import annotations

import asyncio
from collections import deque

from appserver.asgi.types import ASGIApplication, Receive, Scope, Send
from appserver.engine.exchange import GONE, Exchange
from appserver.errors import RequestError


class Overload(RequestError):
    """There is no room for this request: an answer at once is worth more to a client than one that comes late."""

    def __init__(self, detail: str) -> None:
        super().__init__(503, "overload", detail)


class Admission:
    """Lets at most `limit` applications run; others wait in the order of their arrival.

    At most `queue_size` wait, each for at most `queue_timeout` seconds (None: without limit). Requests that find no
    place, or wait for too long, are turned away.
    """

    def __init__(self, limit: int, queue_size: int, queue_timeout: float | None) -> None:
        self._free = limit
        self._limit = limit
        self._queue_size = queue_size
        self._queue_timeout = queue_timeout
        self._queue: deque[tuple[Exchange, asyncio.Future[bool]]] = deque()

    async def run(
        self, exchange: Exchange, application: ASGIApplication, scope: Scope, receive: Receive, send: Send
    ) -> None:
        """Call the application as soon as there is room for it; raises Overload."""
        if self._free:
            self._free -= 1
        else:
            await self._wait(exchange)
        try:
            await application(scope, receive, send)
        finally:
            self._leave()

    async def _wait(self, exchange: Exchange) -> None:
        """Wait for a place that another exchange leaves. Raises Overload if there is none in time."""
        full = f"{self._limit} requests are running (workers.max_concurrency)"
        if len(self._queue) >= self._queue_size:
            self._forget_who_is_gone()
        if len(self._queue) >= self._queue_size:
            if self._queue_size:
                full += f", and {self._queue_size} are waiting (workers.queue_size)"
            raise Overload(full)
        turn: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._queue.append((exchange, turn))
        try:
            async with asyncio.timeout(self._queue_timeout):
                await turn
        except TimeoutError:
            pass
        except asyncio.CancelledError:
            if not turn.cancelled() and turn.result():
                self._leave()  # cancelled in the very moment in which its turn came
            raise
        if turn.cancelled():
            raise Overload(f"{full}; waited for {self._queue_timeout:g} s (workers.queue_timeout)")
        if not turn.result():
            raise Overload(f"{full}; the client has not waited")

    def _leave(self) -> None:
        """Pass the place on to the first who still wants it."""
        while self._queue:
            exchange, turn = self._queue.popleft()
            if not turn.done():
                wanted = not _has_given_up(exchange)
                turn.set_result(wanted)
                if wanted:
                    return
        self._free += 1

    def _forget_who_is_gone(self) -> None:
        """Let those out of the queue whose clients have given up; also those who are on their way out."""
        for exchange, turn in self._queue:
            if _has_given_up(exchange) and not turn.done():
                turn.set_result(False)
        self._queue = deque(place for place in self._queue if not place[1].done())


def _has_given_up(exchange: Exchange) -> bool:
    """Whether nobody waits any more, as far as can be seen: most who have closed their side have closed both."""
    return exchange.phase == GONE or exchange.half_closed
