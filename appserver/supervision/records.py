"""Records: the whole truth of the supervisor, as plain data.

Both what is wanted (`count`, `generation`, `slots`, `reload`, `pending`, `stop`) and what is (`workers`, `generations`) are kept
apart; everything that the supervisor does is to bring the second closer to the first. Nothing here decides anything. The
records can be written out and read back (`snapshot`), which is how the truth survives a re-exec of the master.

All times are of the clock that the master passes as `now`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum

from appserver.supervision.actions import ExitReason
from appserver.supervision.backoff import Backoff, BootBudget
from appserver.supervision.events import Failure, WorkerId
from appserver.supervision.policy import Policy, last_look
from appserver.supervision.recycling import RecycleLimits
from appserver.supervision.states import PRESENT, WorkerState, ZygoteState


@dataclass(slots=True)
class Worker:
    """The supervisor's record of one worker process."""

    id: WorkerId
    number: int
    generation: int
    limits: RecycleLimits
    spawned_at: float
    state: WorkerState = WorkerState.FORKING
    since: float = 0.0
    """When it came into this state."""
    deadline: float | None = None
    """When it is to have left this state."""
    pid: int | None = None
    ready_at: float | None = None
    boot_cpu: float = 0.0
    """The processor time that its boot has taken, in seconds."""
    has_served: bool = False
    """It has answered a request, or was at one when it died."""
    fault: Failure | None = None
    """Why it left its slot of its own accord."""
    leaving: ExitReason | None = None
    """The metric label of its exit, once it has been decided that it is to go."""
    replace: ExitReason | None = None
    """Why another one is to take its place before it goes: recycled, or stalled."""
    stopped_accepting: bool = False
    """It has said that it takes no more connections."""
    stacks_dumped: bool = False
    """Its stacks have been asked for since its event loop was last seen to run."""
    boot_reports: int = 0
    """How many of the reports on a boot that takes long have been made."""

    @property
    def present(self) -> bool:
        """It holds its place in a slot: it serves, or is on the way to it."""
        return self.state in PRESENT


@dataclass(slots=True)
class Generation:
    """One generation of workers, and the zygote that they are forked from."""

    number: int
    policy: Policy
    zygote: ZygoteState = ZygoteState.WAITING
    since: float = 0.0
    deadline: float | None = None
    ready_at: float | None = None
    preloaded: bool = False
    fault: Failure | None = None
    """Why the last zygote ended of its own accord, until that has been taken note of."""
    boot_reports: int = 0
    """As for workers: of the present zygote."""
    backoff: Backoff = field(default_factory=Backoff)


@dataclass(slots=True)
class Slot:
    """One of the `count` places that are to be served in.

    The successor, if there is one, is to take the place of the occupant when it is ready: for a reload, for recycling,
    for a stall.
    """

    occupant: WorkerId | None = None
    successor: WorkerId | None = None
    backoff: Backoff = field(default_factory=Backoff)
    filled_after: float = 0.0
    """Until then it stays vacant if another worker serves: replacements have cost too much (`BootBudget`)."""

    def holds(self, worker: WorkerId | None) -> bool:
        return worker is not None and worker in (self.occupant, self.successor)

    def release(self, worker: WorkerId) -> None:
        if self.occupant == worker:
            self.occupant = None
        elif self.successor == worker:
            self.successor = None


class ReloadPhase(StrEnum):
    """How far a reload has come. Until ROLLING it can be undone without a trace."""

    IMPORTING = "importing"
    """The zygote of the new generation boots."""
    CANARY = "canary"
    """Its first worker boots."""
    SOAKING = "soaking"
    """Its first worker serves, and has to stay healthy for a while."""
    ROLLING = "rolling"
    """The new generation is the current one; its workers take the places of the old ones."""
    HANDING_OVER = "handing over"
    """They have all taken them; old ones may not have heard yet that they are to accept no more."""


@dataclass(slots=True)
class Reload:
    """A reload under way."""

    generation: int
    started_at: float
    rescaled: bool = False
    """The number of workers has been asked for since: the count of the new policy is not the last word."""
    phase: ReloadPhase = ReloadPhase.IMPORTING
    canary: WorkerId | None = None
    deadline: float | None = None
    """When the soak, or the handing over, is over."""

    @property
    def committed(self) -> bool:
        return self.phase in (ReloadPhase.ROLLING, ReloadPhase.HANDING_OVER)


@dataclass(slots=True)
class PendingReload:
    """A reload that was asked for while another one was under way."""

    policy: Policy
    rescaled: bool = False


@dataclass(slots=True)
class Stop:
    """The end, asked for or forced."""

    code: int
    drain_at: float
    """Until then what serves is left to serve (`shutdown.delay`)."""
    urgent: bool = False


@dataclass(slots=True)
class Suspect:
    """A kind of request, by method and path, that was being served when a worker died."""

    method: str
    path: str
    deaths: int = 0
    """How many workers have died while they served it."""
    alone: int = 0
    """How many of these served nothing else: then it was this one."""
    last_at: float = 0.0


@dataclass(slots=True)
class State:
    """All of it."""

    generation: int
    """The current one: vacant slots are filled from it."""
    count: int
    capacity: int
    boot_budget: BootBudget = field(default_factory=BootBudget)
    suspects: list[Suspect] = field(default_factory=list)
    """The requests that were being served when a worker died, the last ones last."""
    slots: list[Slot] = field(default_factory=list)
    workers: dict[WorkerId, Worker] = field(default_factory=dict)
    generations: dict[int, Generation] = field(default_factory=dict)
    reload: Reload | None = None
    pending: PendingReload | None = None
    stop: Stop | None = None
    stopped: bool = False
    served: bool = False
    """A worker has been ready, ever: from then on failures are tried again."""
    booted: bool = False
    """All wanted workers have been ready at once."""
    crowded: bool = False
    """A worker could not be spawned for want of a scoreboard slot; said once."""
    last_worker: WorkerId = 0
    last_generation: int = 1
    handled_at: float = 0.0
    promised_at: float | None = None
    """When the master was to come back at the latest."""
    watching_since: float = 0.0
    """Since when the master has been looking at the workers without a break."""

    @property
    def has_failed_to_boot(self) -> bool:
        """Whether the program ends because nothing ever served; what is killed for that is no news any more."""
        return self.stop is not None and self.stop.code != 0

    @property
    def current(self) -> Generation:
        return self.generations[self.generation]

    @property
    def canary(self) -> WorkerId | None:
        """The first worker of a generation that is not the current one yet."""
        return self.reload.canary if self.reload and not self.reload.committed else None

    def bound_count(self, count: int) -> int:
        """The number of workers nearest to `count` that there can be, with room left for successors."""
        return min(max(1, count), max(1, self.capacity - self.surge))

    @property
    def surge(self) -> int:
        """How many successors there may be at once."""
        return self.current.policy.surge

    def worker(self, worker: WorkerId | None) -> Worker | None:
        return self.workers.get(worker) if worker is not None else None

    def occupants(self) -> Iterator[tuple[Slot, Worker]]:
        """The slots that are not vacant, and who holds them."""
        for slot in self.slots:
            if slot.occupant is not None:
                yield slot, self.workers[slot.occupant]

    def wanted(self, generation: int) -> bool:
        """Whether workers of that generation may have to be forked."""
        if self.stop:
            return False
        return generation == self.generation or (self.reload is not None and generation == self.reload.generation)

    def outdated(self, worker: Worker) -> bool:
        """Whether the worker is of a generation that has been replaced."""
        return worker.generation != self.generation and worker.id != self.canary

    def complete(self) -> bool:
        """Whether every wanted worker serves and is of the current generation."""
        return len(self.slots) == self.count and sum(
            worker.state is WorkerState.READY and not self.outdated(worker) for _, worker in self.occupants()
        ) == len(self.slots)

    def last_asked_to_leave(self) -> float | None:
        """When the last of those workers was whose generation has been replaced, and that have not said that they accept no more."""
        return max(
            (
                worker.since
                for worker in self.workers.values()
                if worker.state is WorkerState.DRAINING and not worker.stopped_accepting and self.outdated(worker)
            ),
            default=None,
        )

    def postpone(self, seconds: float) -> None:
        """Move everything that has a deadline, as if the time just passed had not been."""
        processes: list[Worker | Generation] = [*self.workers.values(), *self.generations.values()]
        for process in processes:
            process.since += seconds
            if process.deadline is not None:
                process.deadline += seconds
        if self.reload and self.reload.deadline is not None:
            self.reload.deadline += seconds
        if self.stop:
            self.stop.drain_at += seconds

    def deadlines(self) -> Iterator[float]:
        """All the moments at which something is to be decided."""
        for record in (*self.workers.values(), *self.generations.values(), self.reload):
            if record and record.deadline is not None:
                yield record.deadline
                if isinstance(record, Worker) and record.ready_at is None:
                    yield record.deadline - last_look(self.generations[record.generation].policy)
                elif isinstance(record, Generation) and record.zygote is ZygoteState.BOOTING:
                    yield record.deadline - last_look(record.policy)
        for slot in self.slots:
            yield slot.backoff.until
            yield slot.filled_after
        if self.stop:
            yield self.stop.drain_at
