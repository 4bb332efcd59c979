"""A run of trio in the event loop that runs already ("guest mode" in trio's reference)."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Protocol

import trio
from outcome import Error, Outcome

from appserver.asgi.trio.pump import Pump

CRASH_GRACE = 0.5
"""For so many seconds trio may come to its end, and say why, when everything in it has been cancelled."""


class GuestCall(Protocol):
    """A call of the application: `Call`."""

    async def run(self) -> None:
        """The body of its task of trio."""

    def abandon(self, error: BaseException) -> None:
        """Trio has crashed, and the task will not be heard of any more."""


class Guest:
    """One run of trio: `start`, then `start_soon` as often as one likes, then `end`, all in the same event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.pump = Pump(loop)
        self._ended: asyncio.Future[None] = loop.create_future()
        self._open: asyncio.Future[None] = loop.create_future()
        self._on_crash: Callable[[BaseException], None] | None = None
        self._crash: BaseException | None = None
        self._calls: set[GuestCall] = set()
        self._nursery: trio.Nursery

    async def start(self, on_crash: Callable[[BaseException], None]) -> None:
        """Start trio; raises whatever it raises if it cannot be started here. `on_crash` as for `TrioAdapter.start`."""
        trio.lowlevel.start_guest_run(
            self._main,
            run_sync_soon_threadsafe=self.pump.soon_threadsafe,
            run_sync_soon_not_threadsafe=self.pump.soon,
            done_callback=self._done,
            host_uses_signal_set_wakeup_fd=True,
            clock=self.pump,
            instruments=[self.pump],
        )
        await asyncio.wait([self._open, self._ended], return_when=asyncio.FIRST_COMPLETED)
        if self._crash is not None:
            raise self._crash
        self._on_crash = on_crash

    def start_soon(self, call: GuestCall, name: str) -> None:
        """Have trio run a call, in a copy of the present context. Raises RuntimeError when trio has ended."""
        if self._crash is not None or self._ended.done():
            raise RuntimeError("trio has ended" if self._crash is None else "trio has crashed")
        self._calls.add(call)
        self._nursery.start_soon(call.run, name=name)

    def forget(self, call: GuestCall) -> None:
        """A call is over."""
        self._calls.discard(call)

    async def end(self, grace: float) -> bool:
        """Cancel what still runs, and end trio; returns whether it has ended within `grace` seconds."""
        self._on_crash = None
        if not self._ended.done():
            self._nursery.cancel_scope.cancel()
            await asyncio.wait([self._ended], timeout=grace)
        return self._ended.done()

    async def _main(self) -> None:
        async with trio.open_nursery() as self._nursery:
            self._open.set_result(None)
            try:
                await trio.sleep_forever()
            finally:
                # Something of the application has cancelled this nursery, or trio ends, which may tell more of it.
                self.loop.call_later(
                    CRASH_GRACE, self._say_crashed, RuntimeError("everything in trio has been cancelled")
                )

    def _say_crashed(self, error: BaseException) -> None:
        on_crash, self._on_crash = self._on_crash, None
        if on_crash is not None:
            self._crash = error
            on_crash(error)

    def _done(self, outcome: Outcome[None]) -> None:
        self.pump.close()
        if isinstance(outcome, Error):
            self._crash = outcome.error
        self._ended.set_result(None)
        crash = self._crash or RuntimeError("trio has ended by itself")
        for call in list(self._calls):
            call.abandon(crash)
        self._say_crashed(crash)

    def describe_tasks(self, *, calls: bool) -> str:
        """Each task of the application: its name, its parent, and where it waits; those of calls themselves if `calls`."""
        root = None if self._ended.done() else trio.lowlevel.current_root_task()
        lines = []
        for task, parent in () if root is None else _descendants(root):
            function = getattr(task.coro, "__qualname__", "")
            if function == "Call.run":
                if not calls:
                    continue
            elif function == "Guest._main" or task.name.startswith(
                "<"
            ):  # those of trio, and that which holds the calls
                continue
            lines.append(f"trio task {task.name}, child of {parent.name}\n{_stack(task)}")
        return "\n".join(lines)


def _descendants(task: trio.lowlevel.Task) -> Iterator[tuple[trio.lowlevel.Task, trio.lowlevel.Task]]:
    pending = [task]
    while pending:
        parent = pending.pop()
        for nursery in parent.child_nurseries:
            for child in nursery.child_tasks:
                yield child, parent
                pending.append(child)


def _stack(task: trio.lowlevel.Task) -> str:
    frames: list[tuple[FrameType, int]] = [(frame, line) for frame, line in task.iter_await_frames()]
    return "".join(traceback.StackSummary.extract(frames, lookup_lines=True).format())
