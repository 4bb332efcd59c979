"""A hand on the supervisor: a clock that the test moves, and short words for what happens."""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

from appserver.supervision.actions import (
    Action,
    DrainWorker,
    Exit,
    FinishReload,
    KillWorker,
    Log,
    SpawnWorker,
    SpawnZygote,
)
from appserver.supervision.events import (
    Event,
    ExitStatus,
    Failure,
    Forked,
    Observed,
    ReloadRequested,
    Sample,
    StopRequested,
    Tick,
    WorkerExited,
    WorkerFailed,
    WorkerReady,
    WorkerStoppedAccepting,
    ZygoteExited,
    ZygoteFailed,
    ZygoteReady,
)
from appserver.supervision.policy import Policy
from appserver.supervision.records import Worker
from appserver.supervision.supervisor import Supervisor

A = TypeVar("A", bound=Action)

IMPORT_FAILURE = Failure("import", "no module named 'app'", "Traceback: import", 4)
STARTUP_FAILURE = Failure("startup", "the database is down", "Traceback: start-up", 5)

# A policy with times that are easily told apart in a test; no stall and no recycling unless asked for.
POLICY = Policy(
    count=2,
    boot_timeout=60.0,
    graceful_timeout=30.0,
    lifespan_timeout=10.0,
    stall_report=0.0,
    stall_timeout=0.0,
    reload_linger=5.0,
    shutdown_linger=1.0,
)


def only(kind: type[A], actions: list[Action]) -> list[A]:
    """The actions of one kind."""
    return [action for action in actions if isinstance(action, kind)]


class Driver:
    """Drives a supervisor for which chance does not play a part; `changes` are those to `POLICY`."""

    def __init__(self, **changes: object) -> None:
        self.policy = replace(POLICY, **changes)  # type: ignore[arg-type]
        self.supervisor = Supervisor(self.policy, random=lambda: 0.0)
        self.now = 1000.0
        self.history: list[Action] = []
        self.prompt = True  # workers that are asked to leave stop accepting at once, and say so

    # ---- driving ------------------------------------------------------------------------------------------------------

    def start(self) -> list[Action]:
        return self._keep(self.supervisor.start(self.now))

    def send(self, event: Event) -> list[Action]:
        return self._keep(self.supervisor.handle(event, self.now))

    def wait(self, seconds: float) -> list[Action]:
        """Let time pass, with a `Tick` whenever one is due; returns all that was done meanwhile."""
        actions: list[Action] = []
        end = self.now + seconds
        while True:
            deadline = self.supervisor.next_deadline()
            if deadline is None or deadline > end:
                self.now = end
                return actions
            self.now = deadline
            actions += self.send(Tick())

    def suspend(self, seconds: float) -> list[Action]:
        """Let time pass in which the master does not run."""
        self.now += seconds
        return self.send(Tick())

    def _keep(self, actions: list[Action]) -> list[Action]:
        self.history += actions
        if self.prompt:
            for worker in drained(actions):
                actions = actions + self.send(WorkerStoppedAccepting(worker))
        return actions

    # ---- what happens -------------------------------------------------------------------------------------------------

    def boot(self) -> Driver:
        """Bring the first generation up."""
        self.start()
        self.zygote_ready(1)
        for worker in self.supervisor.workers():
            self.ready(worker.id)
        return self

    def zygote_ready(self, generation: int) -> list[Action]:
        return self.send(ZygoteReady(generation, preloaded=False))

    def zygote_failed(self, generation: int, failure: Failure = IMPORT_FAILURE) -> list[Action]:
        return self.send(ZygoteFailed(generation, failure))

    def zygote_exited(self, generation: int, code: int | None = 0, signal: int | None = None) -> list[Action]:
        return self.send(ZygoteExited(generation, ExitStatus(None if signal else code, signal)))

    def forked(self, worker: int) -> list[Action]:
        return self.send(Forked(worker, 100 + worker))

    def ready(self, worker: int) -> list[Action]:
        return self.forked(worker) + self.send(WorkerReady(worker))

    def bring_up(self) -> None:
        """Have every worker become ready that has been asked for, and those that are asked for thereupon."""
        while forking := [worker for worker, state in self.states().items() if state == "forking"]:
            for worker in forking:
                self.ready(worker)

    def failed(self, worker: int, failure: Failure = STARTUP_FAILURE) -> list[Action]:
        return self.send(WorkerFailed(worker, failure))

    def exited(
        self, worker: int, code: int | None = 0, *, signal: int | None = None, oom: bool = False
    ) -> list[Action]:
        return self.send(WorkerExited(worker, ExitStatus(None if signal else code, signal), oom))

    def reload(self, **changes: object) -> list[Action]:
        return self.send(ReloadRequested(replace(self.policy, **changes)))  # type: ignore[arg-type]

    def stop(self, *, now: bool = False) -> list[Action]:
        return self.send(StopRequested(now))

    def observe(self, *, requests: int = 0, rss: int = 0, age: float = 1.0, **ages: float | None) -> list[Action]:
        """Look at all workers: well, but for those named in `ages` (`w3=7.0`: no heartbeat for 7 s)."""
        samples = [
            Sample(worker.id, ages.get(f"w{worker.id}", 0.0), requests, rss, age)
            for worker in self.supervisor.workers()
        ]
        return self.send(Observed(tuple(samples)))

    # ---- what there is ------------------------------------------------------------------------------------------------

    def worker(self, identity: int) -> Worker:
        return next(worker for worker in self.supervisor.workers() if worker.id == identity)

    def ids(self) -> list[int]:
        return sorted(worker.id for worker in self.supervisor.workers())

    def state(self) -> str:
        return self.supervisor.state

    def states(self) -> dict[int, str]:
        return {
            worker.id: str(worker.state) for worker in sorted(self.supervisor.workers(), key=lambda worker: worker.id)
        }

    def logs(self, event: str) -> list[Log]:
        return [action for action in self.history if isinstance(action, Log) and action.event == event]


def spawned(actions: list[Action]) -> list[int]:
    return [action.worker for action in only(SpawnWorker, actions)]


def zygotes_spawned(actions: list[Action]) -> list[int]:
    return [action.generation for action in only(SpawnZygote, actions)]


def drained(actions: list[Action]) -> list[int]:
    return [action.worker for action in only(DrainWorker, actions)]


def killed(actions: list[Action]) -> list[int]:
    return [action.worker for action in only(KillWorker, actions)]


def verdicts(actions: list[Action]) -> list[tuple[str, int | None]]:
    return [(action.result, action.generation) for action in only(FinishReload, actions)]


def exit_codes(actions: list[Action]) -> list[int]:
    return [action.code for action in only(Exit, actions)]
