"""Processes: what is. Every state of a worker or zygote is set here, and entering a state orders what it calls for.

The rest of the supervisor says what is to become of a process (`spawn`, `retire`, `condemn`) or what has been heard of it
(`hear`); the tables in `states` say what state that leads to; the `_enter` methods below say what to do on arrival, and how
long that may take.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from appserver.supervision.actions import (
    Action,
    DrainReason,
    DrainWorker,
    ExitReason,
    KillWorker,
    KillZygote,
    Level,
    Log,
    SpawnWorker,
    SpawnZygote,
    StopZygote,
)
from appserver.supervision.events import Failure
from appserver.supervision.policy import Policy
from appserver.supervision.records import Generation, State, Worker
from appserver.supervision.recycling import RecycleLimits
from appserver.supervision.states import (
    WORKER_TRANSITIONS,
    ZYGOTE_TRANSITIONS,
    Impossible,
    Stay,
    WorkerCause,
    WorkerState,
    ZygoteCause,
    ZygoteState,
)

# How long, in seconds, a process may take that has said it cannot boot, or that was asked to give up booting, or a zygote
# that has nothing left to do.
EXIT_GRACE = 2.0

# How long a killed process may take to be reaped before it is killed again. A kill is not lost, so this helps only where the
# process was not known at first; for the rest it is what keeps the wait for it visible in the log.
KILL_INTERVAL = 5.0

DRAIN_REASONS: Final[dict[ExitReason, DrainReason]] = {
    "reloaded": "reload",
    "stopped": "stop",
    "scaled_down": "scale_down",
    "recycled": "recycle",
    "stalled": "recycle",
}


class Processes:
    """Keeps the records of workers and generations, and collects the actions that they call for."""

    def __init__(self, state: State, random: Callable[[], float]) -> None:
        self.state = state
        self.random = random
        self.now = 0.0
        self.actions: list[Action] = []

    def do(self, action: Action) -> None:
        self.actions.append(action)

    def log(self, level: Level, event: str, **fields: object) -> None:
        self.do(Log(level, event, fields))

    # ---- orders -------------------------------------------------------------------------------------------------------

    def add_generation(self, number: int, policy: Policy) -> Generation:
        """Have a zygote booted for a new generation."""
        generation = Generation(number, policy, since=self.now)
        self.state.generations[number] = generation
        self.state.last_generation = max(self.state.last_generation, number)
        self.hear_zygote(generation, ZygoteCause.OVERDUE)
        return generation

    def can_spawn(self, generation: Generation) -> bool:
        """Whether a worker can be forked now: by a zygote that is ready, into a slot of the scoreboard that is free."""
        if generation.zygote is not ZygoteState.READY:
            return False
        crowded = len(self.state.workers) >= self.state.capacity
        if crowded and not self.state.crowded:
            self.log(
                "warning",
                "worker waits",
                reason=f"all {self.state.capacity} scoreboard slots are taken, by workers that are still leaving, too",
            )
        self.state.crowded = crowded
        return not crowded

    def spawn(self, generation: Generation) -> Worker:
        """Have a worker forked. Ask `can_spawn` first."""
        self.state.last_worker += 1
        worker = Worker(
            id=self.state.last_worker,
            number=lowest_free(worker.number for worker in self.state.workers.values()),
            generation=generation.number,
            limits=RecycleLimits.draw(generation.policy, self.random),
            spawned_at=self.now,
            since=self.now,
            deadline=self.now + generation.policy.boot_timeout,
        )
        self.state.workers[worker.id] = worker
        self.do(SpawnWorker(worker.id, worker.number, worker.generation))
        self.log("debug", "worker booting", worker=worker.number, generation=worker.generation)
        return worker

    def retire(self, worker: Worker, leaving: ExitReason) -> None:
        """Let the worker go in its own time, which is bounded."""
        worker.leaving = worker.leaving or leaving
        self.hear(worker, WorkerCause.RETIRED, why="wanted no longer, before it was forked")

    def condemn(self, worker: Worker, leaving: ExitReason, why: str) -> None:
        """Have the worker killed now."""
        worker.leaving = worker.leaving or leaving
        self.hear(worker, WorkerCause.CONDEMNED, why=why)

    def depart(self, worker: Worker, cause: WorkerCause, fault: Failure) -> None:
        """A worker leaves; if it was in its slot until now, `fault` is why."""
        was_present = worker.present
        if self.hear(worker, cause, why=fault.message) and was_present:
            worker.fault = fault

    def blame_zygote(self, generation: Generation, fault: Failure) -> None:
        """Take note that the zygote has failed of its own accord; the next one waits for the back-off."""
        generation.fault = fault
        generation.backoff.fail(self.now, self.random)

    # ---- the setters --------------------------------------------------------------------------------------------------

    def hear(self, worker: Worker, cause: WorkerCause, *, why: str = "") -> bool:
        """Bring the worker into the state that `cause` leads to; False if it leads to none. The one place that does."""
        before = worker.state
        after = WORKER_TRANSITIONS[before][cause]
        if isinstance(after, Impossible):
            self._report_impossible(f"worker {worker.number}", before, cause, after)
            return False
        if isinstance(after, Stay):
            return False
        if after is not before:
            worker.state = after
            worker.since = self.now
        self._enter(worker, before, why)
        if cause is WorkerCause.OVERDUE and worker.pid is None:
            self._suspect_zygote(worker)
        return True

    def hear_zygote(self, generation: Generation, cause: ZygoteCause, *, why: str = "") -> bool:
        """The same for a zygote."""
        before = generation.zygote
        after = ZYGOTE_TRANSITIONS[before][cause]
        if isinstance(after, Impossible):
            self._report_impossible(f"zygote of generation {generation.number}", before, cause, after)
            return False
        if isinstance(after, Stay):
            return False
        if after is not before:
            generation.zygote = after
            generation.since = self.now
        self._enter_zygote(generation, why)
        return True

    def _report_impossible(self, who: str, state: str, cause: str, cell: Impossible) -> None:
        self.log("error", "impossible event", who=who, state=str(state), cause=str(cause), reason=cell.why)

    # ---- what entering a state orders ---------------------------------------------------------------------------------

    def _enter(self, worker: Worker, before: WorkerState, why: str) -> None:
        match worker.state:
            case WorkerState.READY:
                self._enter_ready(worker, before)
            case WorkerState.STALLED:
                worker.replace = "stalled"
                worker.deadline = self.now + self._policy(worker).boot_timeout
            case WorkerState.DRAINING:
                self._enter_draining(worker, before)
            case WorkerState.FAILING:
                worker.leaving = "boot_failed"
                worker.deadline = self.now + EXIT_GRACE
            case WorkerState.KILLED:
                self._enter_killed(worker, before, why)
            case WorkerState.GONE:
                worker.deadline = None
            case _:  # BOOTING: the time for booting runs on; FORKING is where it began
                pass

    def _enter_ready(self, worker: Worker, before: WorkerState) -> None:
        if worker.pid is not None:
            worker.deadline = None  # else that for booting runs on
        if before is WorkerState.READY:
            return
        if before is WorkerState.STALLED:
            self.log("warning", "worker recovered", **describe(worker), reason="its event loop runs again")
            return
        worker.ready_at = self.now
        self.state.served = True
        self.log("info", "worker ready", **describe(worker), boot_seconds=round(self.now - worker.spawned_at, 3))

    def _enter_draining(self, worker: Worker, before: WorkerState) -> None:
        reason = DRAIN_REASONS[worker.leaving or "stopped"]
        policy = self._policy(worker)
        worker.since = (
            self.now
        )  # also if it was asked while it booted, has come up nevertheless, and is asked once more
        booting = before is WorkerState.BOOTING
        worker.deadline = self.now + (EXIT_GRACE if booting else policy.drain_bound(reason))
        self.do(DrainWorker(worker.id, reason, policy.linger(reason)))
        self.log("info", "worker draining", **describe(worker), reason=reason)

    def _enter_killed(self, worker: Worker, before: WorkerState, why: str) -> None:
        worker.deadline = self.now + KILL_INTERVAL
        self.do(KillWorker(worker.id, why))
        # A kill is no reason for a warning where somebody has asked for all of them, or where no request can be lost.
        expected = before is WorkerState.FORKING or (self.state.stop is not None and self.state.stop.urgent)
        self.log("info" if expected else "warning", "worker killed", **describe(worker), reason=why)

    def _suspect_zygote(self, worker: Worker) -> None:
        """Have a zygote replaced that has left a fork unanswered: it is stuck, and nobody else knows the worker's pid."""
        generation = self.state.generations[worker.generation]
        if generation.zygote is ZygoteState.READY:
            fault = Failure("timeout", f"the zygote of generation {generation.number} does not answer")
            self.blame_zygote(generation, fault)
            self.hear_zygote(generation, ZygoteCause.CONDEMNED, why=fault.message)

    def _enter_zygote(self, generation: Generation, why: str) -> None:
        match generation.zygote:
            case ZygoteState.BOOTING:
                generation.deadline = self.now + generation.policy.boot_timeout
                generation.boot_reports = 0
                generation.ready_at = None
                self.do(SpawnZygote(generation.number))
                self.log("debug", "zygote booting", generation=generation.number)
            case ZygoteState.READY:
                generation.deadline = None
                generation.ready_at = self.now
            case ZygoteState.FAILING:
                generation.deadline = self.now + EXIT_GRACE
            case ZygoteState.STOPPING:
                generation.deadline = self.now + EXIT_GRACE
                self.do(StopZygote(generation.number))
                self.log("debug", "zygote stopping", generation=generation.number)
            case ZygoteState.KILLED:
                generation.deadline = self.now + KILL_INTERVAL
                self.do(KillZygote(generation.number))
                level: Level = "info" if self.state.has_failed_to_boot else "warning"
                self.log(level, "zygote killed", generation=generation.number, reason=why)
            case ZygoteState.WAITING:
                generation.deadline = max(self.now, generation.backoff.until)
            case _:  # GONE
                generation.deadline = None

    # ---- small answers ------------------------------------------------------------------------------------------------

    def _policy(self, worker: Worker) -> Policy:
        return self.state.generations[worker.generation].policy


def lowest_free(taken: Iterable[int]) -> int:
    """The lowest number from 1 on that is not taken."""
    numbers = set(taken)
    number = 1
    while number in numbers:
        number += 1
    return number


def describe(worker: Worker) -> dict[str, object]:
    """The fields that every log record about a worker has."""
    return {"worker": worker.number, "generation": worker.generation, "worker_pid": worker.pid}
