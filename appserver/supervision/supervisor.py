"""The supervisor: events in, actions out.

    handle(event)  →  what it means for the process it is about      reports, processes, states
                   →  what follows for what is wanted                 slots, reload, shutdown
                   →  the actions collected on the way

It holds no other state than `State`, touches nothing, and knows the time only from its caller. Whatever happens, the second
half is the same: it looks at what is wanted and at what is, and takes every step that can be taken now. So there is no
order of events that it has to foresee.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal, Self

from appserver.supervision.actions import Action, Level
from appserver.supervision.events import (
    Event,
    Failure,
    Observed,
    ReloadRequested,
    ScaleRequested,
    StopRequested,
    Tick,
    ZygoteExited,
    ZygoteFailed,
    ZygoteMisbehaved,
    ZygoteReady,
)
from appserver.supervision.policy import Policy
from appserver.supervision.processes import Processes, describe
from appserver.supervision.records import Generation, State, Suspect, Worker
from appserver.supervision.reload import Transaction
from appserver.supervision.reports import Reports
from appserver.supervision.shutdown import Shutdown
from appserver.supervision.slots import Slots
from appserver.supervision.snapshot import dump, load
from appserver.supervision.states import WorkerCause, WorkerState, ZygoteCause, ZygoteState
from appserver.supervision.suspects import Suspects
from appserver.supervision.watch import PULSE, Watch

ServerState = Literal["booting", "serving", "reloading", "stopping", "stopped"]


class Supervisor:
    """Decides what the master does.

    Call `start` once, then `handle` for everything that happens, and perform what each returns, in order. Send a `Tick` at
    `next_deadline`, which may move with every call, and `Observed` about once a second. After `Exit` nothing is left to do.
    """

    def __init__(self, policy: Policy, *, random: Callable[[], float]) -> None:
        """Supervise by `policy`; `random` gives numbers in [0, 1)."""
        state = State(generation=1, count=policy.count, capacity=policy.capacity)
        state.generations[1] = Generation(1, policy)
        self._assemble(state, random)

    def _assemble(self, state: State, random: Callable[[], float]) -> None:
        self._state = state
        self._processes = Processes(state, random)
        self._suspects = Suspects(state, self._processes)
        self._reports = Reports(state, self._processes, self._suspects)
        self._slots = Slots(state, self._processes)
        self._reload = Transaction(state, self._processes, self._slots)
        self._shutdown = Shutdown(state, self._processes, self._reload)
        self._watch = Watch(state, self._processes)

    @classmethod
    def restore(cls, snapshot: Mapping[str, object], *, random: Callable[[], float]) -> Self:
        """Go on from what `dump` returned, in another process by the same clock.

        Raises ValueError if the snapshot cannot be understood.
        """
        supervisor = cls.__new__(cls)
        supervisor._assemble(load(snapshot), random)
        return supervisor

    def dump(self) -> dict[str, object]:
        """Everything that the supervisor knows, fit for JSON."""
        return dump(self._state)

    # ---- what the master may ask --------------------------------------------------------------------------------------

    @property
    def state(self) -> ServerState:
        """How the server as a whole is doing."""
        if self._state.stopped:
            return "stopped"
        if self._state.stop:
            return "stopping"
        if self._state.reload:
            return "reloading"
        return "serving" if self._state.booted else "booting"

    @property
    def generation(self) -> int:
        """The current generation; during a reload the old one, until there is no way back."""
        return self._state.generation

    @property
    def count(self) -> int:
        """How many workers are wanted."""
        return self._state.count

    @property
    def capacity(self) -> int:
        """How many workers there can be at once, successors included."""
        return self._state.capacity

    @property
    def room(self) -> int:
        """How many workers can be wanted at most."""
        return self._state.bound_count(self._state.capacity)

    def generations(self) -> list[Generation]:
        """The generations that still have a process, or may get one."""
        return list(self._state.generations.values())

    def workers(self) -> list[Worker]:
        """The workers that have a process, or are about to get one, by their number. To be read only."""
        return sorted(self._state.workers.values(), key=lambda worker: worker.number)

    def deadly_requests(self, now: float) -> list[Suspect]:
        """The kinds of requests that workers keep dying of, the worst first. To be read only."""
        return self._suspects.deadly(now)

    def next_deadline(self) -> float | None:
        """When the next `Tick` is due, by the same clock as `now`; None when there is none."""
        return self._state.promised_at

    # ---- what happens -------------------------------------------------------------------------------------------------

    def start(self, now: float) -> list[Action]:
        """Begin; call it once. A supervisor that was restored has begun already, and nothing comes of it."""
        if self._state.promised_at is not None:
            return []
        self._processes.now = self._state.handled_at = self._state.watching_since = now
        self._settle()
        return self._answer()

    def handle(self, event: Event, now: float) -> list[Action]:
        """Decide on an event."""
        if self._state.stopped:
            return []
        self._processes.now = max(now, self._state.handled_at)
        self._watch.check_the_clock()
        match event:
            case ZygoteReady() | ZygoteFailed() | ZygoteExited() | ZygoteMisbehaved():
                generation = self._state.generations.get(event.generation)
                if generation:
                    self._reports.hear_of_zygote(generation, event)
            case Observed(samples):
                self._watch.observe(samples)
                self._watch.observe_boots()
                self._expire()
            case Tick():
                self._watch.observe_boots()
                self._expire()
            case ReloadRequested(policy):
                self._reload.request(policy)
            case StopRequested():
                self._shutdown.request(now=event.now)
            case ScaleRequested():
                self._scale(event)
            case _:
                worker = self._state.workers.get(event.worker)
                if worker:
                    self._reports.hear_of_worker(worker, event)
        self._settle()
        return self._answer()

    def _answer(self) -> list[Action]:
        """Promise when to come back, and hand out what has been decided."""
        now = self._state.handled_at = self._processes.now
        upcoming = min((moment for moment in self._state.deadlines() if moment > now), default=now + PULSE)
        self._state.promised_at = None if self._state.stopped else min(upcoming, now + PULSE)
        actions = self._processes.actions
        self._processes.actions = []
        return actions

    # ---- time, and scaling --------------------------------------------------------------------------------------------

    def _expire(self) -> None:
        """See to everything whose deadline has passed."""
        now = self._processes.now
        for generation in list(self._state.generations.values()):
            if generation.deadline is not None and generation.deadline <= now:
                self._expire_zygote(generation)
        for worker in list(self._state.workers.values()):
            if worker.deadline is not None and worker.deadline <= now:
                self._expire_worker(worker)

    def _expire_zygote(self, generation: Generation) -> None:
        why = "does not exit"
        if generation.zygote is ZygoteState.BOOTING:
            limit = generation.policy.boot_timeout
            why = (
                f"the zygote of generation {generation.number} was not ready within {limit:g} s (workers.boot_timeout)"
            )
            self._processes.blame_zygote(generation, Failure("timeout", why))
        self._processes.hear_zygote(generation, ZygoteCause.OVERDUE, why=why)

    def _expire_worker(self, worker: Worker) -> None:
        policy = self._state.generations[worker.generation].policy
        match worker.state:
            case WorkerState.FORKING | WorkerState.BOOTING:
                worker.leaving = "boot_failed"
                why = f"worker {worker.number} was not ready within {policy.boot_timeout:g} s (workers.boot_timeout)"
                self._processes.depart(worker, WorkerCause.OVERDUE, Failure("timeout", why))
                return
            case WorkerState.READY:
                worker.leaving = "boot_failed"
                why = f"its zygote has not said within {policy.boot_timeout:g} s which process it is"
                self._processes.depart(
                    worker, WorkerCause.OVERDUE, Failure("timeout", f"worker {worker.number}: {why}")
                )
                return
            case WorkerState.STALLED:
                worker.leaving = "stalled"
                why = "its event loop is blocked, and no other worker has become ready in its place"
            case WorkerState.DRAINING:
                doing = "booting" if worker.ready_at is None else "draining"
                why = f"still {doing} {self._processes.now - worker.since:.1f} s after it was asked to leave"
            case WorkerState.FAILING:
                why = "cannot boot, and does not exit"
            case _:
                why = "killed before, and not reaped yet"
        self._processes.hear(worker, WorkerCause.OVERDUE, why=why)

    def _scale(self, event: ScaleRequested) -> None:
        if self._state.stop:
            self._processes.log("warning", "scaling refused", reason="the server is stopping")
            return
        before = self._state.count
        asked = before + event.delta if event.count is None else event.count
        self._state.count = self._state.bound_count(asked)
        level: Level = "info" if self._state.count == asked else "warning"
        self._processes.log(level, "scaled", count=self._state.count, before=before, asked=asked)
        for reload in (self._state.reload, self._state.pending):
            if reload:
                reload.rescaled = True

    # ---- what follows -------------------------------------------------------------------------------------------------

    def _settle(self) -> None:
        """Bring what is closer to what is wanted, by every step that can be taken now."""
        self._note_faults()
        self._bury()
        stop = self._state.stop
        if stop:
            self._shutdown.settle(stop)
        else:
            self._reload.advance()
            self._slots.settle()
            self._reload.conclude()
            self._reload.advance()
        self._settle_zygotes()
        if stop:
            self._shutdown.finish(stop)
        elif not self._state.booted and self._state.complete():
            self._state.booted = True
            self._processes.log("info", "serving", generation=self._state.generation, workers=self._state.count)

    def _note_faults(self) -> None:
        """Draw the conclusions from what has ended of its own accord."""
        for generation in list(self._state.generations.values()):
            fault, generation.fault = generation.fault, None
            if fault:
                self._note_fault(fault, of_reload=self._is_of_reload(generation.number), generation=generation.number)
        for worker in self._slots.note_departures():
            if worker.fault:
                of_reload = worker.id == self._state.canary
                self._note_fault(worker.fault, of_reload=of_reload, **describe(worker))

    def _is_of_reload(self, generation: int) -> bool:
        reload = self._state.reload
        return reload is not None and not reload.committed and reload.generation == generation

    def _note_fault(self, fault: Failure, *, of_reload: bool, **fields: object) -> None:
        if self._state.stop:
            return
        if not self._state.served:
            self._shutdown.fail_boot(fault)
        elif of_reload:
            self._reload.roll_back(fault)
        elif fault.kind != "crash":  # the record of a crash is that of the exit
            if fault.traceback:
                fields["exception"] = fault.traceback
            what = "worker failed" if "worker" in fields else "zygote failed"
            self._processes.log("error", what, **fields, kind=fault.kind, reason=fault.message)

    def _bury(self) -> None:
        """Drop the records of workers that are gone."""
        for worker in list(self._state.workers.values()):
            if worker.state is WorkerState.GONE:
                del self._state.workers[worker.id]

    def _settle_zygotes(self) -> None:
        """Start the zygotes that are wanted, let go of those that are not, and of generations of which nothing is left."""
        populated = {worker.generation for worker in self._state.workers.values()}
        for generation in list(self._state.generations.values()):
            due = generation.deadline is None or generation.deadline <= self._processes.now
            if self._state.wanted(generation.number):
                if generation.zygote is ZygoteState.WAITING and due:
                    self._processes.hear_zygote(generation, ZygoteCause.OVERDUE)
            elif generation.number not in populated or generation.zygote in (ZygoteState.WAITING, ZygoteState.BOOTING):
                self._processes.hear_zygote(generation, ZygoteCause.RETIRED, why="wanted no longer")
            if generation.zygote is ZygoteState.GONE and generation.number not in populated:
                del self._state.generations[generation.number]
