"""The state of the server, as the admin addresses show it; read only."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from appserver import __version__
from appserver.master.admin.operations import NoSuchWorkerError
from appserver.master.application_metrics import ApplicationMetricsKeeper
from appserver.master.certificates import Certificates, expiries
from appserver.master.children import processor_time, resident_memory
from appserver.master.gauges import collect, shown_state
from appserver.master.listeners import ListenerSet
from appserver.master.reload_outcomes import ReloadOutcomes
from appserver.master.workers import WorkerHandle
from appserver.settings import Settings
from appserver.supervision.records import Worker
from appserver.supervision.states import WorkerState
from appserver.supervision.supervisor import Supervisor
from appserver.telemetry.metrics import Exposition, render
from appserver.telemetry.record import timestamp
from appserver.telemetry.scoreboard import Scoreboard

# Of the requests that workers die of, so many are shown: the worst.
MAX_DEADLY_REQUESTS = 10

STOPPING = ("stopping", "stopped")


@dataclass(frozen=True, slots=True)
class View:
    """The `Watching` of a master: no look decides or posts anything."""

    supervisor: Supervisor
    scoreboard: Scoreboard
    listeners: ListenerSet
    reload_outcomes: ReloadOutcomes
    application_metrics: ApplicationMetricsKeeper
    certificates: Callable[[], Mapping[int, Certificates | None]]
    """The certificates in use by each generation."""
    workers: Callable[[], Iterable[WorkerHandle]]
    """The workers that have a process, or are about to get one."""
    started_at: float
    """In seconds since the epoch."""
    settings: Callable[[], Settings]
    """Those that the server serves with."""

    def has_page(self) -> bool:
        """Whether the status page is wanted (admin.page)."""
        return self.settings().admin.page

    def unreadiness(self) -> str | None:
        """Why the server is not ready to serve; None if it is."""
        state, wanted = self.supervisor.state, self.supervisor.count
        if state in STOPPING:
            return "stopping"
        serving = sum(worker.state is WorkerState.READY for worker in self.supervisor.workers())
        if serving >= wanted and state != "booting":
            return None
        return f"{'booting' if state == 'booting' else 'short of workers'}: {serving} of {wanted} serve"

    def status(self) -> dict[str, Any]:
        """The whole state, fit for JSON."""
        last = self.reload_outcomes.last
        return {
            "version": __version__,
            "pid": os.getpid(),
            "state": self.supervisor.state,
            "generation": self.supervisor.generation,
            "started_at": _moment(self.started_at),
            "listeners": self.listeners.names(),
            "last_reload": last and {"result": last.result, "reason": last.reason, "at": _moment(last.at)},
            "workers": [self._worker(worker) for worker in self.supervisor.workers()],
            "deadly_requests": self._deadly_requests(),
        }

    def _deadly_requests(self) -> list[dict[str, Any]]:
        """The requests that workers keep dying of, by method and path, the worst first."""
        now = time.monotonic()
        return [
            {
                "method": suspect.method,
                "path": suspect.path,
                "deaths": suspect.deaths,
                "alone": suspect.alone,
                "last_at": _moment(time.time() - (now - suspect.last_at)),
            }
            for suspect in self.supervisor.deadly_requests(now)[:MAX_DEADLY_REQUESTS]
        ]

    def activity(self) -> dict[str, Any]:
        """The whole state with what a view of the last seconds is made from: two of these, and their difference.

        `buckets` are the upper bounds of `durations`, which count requests in each bucket alone, and one beyond.
        """
        totals = self.scoreboard.totals()
        now = time.monotonic()
        status = self.status()
        for shown, worker in zip(status["workers"], self.supervisor.workers(), strict=True):
            slot = self.scoreboard.slot(worker.number - 1)
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
            "buckets": list(self.scoreboard.buckets),
            "durations": [count for _, count in totals.duration_buckets],
        }

    async def metrics(self, accept: str) -> Exposition:
        """The page of metrics, in the format that the Accept field asks for."""
        application = await self.application_metrics.collect()
        certificates = expiries(self.certificates().values())
        gauges = collect(self.supervisor, self.scoreboard, self.listeners, certificates, self.reload_outcomes.last)
        return render(self.scoreboard.totals(), gauges, application, accept=accept)

    def _worker(self, worker: Worker) -> dict[str, Any]:
        slot = self.scoreboard.slot(worker.number - 1)
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
            "http2_connections": slot.http2.connections,
            "http2_streams": slot.http2.streams,
            "rss_bytes": resident_memory(worker.pid) if worker.pid is not None else 0,
            "loop_lag_seconds": round(slot.loop_lag, 6),
            "heartbeat_age_seconds": round(time.monotonic() - beat, 3) if beat else None,
            **({"threads": slot.threads._asdict()} if slot.threads.size else {}),  # of a WSGI application
        }

    async def stacks(self, number: int | None) -> list[dict[str, Any]]:
        """Where the threads and tasks of all workers, or of one, are. Raises NoSuchWorkerError."""
        handles = sorted(
            (handle for handle in self.workers() if handle.pid is not None), key=lambda handle: handle.number
        )
        chosen = [handle for handle in handles if number in (None, handle.number)]
        if number is not None and not chosen:
            numbers = ", ".join(str(handle.number) for handle in handles) or "none"
            raise NoSuchWorkerError(f"there is no worker {number}; there are: {numbers}")
        return list(await asyncio.gather(*map(_stacks, chosen)))


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
