"""Processes that an application has started and that outlive its workers: they are named, and ended with the server.

Programs (`subprocess`), children made by `os.fork`, and their children. Each zygote leads a process group of its own, which
its workers and all that they start are in. A process that has begun a session of its own (setsid(2)) means to live on, as
daemons do, and is left alone.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

# Time for them to end when they are told to, in seconds, and then for the kernel to end them.
GRACE = 1.0
KILL_GRACE = 1.0

_POLL = 0.02
_MAX_TITLE_LENGTH = 200


@dataclass(frozen=True, slots=True)
class Leftover:
    """A process that runs; `title` is its command line."""

    pid: int
    title: str

    def __str__(self) -> str:
        return f"{self.title or 'without a title'} (pid {self.pid})"


def end(find: Callable[[], list[Leftover]], grace: float = GRACE) -> tuple[list[Leftover], list[Leftover]]:
    """Tell what `find` finds to end, for as long as it finds something new, and kill what has not ended after `grace` seconds.

    Returns the processes that were found, and those of them that had to be killed.
    """
    told: dict[int, Leftover] = {}
    deadline = time.monotonic() + grace
    while (running := find()) and time.monotonic() < deadline:
        for process in running:
            if process.pid not in told:
                told[process.pid] = process
                _signal(process.pid, signal.SIGTERM)
        time.sleep(_POLL)
    killed: dict[int, Leftover] = {}
    deadline = time.monotonic() + KILL_GRACE
    while running and time.monotonic() < deadline:  # the end of one may show another: its child
        for process in running:
            killed[process.pid] = process
            _signal(process.pid, signal.SIGKILL)
        time.sleep(_POLL)
        running = find()
    return list((told | killed).values()), list(killed.values())


def of_this_process() -> list[Leftover]:
    """The running children of this process that are in its session, but not in its process group.

    With a subreaper these are what its workers have left. What a script has started before it became this program is in
    the process group of the script.
    """
    own, group, session = os.getpid(), os.getpgrp(), os.getsid(0)
    return _named(pid for pid, parent, theirs, of in _all() if parent == own and theirs != group and of == session)


def of_this_group() -> list[Leftover]:
    """The other running processes of this process's group and session."""
    own, group, session = os.getpid(), os.getpgrp(), os.getsid(0)
    return _named(pid for pid, _, theirs, of in _all() if pid != own and theirs == group and of == session)


def _all() -> Iterator[tuple[int, int, int, int]]:
    """All running processes: pid, parent, process group and session of each (proc(5))."""
    for name in os.listdir("/proc"):
        if not name.isdecimal():
            continue
        try:
            # Behind the name in parentheses, which may hold anything: state, ppid, pgrp, session.
            state, *numbers = Path(f"/proc/{name}/stat").read_bytes().rpartition(b")")[2].split(None, 4)[:4]
        except (OSError, ValueError):  # it is gone, or about to be
            continue
        if state not in (b"Z", b"X"):
            parent, group, session = map(int, numbers)
            yield int(name), parent, group, session


def _named(pids: Iterator[int]) -> list[Leftover]:
    return [Leftover(pid, _title(pid)) for pid in pids]


def _title(pid: int) -> str:
    try:
        content = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return ""
    return content.replace(b"\0", b" ").decode("utf-8", "replace").strip()[:_MAX_TITLE_LENGTH]


def _signal(pid: int, number: int) -> None:
    # Gone meanwhile, or of another user, such as a program that is set-user-ID.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)
