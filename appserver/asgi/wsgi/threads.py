"""The threads in which WSGI applications run."""

from __future__ import annotations

import asyncio
import threading
from queue import SimpleQueue
from typing import Protocol


class Task(Protocol):
    """A call to be made in a thread."""

    def claim(self) -> bool:
        """Whether it is still wanted; True once only."""

    def run(self) -> None:
        """Do it; never raises."""


class Meter(Protocol):
    """Counts what threads do; called in the event loop."""

    def show_threads(self, size: int, busy: int, waiting: int) -> None:
        """So many threads there may be, so many are at work, so many requests wait for one."""

    def thread_waited(self, seconds: float) -> None:
        """A request has got its thread after this time."""


class Threads:
    """Up to `size` threads, each started when it is first needed: `submit` tasks, and `close` at the end.

    For the event loop alone, which is also where everything is counted. A thread that has ended its task takes the next
    one by itself, without a turn of the loop in between. The threads are daemons: one that hangs does not keep the process.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._started = 0
        self._tasks: SimpleQueue[Task | None] = SimpleQueue()
        self._unfinished = 0  # those that run and those that wait
        self._meter: Meter | None = None
        self._idle: asyncio.Future[None] | None = None  # somebody waits until nothing is left to do

    def report_to(self, meter: Meter) -> None:
        self._meter = meter
        self._show()

    def submit(self, task: Task) -> bool:
        """Have a task done; returns whether there is a thread for it now. `finished` has to be called for it later."""
        at_once = self._unfinished < self._size
        if at_once and self._started <= self._unfinished:
            thread = threading.Thread(target=self._work, name=f"appserver-wsgi-{self._started + 1}", daemon=True)
            thread.start()  # raises RuntimeError if the system allows no more, which fails this request only
            self._started += 1
        self._unfinished += 1
        self._tasks.put(task)
        if self._meter is not None:
            self._show()
        return at_once

    def finished(self, waited: float | None) -> None:
        """A task is done, after it has `waited` for so many seconds, or (None) was given up while it waited."""
        self._unfinished -= 1
        if self._meter is not None:
            if waited is not None:
                self._meter.thread_waited(waited)
            self._show()
        if not self._unfinished and self._idle is not None and not self._idle.done():
            self._idle.set_result(None)

    async def close(self) -> None:
        """Wait until nothing is left to do, and end the threads."""
        while self._unfinished:
            self._idle = asyncio.get_running_loop().create_future()
            await self._idle
        for _ in range(self._started):
            self._tasks.put(None)
        self._started = 0

    def _show(self) -> None:
        if self._meter is not None:
            busy = min(self._unfinished, self._size)
            self._meter.show_threads(self._size, busy, self._unfinished - busy)

    def _work(self) -> None:
        """The loop of one thread: take a job, run it."""
        while (task := self._tasks.get()) is not None:
            if task.claim():
                task.run()
            del task  # not to be kept alive while this waits
