"""Where asyncio tasks and threads stand, as text.

`Task.get_stack` shows no more of a waiting task than its outermost coroutine; which `await` it is that does not return
lies further in, along the chain of what each coroutine waits for.
"""

from __future__ import annotations

import asyncio
import sys
import threading
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
    frames += [(frame, frame.f_lineno) for frame in _thread_frames(frames[-1][0] if frames else None)]
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
        behind = _first(waits, "cr_await", "gi_yieldfrom", "ag_await")
        if not hasattr(behind, "cr_frame"):
            # A frame that waits for a future names by `self.coroutine` the coroutine outside of asyncio (of trio) that makes it.
            behind = getattr(frame.f_locals.get("self"), "coroutine", None) or behind
        waits = behind


def _thread_frames(innermost: FrameType | None) -> list[FrameType]:
    """The frames of the thread that a coroutine waits for, and names by `self.thread`: that of a WSGI application."""
    thread = getattr(innermost.f_locals.get("self"), "thread", None) if innermost is not None else None
    frame = sys._current_frames().get(thread) if isinstance(thread, int) else None
    frames: list[FrameType] = []
    while frame is not None and len(frames) < _MAX_DEPTH:
        frames.append(frame)
        frame = frame.f_back
    return frames[::-1]


def _first(value: object, *names: str) -> object:
    """The attribute that coroutines, generators or asynchronous generators have under one of these names."""
    return next((found for name in names if (found := getattr(value, name, None)) is not None), None)


def threads_waited_for() -> list[str]:
    """The threads that the interpreter waits for at its end, each with the line at which it is."""
    frames = sys._current_frames()
    found = []
    for thread in threading.enumerate():
        if thread.daemon or thread is threading.main_thread():
            continue
        frame = frames.get(thread.ident or 0)
        place = "" if frame is None else f" in {frame.f_code.co_qualname}, {frame.f_code.co_filename}:{frame.f_lineno}"
        found.append(thread.name + place)
    return found
