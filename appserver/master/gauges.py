"""The metrics that the master knows and the scoreboard does not."""

from __future__ import annotations

import platform
import time
from collections import Counter
from collections.abc import Mapping
from functools import cache

from appserver import __version__
from appserver.master.children import open_descriptors, processor_time, resident_memory
from appserver.master.listeners import ListenerSet
from appserver.master.reload_outcomes import ReloadOutcome
from appserver.supervision.records import Worker
from appserver.supervision.states import WorkerState
from appserver.supervision.supervisor import Supervisor
from appserver.telemetry.metrics import Gauges, WorkerGauges
from appserver.telemetry.scoreboard import Scoreboard

STATES = ("booting", "ready", "draining", "stalled", "failing", "killed")
"""The states of workers that are shown: what has no process yet is booting, and what has none any more is not there."""


def shown_state(worker: Worker) -> str:
    """The state of a worker as people see it."""
    return "booting" if worker.state is WorkerState.FORKING else worker.state.value


def collect(
    supervisor: Supervisor,
    scoreboard: Scoreboard,
    listeners: ListenerSet,
    certificate_expiry: Mapping[str, float],
    last_reload: ReloadOutcome | None,
) -> Gauges:
    """Look at everything; takes about a tenth of a millisecond for each worker."""
    workers = supervisor.workers()
    states = Counter(map(shown_state, workers))
    return Gauges(
        version=__version__,
        python=_python_version(),
        generation=supervisor.generation,
        workers_wanted=supervisor.count,
        deadly_requests=len(supervisor.deadly_requests(time.monotonic())),
        last_reload_success=last_reload is None or last_reload.result == "ok",
        workers_by_state={state: states[state] for state in STATES},
        workers=[_of_worker(worker, scoreboard) for worker in workers],
        backlogs=listeners.backlogs(),
        certificate_expiry=certificate_expiry,
    )


def _of_worker(worker: Worker, scoreboard: Scoreboard) -> WorkerGauges:
    slot = scoreboard.slot(worker.number - 1)
    pid = worker.pid
    return WorkerGauges(
        number=worker.number,
        loop_lag=slot.lag(time.monotonic()),
        cpu_seconds=slot.past_cpu_seconds + (processor_time(pid) if pid is not None else 0.0),
        resident_bytes=resident_memory(pid) if pid is not None else None,
        open_fds=open_descriptors(pid) if pid is not None else None,
    )


@cache
def _python_version() -> str:
    return platform.python_version()
