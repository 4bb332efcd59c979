"""Where asyncio tasks stand, as text.

`Task.get_stack` shows no more of a waiting task than its outermost coroutine; which `await` it is that does not return
lies further in, along the chain of what each coroutine waits for.
"""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Iterator
from types import FrameType
from typing import Any

_MAX_DEPTH = 64


def describe_tasks(loop: asyncio.AbstractEventLoop) -> str:
    """Every task of a loop that is not done: its name, what it runs, and where it waits."""
    tasks = sorted(asyncio.all_tasks(loop), key=lambda task: task.get_name())
    return "\n".join(f"{_title(task)}\n{describe_stack(task)}" for task in tasks)


def describe_stack(task: asyncio.Task[Any]) -> str:
    """Where a task waits, or runs: outermost call first."""
    frames = [(frame, frame.f_lineno) for frame in _frames(task)]
    return "".join(traceback.StackSummary.extract(frames, lookup_lines=True).format())


def _title(task: asyncio.Task[Any]) -> str:
    coroutine = task.get_coro()
    return f"{task.get_name()}: {getattr(coroutine, '__qualname__', repr(coroutine))}"


def _frames(task: asyncio.Task[Any]) -> Iterator[FrameType]:
    waits: Any = task.get_coro()
    for _ in range(_MAX_DEPTH):
        frame = _first(waits, "cr_frame", "gi_frame", "ag_frame")
        if not isinstance(frame, FrameType):
            return
        yield frame
        waits = _first(waits, "cr_await", "gi_yieldfrom", "ag_await")


def _first(value: object, *names: str) -> object:
    """The attribute that coroutines, generators or asynchronous generators have under one of these names."""
    return next((found for name in names if (found := getattr(value, name, None)) is not None), None)
