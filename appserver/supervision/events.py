"""Events: what has happened, as the master reports it to the supervisor.

A worker is named by its serial (`WorkerId`), which is never used twice, so an event about a worker that is gone cannot be
taken for one about its successor. A generation is named by its number; it has at most one zygote process at a time.

What the master has to keep to:

- What a process said before it exited is reported before its exit.
- `Forked` is reported before the exit of that worker. After `ZygoteExited`, no `Forked` or `ForkRefused` of that
  zygote follows.
- An order that cannot be carried out is an event too: `ForkRefused` for a `SpawnWorker`, `ZygoteFailed` of kind "spawn" for a
  `SpawnZygote`. After either there is no process, and no exit is reported for it.
- What a process says is reported only if it is its turn to say it (`WorkerReady` once, a fork once ...). From the first time
  that it is not, `WorkerMisbehaved` or `ZygoteMisbehaved` is the last that is reported of it but its exit.
- `Observed` comes about once a second, `Tick` whenever `Supervisor.next_deadline` is reached.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from appserver.supervision.policy import Policy

WorkerId = int

FailureKind = Literal["import", "startup", "timeout", "spawn", "crash", "bug"]


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a zygote or a worker could not boot.

    `kind` says in what: importing the application, its start-up, running out of time, getting a process from the kernel,
    a death without a word, or a bug in appserver. `exit_code` is what the program ends with if nothing has ever served.
    """

    kind: FailureKind
    message: str
    traceback: str = ""
    exit_code: int = 5


@dataclass(frozen=True, slots=True)
class ExitStatus:
    """How a process ended: by `code`, or by `signal`; the other one is None. Both None: it could not be known."""

    code: int | None = None
    signal: int | None = None


@dataclass(frozen=True, slots=True)
class Request:
    """A request that a worker was serving; `age` in seconds."""

    method: str
    path: str
    age: float
    request_id: str | None = None


@dataclass(frozen=True, slots=True)
class Sample:
    """How a worker was when the master last looked at it.

    `heartbeat_age` in seconds, None while there was no heartbeat yet; `requests` answered so far; `rss_bytes` resident
    memory, 0 if unknown; `age` of the process in seconds.
    """

    worker: WorkerId
    heartbeat_age: float | None
    requests: int
    rss_bytes: int
    age: float


@dataclass(frozen=True, slots=True)
class ZygoteReady:
    """The zygote can fork workers; `preloaded` says whether the application is imported in it already."""

    generation: int
    preloaded: bool


@dataclass(frozen=True, slots=True)
class ZygoteFailed:
    """The zygote cannot boot; its exit follows (unless it never ran: kind "spawn")."""

    generation: int
    failure: Failure


@dataclass(frozen=True, slots=True)
class ZygoteExited:
    """The zygote has been reaped."""

    generation: int
    status: ExitStatus


@dataclass(frozen=True, slots=True)
class ZygoteMisbehaved:
    """The zygote has said what no zygote says: it is in wrong hands, or broken. Nothing that it says is reported any more."""

    generation: int
    reason: str


@dataclass(frozen=True, slots=True)
class Forked:
    """The worker runs as process `pid`, a child of the master."""

    worker: WorkerId
    pid: int


@dataclass(frozen=True, slots=True)
class ForkRefused:
    """There is no process for the worker, and none will come."""

    worker: WorkerId
    reason: str


@dataclass(frozen=True, slots=True)
class WorkerReady:
    """The worker accepts connections; its boot has taken so many seconds of processor time, as far as that is known."""

    worker: WorkerId
    cpu_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class WorkerStoppedAccepting:
    """The worker, which is draining, accepts no more connections."""

    worker: WorkerId


@dataclass(frozen=True, slots=True)
class WorkerFailed:
    """The worker cannot boot; its exit follows."""

    worker: WorkerId
    failure: Failure


@dataclass(frozen=True, slots=True)
class WorkerMisbehaved:
    """The worker has said what no worker says. Nothing that it says is reported any more; its exit is."""

    worker: WorkerId
    reason: str


@dataclass(frozen=True, slots=True)
class WorkerExited:
    """The worker has been reaped.

    `oom` if the kernel is known to have killed it for want of memory. `serving` are the requests that it was serving, as far
    as they are known, `in_progress` is their number, and `requests` how many it had answered. The requests that it
    `served_shortly_before`, half a second before or less, may have been among them.
    """

    worker: WorkerId
    status: ExitStatus
    oom: bool = False
    serving: tuple[Request, ...] = ()
    served_shortly_before: tuple[Request, ...] = ()
    in_progress: int = 0
    requests: int = 0


@dataclass(frozen=True, slots=True)
class Observed:
    """The master has looked at its workers."""

    samples: tuple[Sample, ...]


@dataclass(frozen=True, slots=True)
class ReloadRequested:
    """Roll over to a new generation, which lives by `policy`.

    The master has read and accepted the settings already. Beyond its policy, the generation is made from the settings that
    the master has read last when `SpawnZygote` first names the generation.
    """

    policy: Policy


@dataclass(frozen=True, slots=True)
class StopRequested:
    """Stop gracefully; at once with `now`. A second request, of either kind, stops at once."""

    now: bool = False


@dataclass(frozen=True, slots=True)
class ScaleRequested:
    """Have `count` workers, or `delta` more (or fewer) than are wanted now; never below 1."""

    count: int | None = None
    delta: int = 0


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed."""


Event = (
    ZygoteReady
    | ZygoteFailed
    | ZygoteExited
    | ZygoteMisbehaved
    | Forked
    | ForkRefused
    | WorkerReady
    | WorkerStoppedAccepting
    | WorkerFailed
    | WorkerMisbehaved
    | WorkerExited
    | Observed
    | ReloadRequested
    | StopRequested
    | ScaleRequested
    | Tick
)
