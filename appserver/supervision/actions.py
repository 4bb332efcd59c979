"""Actions: what the master is to do, in the order in which it is given them.

All of them are orders to start something, never to wait for it: what came of it is reported as an event.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from appserver.supervision.events import WorkerId

DrainReason = Literal["reload", "stop", "recycle", "scale_down"]

# Labels of `appserver_worker_exits_total`.
ExitReason = Literal[
    "recycled", "reloaded", "scaled_down", "stopped", "crashed", "stalled", "boot_failed", "out_of_memory"
]

Level = Literal["debug", "info", "warning", "error"]

# "ok": all wanted workers are of the new generation. "rolled_back": the old generation serves on, untouched.
# "incomplete": the new generation serves, but some of its workers do not come up; they are tried again for ever, and the
# old ones in their places serve on. "refused": not even begun, as the server is stopping.
ReloadResult = Literal["ok", "rolled_back", "incomplete", "refused"]


@dataclass(frozen=True, slots=True)
class SpawnZygote:
    """Start the zygote of a generation: its first one, or another one after the last has exited.

    Report `ZygoteReady` or `ZygoteFailed`, and its exit.
    """

    generation: int


@dataclass(frozen=True, slots=True)
class StopZygote:
    """Close the zygote's channel; it exits when it has nothing left to do. No worker of it is left."""

    generation: int


@dataclass(frozen=True, slots=True)
class KillZygote:
    """Send SIGKILL to the zygote. Its workers are not affected."""

    generation: int


@dataclass(frozen=True, slots=True)
class SpawnWorker:
    """Have the zygote of `generation` fork a worker.

    `number` is what people see ("worker 2"): no other living worker has it, and number - 1 is its scoreboard slot.
    Report `Forked` or `ForkRefused`, then `WorkerReady` or `WorkerFailed`, and its exit.
    """

    worker: WorkerId
    number: int
    generation: int


@dataclass(frozen=True, slots=True)
class DrainWorker:
    """Ask the worker to stop accepting, to finish what it is serving, and to exit.

    `linger` is how many seconds idle keep-alive connections may wait for their next request. `shutdown.delay` has passed
    already. A worker that is asked while it still boots gives up booting.
    """

    worker: WorkerId
    reason: DrainReason
    linger: float


@dataclass(frozen=True, slots=True)
class KillWorker:
    """Send SIGKILL to the worker; `reason` is for people. It is repeated while no exit is reported.

    A worker that the zygote has not reported yet (`Forked`) is killed again when it has been.
    """

    worker: WorkerId
    reason: str


@dataclass(frozen=True, slots=True)
class DumpStacks:
    """Have the worker's stacks dumped and log them: its event loop has been blocked for `blocked` seconds."""

    worker: WorkerId
    blocked: float = 0.0


@dataclass(frozen=True, slots=True)
class DumpBoot:
    """Have the stacks of a worker that boots dumped and log them, with the tasks of its event loop.

    It has been booting for `seconds`, and will be given up at `boot_timeout`.
    """

    worker: WorkerId
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class DumpZygoteBoot:
    """Have the stacks of a zygote that boots dumped and log them, as for `DumpBoot`."""

    generation: int
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class CountExit:
    """Count the exit of a worker by its reason."""

    reason: ExitReason


@dataclass(frozen=True, slots=True)
class FinishReload:
    """The verdict on the reload that made `generation`: exactly one for each.

    `generation` is None for a request that never became one (result "refused"). Requests that came while another reload was
    running have been made into one, which gets its own verdict.
    """

    result: ReloadResult
    reason: str
    generation: int | None = None


@dataclass(frozen=True, slots=True)
class Log:
    """Write a log record. `fields` are JSON-able; `worker` among them is the number that people see."""

    level: Level
    event: str
    fields: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Exit:
    """Nothing is left to supervise: end the program with `code`. The last action there is."""

    code: int


Action = (
    SpawnZygote
    | StopZygote
    | KillZygote
    | SpawnWorker
    | DrainWorker
    | KillWorker
    | DumpStacks
    | DumpBoot
    | DumpZygoteBoot
    | CountExit
    | FinishReload
    | Log
    | Exit
)
