"""The scoreboard: every number of the server, in memory that all of its processes share."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum

DEFAULT_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class WorkerState(IntEnum):
    """What a worker says about itself, in the order of its life. FREE: nobody writes in this slot."""

    FREE = 0
    BOOTING = 1
    READY = 2
    DRAINING = 3


@dataclass(frozen=True, slots=True)
class Totals:
    """Every counter over all workers, past and present, and every gauge over the present ones."""

    requests: Mapping[tuple[str, str], int]  # (method, status) -> count
    duration_buckets: tuple[tuple[float, int], ...]  # (upper bound in seconds, not cumulated), the last bound is inf
    duration_sum: float
    in_progress: int
    received_bytes: int
    sent_bytes: int
    connections: int
    connections_open: int
    websocket_sessions: int
    websocket_sessions_open: int
    websocket_messages: Mapping[str, int]  # "received", "sent"
    rejected: Mapping[str, int]
    application_errors: int
    log_lines_dropped: int
    worker_exits: Mapping[str, int]
    reloads: Mapping[str, int]


class WorkerSlot:
    """One worker's place in the scoreboard. The methods are for the worker, its one writer; the properties for anybody."""

    def begin(self, *, pid: int, generation: int, started_at: float | None = None) -> None:
        """Take the slot: state BOOTING, `started_at` in seconds since the epoch (default: now), no heartbeat yet."""
        raise NotImplementedError

    def heartbeat(self, now: float, lag: float) -> None:
        """Note that the event loop turned at `now` (time.monotonic()), `lag` seconds late."""
        raise NotImplementedError

    def connection_opened(self) -> None: ...
    def connection_closed(self) -> None: ...
    def request_started(self) -> None: ...

    def request_finished(self, method: str, status: int, seconds: float, received: int, sent: int) -> None:
        """Count a request that `request_started` announced; `status` 0 if no response was begun."""

    def traffic(self, received: int, sent: int) -> None:
        """Count octets that belong to no request (WebSocket frames, heads that were refused)."""

    def session_opened(self) -> None: ...
    def session_closed(self) -> None: ...
    def message_received(self) -> None: ...
    def message_sent(self) -> None: ...
    def rejected(self, reason: str) -> None: ...
    def application_error(self) -> None: ...

    def connections_ahead(self) -> int:
        """How many open connections this worker has above the ready worker with the fewest; 0 if none has fewer."""
        raise NotImplementedError

    # state is read and written: slot.state = WorkerState.READY
    state: WorkerState
    log_lines_dropped: int  # set by the worker at its heartbeat from its outputs' `dropped`
    pid: int
    generation: int
    started_at: float
    heartbeat_at: float  # 0.0: none yet
    loop_lag: float
    requests: int  # finished
    in_progress: int
    connections: int  # open
    sessions: int  # open WebSockets


class Scoreboard:
    """The mapping: the totals of workers that are gone, and one slot per worker."""

    fd: int
    capacity: int

    @classmethod
    def create(cls, capacity: int, buckets: Sequence[float] = DEFAULT_BUCKETS) -> Scoreboard:
        """Make an empty scoreboard for up to `capacity` workers; `fd` is inheritable (through exec, too)."""
        raise NotImplementedError

    @classmethod
    def attach(cls, fd: int) -> Scoreboard:
        """Map an existing scoreboard; raises ScoreboardMismatch if another version of appserver has laid it out."""
        raise NotImplementedError

    def slot(self, index: int) -> WorkerSlot:
        """The slot of worker number `index` + 1."""
        raise NotImplementedError

    def retire(self, index: int, cpu_seconds: float = 0.0) -> None:
        """Add a dead worker's counters to the totals and free its slot. Master only, after the worker was reaped."""

    def worker_exited(self, reason: str) -> None: ...  # master only: appserver_worker_exits_total{reason}
    def reload_finished(self, result: str) -> None: ...  # master only: appserver_reloads_total{result}

    def totals(self) -> Totals:
        """Everything, summed; consistent with respect to `retire`, so that no counter goes back."""
        raise NotImplementedError

    def close(self) -> None:
        """Unmap, and close the descriptor."""


_ = time
