"""Reports: what processes say of themselves, and how they end; what that means for the one it is about."""

from __future__ import annotations

from appserver.supervision.actions import CountExit
from appserver.supervision.events import (
    ExitStatus,
    Failure,
    Forked,
    ForkRefused,
    WorkerExited,
    WorkerFailed,
    WorkerMisbehaved,
    WorkerReady,
    WorkerStoppedAccepting,
    ZygoteExited,
    ZygoteFailed,
    ZygoteMisbehaved,
    ZygoteReady,
)
from appserver.supervision.exits import (
    describe_status,
    exit_level,
    exit_reason,
    hint,
    last_serving_fields,
    status_fields,
)
from appserver.supervision.processes import Processes, describe
from appserver.supervision.records import Generation, State, Worker
from appserver.supervision.states import WorkerCause, WorkerState, ZygoteCause, ZygoteState
from appserver.supervision.suspects import Suspects

# Possible reasons for a message that no process of this program sends.
NOT_TRUSTED = "the application, or somebody who has taken it over, writes to its channel: look for an intrusion"

# The ends for which what was being served may be the cause; the others somebody has asked for.
KILLED_BY_WORK = ("crashed", "out_of_memory", "stalled")


class Reports:
    """Takes in what is heard of workers and zygotes."""

    def __init__(self, state: State, processes: Processes, suspects: Suspects) -> None:
        self._state = state
        self._processes = processes
        self._suspects = suspects

    # ---- events about workers -----------------------------------------------------------------------------------------

    def hear_of_worker(
        self,
        worker: Worker,
        event: Forked
        | ForkRefused
        | WorkerReady
        | WorkerStoppedAccepting
        | WorkerFailed
        | WorkerMisbehaved
        | WorkerExited,
    ) -> None:
        match event:
            case Forked():
                worker.pid = event.pid
                self._processes.hear(worker, WorkerCause.FORKED, why="killed before its pid was known")
            case ForkRefused():
                if worker.ready_at is not None or worker.state is WorkerState.FAILING:
                    generation = self._state.generations[worker.generation]
                    self._end_misbehaving_zygote(generation, f"it refuses worker {worker.number}, which has spoken")
                self._processes.depart(
                    worker, WorkerCause.FORK_REFUSED, Failure("spawn", f"cannot fork a worker: {event.reason}")
                )
            case WorkerReady():
                worker.boot_cpu = event.cpu_seconds
                self._processes.hear(worker, WorkerCause.READY)
            case WorkerStoppedAccepting():
                worker.stopped_accepting = True
            case WorkerFailed():
                self._processes.depart(worker, WorkerCause.FAILED, event.failure)
            case WorkerMisbehaved():
                self._end_misbehaving(worker, event.reason)
            case _:
                self._hear_exit(worker, event)

    def _hear_exit(self, worker: Worker, event: WorkerExited) -> None:
        reason = exit_reason(worker, event.status, oom=event.oom)
        lost = reason in ("crashed", "out_of_memory") or worker.state is WorkerState.KILLED
        self._processes.do(CountExit(reason))
        expected = self._state.has_failed_to_boot and worker.state is WorkerState.KILLED
        self._processes.log(
            "info" if expected else exit_level(worker, reason),
            "worker exited",
            **describe(worker),
            reason=reason,
            **status_fields(event.status),
            **hint(worker, reason, event.status),
            **(last_serving_fields(event) if lost else {}),
            age_seconds=round(self._processes.now - worker.spawned_at, 3),
        )
        if reason in KILLED_BY_WORK:
            self._suspects.accuse(event.serving, event.in_progress)
        worker.has_served = worker.has_served or event.requests > 0 or event.in_progress > 0 or bool(event.serving)
        when = "while serving" if worker.ready_at is not None else "while booting"
        message = f"worker {worker.number} {describe_status(event.status)} {when}"
        self._processes.depart(worker, WorkerCause.EXITED, Failure("crash", message))

    def _end_misbehaving(self, worker: Worker, reason: str) -> None:
        """Have a worker killed that has said what no worker says."""
        self._processes.log("error", "worker misbehaved", **describe(worker), reason=reason, advice=NOT_TRUSTED)
        worker.leaving = worker.leaving or "crashed"
        self._processes.depart(
            worker, WorkerCause.CONDEMNED, Failure("crash", f"worker {worker.number} misbehaved: {reason}")
        )

    # ---- events about zygotes -----------------------------------------------------------------------------------------

    def hear_of_zygote(
        self, generation: Generation, event: ZygoteReady | ZygoteFailed | ZygoteExited | ZygoteMisbehaved
    ) -> None:
        match event:
            case ZygoteReady():
                if self._processes.hear_zygote(generation, ZygoteCause.READY):
                    generation.preloaded = event.preloaded
                    self._processes.log(
                        "info", "zygote ready", generation=generation.number, preloaded=generation.preloaded
                    )
            case ZygoteFailed(failure=failure):
                refused = failure.kind == "spawn"
                if generation.zygote is ZygoteState.BOOTING:
                    self._processes.blame_zygote(generation, failure)
                self._processes.hear_zygote(generation, ZygoteCause.SPAWN_FAILED if refused else ZygoteCause.FAILED)
            case ZygoteMisbehaved():
                self._end_misbehaving_zygote(generation, event.reason)
            case _:
                self._hear_zygote_exit(generation, event.status)

    def _end_misbehaving_zygote(self, generation: Generation, reason: str) -> None:
        """Have a zygote killed that has said what no zygote says; its workers serve on."""
        self._processes.log(
            "error", "zygote misbehaved", generation=generation.number, reason=reason, advice=NOT_TRUSTED
        )
        fault = Failure("crash", f"the zygote of generation {generation.number} misbehaved: {reason}")
        if generation.zygote in (ZygoteState.BOOTING, ZygoteState.READY):
            self._processes.blame_zygote(generation, fault)
        self._processes.hear_zygote(generation, ZygoteCause.CONDEMNED, why=fault.message)

    def _hear_zygote_exit(self, generation: Generation, status: ExitStatus) -> None:
        asked = generation.zygote not in (ZygoteState.BOOTING, ZygoteState.READY)
        message = f"the zygote of generation {generation.number} {describe_status(status)}"
        if not asked:
            self._processes.blame_zygote(generation, Failure("crash", message))
        self._processes.log(
            "debug" if asked else "error", "zygote exited", generation=generation.number, **status_fields(status)
        )
        for worker in list(self._state.workers.values()):
            if worker.generation == generation.number and worker.pid is None:
                self._processes.depart(
                    worker, WorkerCause.ORPHANED, Failure("spawn", f"{message} before it had forked a worker")
                )
        self._processes.hear_zygote(generation, ZygoteCause.EXITED)
