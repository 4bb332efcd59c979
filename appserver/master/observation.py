"""Observation of the workers: how they are while they live, and what they were doing when they died."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterable
from dataclasses import replace
from typing import Protocol

from appserver.master.oom import OutOfMemoryKills
from appserver.master.workers import WorkerHandle
from appserver.supervision.events import Request, Sample, WorkerExited
from appserver.telemetry.scoreboard import Scoreboard
from appserver.telemetry.serving import Serving


class Losing(Protocol):
    """An output that counts the lines it has lost."""

    @property
    def dropped(self) -> int: ...


class Observer:
    """Looks at the scoreboard and at the kernel. Call `look` about once a second, and `examine` when a worker has exited."""

    def __init__(self, scoreboard: Scoreboard, output: Losing, oom_kills: OutOfMemoryKills | None = None) -> None:
        """`output` is the master's own log, the losses of which it counts."""
        self._scoreboard = scoreboard
        self._output = output
        self._oom_kills = oom_kills or OutOfMemoryKills()

    def look(self, workers: Iterable[WorkerHandle]) -> tuple[Sample, ...]:
        """How those workers are that have a process."""
        now = time.monotonic()
        self._oom_kills.look(now)
        self._scoreboard.set_log_lines_dropped(self._output.dropped)
        return tuple(
            worker.sample(self._scoreboard.slot(worker.number - 1), now)
            for worker in workers
            if worker.child is not None
        )

    def serving(self, worker: WorkerHandle) -> tuple[Request, ...]:
        """The requests that the worker is serving, as they were last seen."""
        return _requests(self._scoreboard.slot(worker.number - 1).serving)

    def running(self, workers: Iterable[WorkerHandle]) -> list[str]:
        """The requests that these workers are at work on, each as "GET /path", the oldest first.

        The youngest are not known by name yet (see `WorkerSlot.serving`), only how many they are.
        """
        slots = [self._scoreboard.slot(worker.number - 1) for worker in workers if worker.child is not None]
        known = sorted((one for slot in slots for one in slot.serving), key=lambda one: one.since)
        others = sum(slot.in_progress for slot in slots) - sum(one.number > 0 for one in known)
        more = ["1 request"] if others == 1 else [f"{others} requests"] if others > 1 else []
        return [f"{one.method} {one.path}" for one in known] + more

    def examine(self, event: WorkerExited, worker: WorkerHandle) -> WorkerExited:
        """Add what can still be known of the worker, and move its numbers to the totals: its slot is free afterwards."""
        oom = event.status.signal == signal.SIGKILL and not worker.killed and self._oom_kills.claim(time.monotonic())
        slot = self._scoreboard.slot(worker.number - 1)
        certain, uncertain = map(_requests, slot.last_seen())
        examined = replace(
            event,
            oom=oom,
            serving=certain,
            served_shortly_before=uncertain,
            in_progress=slot.in_progress,
            requests=slot.requests,
        )
        self._scoreboard.retire(worker.number - 1, worker.child.cpu_seconds if worker.child else 0.0)
        return examined


def _requests(found: Iterable[Serving]) -> tuple[Request, ...]:
    now = time.monotonic()
    return tuple(Request(method, path, now - since, request_id) for method, path, since, request_id, _ in found)
