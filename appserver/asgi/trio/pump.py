"""When trio has its turn: between the callbacks of the event loop, without a second thread for as long as there is work.

By itself a guest run waits for its next event in a thread, which has to be woken for each request: 100 µs, most of what a
request costs when there is one at a time. So a `Pump` says to trio that it need not wait at all (`deadline_to_sleep_time` of a
clock), by which each tick ends in asking for the next one, and lets that stand until there is a reason for it:

- a task has become runnable (an instrument tells of it),
- trio's epoll instance is readable: a socket of the application, the answer of a thread, a signal,
- the time has come that the clock was asked for.

After `IDLE` seconds without any, trio goes into its thread, as it would have done at once. From there everything is as trio has
it, so whatever there is no reason for here (`wait_all_tasks_blocked`; a deadline that a callback of asyncio changes) comes with
that delay.

Whether a tick has found events which the next one has to process is known to trio alone. If this release of trio does not show
it where it is looked for, all is as if there were no pump.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from typing import Any

import trio

IDLE = 0.05
"""For so many seconds nothing has to happen until trio waits in its thread."""


class Pump(trio.abc.Clock, trio.abc.Instrument):
    """The clock and an instrument of a guest run, and what calls its ticks (`soon`)."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._state: Any = None  # trio's GuestState; None: not known yet, or not of use
        self._is_new = True
        self._descriptor = -1  # a duplicate of that of the epoll instance
        self._tick: Callable[[], object] = lambda: None
        self._parked = False
        self._sleep = 0.0  # how long trio would wait
        self._idle = False  # trio may go into its thread
        self._timer: asyncio.TimerHandle | None = None

    @property
    def works(self) -> bool:
        """Whether it spares the thread."""
        return self._state is not None

    # The clock.

    def start_clock(self) -> None:
        """Nothing to do."""

    def current_time(self) -> float:
        return time.perf_counter()

    def deadline_to_sleep_time(self, deadline: float) -> float:
        self._sleep = deadline - time.perf_counter()
        if self._idle or self._state is None:
            return self._sleep
        return 0.0

    # The instrument.

    def task_scheduled(self, task: trio.lowlevel.Task) -> None:  # noqa: ARG002  # the form of an instrument
        self._wake()

    # The ticks.

    def soon(self, tick: Callable[[], object]) -> None:
        """Call `tick` when there is a reason: trio's `run_sync_soon_not_threadsafe`."""
        sleep, self._sleep = self._sleep, 0.0
        if self._is_new:
            self._begin(tick)
        elif self._idle:
            self._resume()  # there was something to do after all
        elif sleep > 0.0 and self._state is not None and _has_found_nothing(self._state):
            self._parked = True
            self._timer = self._loop.call_later(min(sleep, IDLE), self._waited, sleep > IDLE)
            return
        self._loop.call_soon(tick)

    def soon_threadsafe(self, function: Callable[[], object]) -> None:
        """Call what trio's thread has found in the thread of the event loop: trio's `run_sync_soon_threadsafe`."""
        self._loop.call_soon_threadsafe(self._return, function)

    def close(self) -> None:
        """Let go of everything; trio has ended."""
        if self._timer is not None:
            self._timer.cancel()
        self._parked = False
        self._state = None
        if self._descriptor >= 0:
            self._loop.remove_reader(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = -1

    def _begin(self, tick: Any) -> None:
        self._is_new = False
        self._tick = tick
        try:
            state = tick.__self__
            descriptor = state.runner.io_manager._epoll.fileno()
            _has_found_nothing(state)
        except AttributeError:
            return
        self._state = state
        self._descriptor = os.dup(descriptor)
        self._loop.add_reader(self._descriptor, self._wake)

    def _wake(self) -> None:
        if self._parked:
            self._parked = False
            if self._timer is not None:
                self._timer.cancel()
            self._loop.call_soon(self._tick)

    def _waited(self, idle: bool) -> None:
        """The time is over for which there was no reason; `idle`: not because it was what the clock was asked for."""
        self._parked = False
        if idle:
            self._idle = True
            self._loop.remove_reader(self._descriptor)
        self._tick()

    def _return(self, function: Callable[[], object]) -> None:
        if self._idle:
            self._resume()
        function()

    def _resume(self) -> None:
        self._idle = False
        if self._descriptor >= 0:
            self._loop.add_reader(self._descriptor, self._wake)


def _has_found_nothing(state: Any) -> bool:
    """Whether the last tick has found no events for the next one."""
    return not getattr(state.unrolled_run_next_send, "value", True)
