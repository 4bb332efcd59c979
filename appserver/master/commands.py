"""What the master does when it is asked through its admin addresses, and what it says about itself."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any

from appserver import __version__
from appserver.errors import ControlError
from appserver.master.admin.operations import NoSuchWorkerError
from appserver.master.certificates import expiries
from appserver.master.children import processor_time, resident_memory
from appserver.master.figures import collect, shown_state
from appserver.master.listeners import ListenerSet
from appserver.master.verdicts import Verdict
from appserver.master.workers import WorkerHandle
from appserver.supervision.events import ScaleRequested
from appserver.supervision.records import Worker
from appserver.supervision.states import WorkerState
from appserver.supervision.supervisor import Supervisor
from appserver.telemetry.metrics import Exposition, render
from appserver.telemetry.record import timestamp
from appserver.telemetry.scoreboard import Scoreboard

if TYPE_CHECKING:
    from appserver.master.master import Master

STOPPING = ("stopping", "stopped")


class Commands:
    """The `Operations` of a master."""

    def __init__(self, master: Master, supervisor: Supervisor, scoreboard: Scoreboard, listeners: ListenerSet) -> None:
        self._master = master
        self._supervisor = supervisor
        self._scoreboard = scoreboard
        self._listeners = listeners

    # ---- looking ------------------------------------------------------------------------------------------------------

    def unreadiness(self) -> str | None:
        """Why the server is not ready to serve; None if it is."""
        state, wanted = self._supervisor.state, self._supervisor.count
        if state in STOPPING:
            return "stopping"
        serving = sum(worker.state is WorkerState.READY for worker in self._supervisor.workers())
        if serving >= wanted and state != "booting":
            return None
        return f"{'booting' if state == 'booting' else 'short of workers'}: {serving} of {wanted} serve"

    def status(self) -> dict[str, Any]:
        """The whole state, fit for JSON."""
        last = self._master.verdicts.last
        return {
            "version": __version__,
            "pid": os.getpid(),
            "state": self._supervisor.state,
            "generation": self._supervisor.generation,
            "started_at": _moment(self._master.started_at),
            "listeners": self._listeners.names(),
            "last_reload": last and {"result": last.result, "reason": last.reason, "at": _moment(last.at)},
            "workers": [self._worker(worker) for worker in self._supervisor.workers()],
        }

    def activity(self) -> dict[str, Any]:
        """The whole state with what a view of the last seconds is made from: two of these, and their difference.

        `buckets` are the upper bounds of `durations`, which count requests in each bucket alone, and one beyond.
        """
        totals = self._scoreboard.totals()
        now = time.monotonic()
        status = self.status()
        for shown, worker in zip(status["workers"], self._supervisor.workers(), strict=True):
            slot = self._scoreboard.slot(worker.number - 1)
            shown["durations"] = slot.durations
            shown["cpu_seconds"] = processor_time(worker.pid) if worker.pid is not None else 0.0
            shown["running"] = [
                {"method": method, "path": path, "age_seconds": round(now - since, 3), "request_id": request_id}
                for method, path, since, request_id, _ in slot.serving
            ]
        return {
            **status,
            "unreadiness": self.unreadiness(),
            "clock": now,
            "buckets": list(self._scoreboard.buckets),
            "durations": [count for _, count in totals.duration_buckets],
        }

    async def metrics(self, accept: str) -> Exposition:
        """The page of metrics, in the format that the Accept field asks for."""
        application = await self._master.application_metrics.collect()
        certificates = expiries(self._master.certificates().values())
        figures = collect(self._supervisor, self._scoreboard, self._listeners, certificates, self._master.verdicts.last)
        return render(self._scoreboard.totals(), figures, application, accept=accept)

    def _worker(self, worker: Worker) -> dict[str, Any]:
        slot = self._scoreboard.slot(worker.number - 1)
        beat = slot.heartbeat_at
        return {
            "id": worker.number,
            "pid": worker.pid,
            "generation": worker.generation,
            "state": shown_state(worker),
            "started_at": _moment(slot.started_at) if slot.started_at else None,
            "requests": slot.requests,
            "in_progress": slot.in_progress,
            "connections": slot.connections,
            "websockets": slot.sessions,
            "rss_bytes": resident_memory(worker.pid) if worker.pid is not None else 0,
            "loop_lag_seconds": round(slot.loop_lag, 6),
            "heartbeat_age_seconds": round(time.monotonic() - beat, 3) if beat else None,
        }

    async def stacks(self, number: int | None) -> list[dict[str, Any]]:
        """Where the threads and tasks of all workers, or of one, are. Raises NoSuchWorkerError."""
        handles = sorted(
            (handle for handle in self._master.workers() if handle.pid is not None), key=lambda handle: handle.number
        )
        chosen = [handle for handle in handles if number in (None, handle.number)]
        if number is not None and not chosen:
            numbers = ", ".join(str(handle.number) for handle in handles) or "none"
            raise NoSuchWorkerError(f"there is no worker {number}; there are: {numbers}")
        return list(await asyncio.gather(*map(_stacks, chosen)))

    # ---- acting -------------------------------------------------------------------------------------------------------

    def reload(self) -> Awaitable[Verdict]:
        """Reload; what is returned waits for the verdict."""
        return self._master.reload()

    def scale(self, count: int | None, delta: int) -> dict[str, int]:
        """Have `count` workers, or `delta` more; returns how many are wanted now (`count`) and were `before`."""
        if self._supervisor.state in STOPPING:
            raise ControlError("the server is stopping")
        if count is not None and count > self._supervisor.room:
            raise ControlError(f"this server has room for {self._supervisor.room} workers, until it is started anew")
        before = self._supervisor.count
        self._master.post(ScaleRequested(count, delta))
        return {"count": self._supervisor.count, "before": before}

    def stop(self, *, now: bool) -> None:
        """Stop, gracefully unless `now`. Asked for again, a graceful stop stays one."""
        self._master.stop(now=now)

    def reopen_logs(self) -> None:
        """Open every log file anew."""
        self._master.reopen_logs()

    async def upgrade(self) -> str:
        """Replace the program in place."""
        return await self._master.upgrade()


async def _stacks(handle: WorkerHandle) -> dict[str, Any]:
    threads, tasks = await handle.stacks()
    return {
        "id": handle.number,
        "pid": handle.pid,
        "generation": handle.generation,
        "threads": threads,
        "tasks": tasks,
    }


def _moment(seconds: float) -> str | None:
    """A moment as RFC 3339; None for what cannot be one: a worker may write anything into its slot."""
    try:
        return timestamp(seconds)
    except (ValueError, OverflowError, OSError):
        return None
