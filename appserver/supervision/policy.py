"""Policy: the numbers that the supervisor decides by, taken from the settings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from appserver.settings import Settings

# Seconds beyond the sum of its own deadlines after which a worker is killed. It needs them to cancel the requests that are
# left, to run the application's exit handlers and to close its logs, and the kernel needs them to free its memory.
KILL_MARGIN = 6.0

# A boot is looked at for the last time so many seconds before it is given up, at the latest: see `last_look`.
LAST_LOOK = 2.0

# How many scoreboard slots there are at least, so that scaling up does not need a restart.
MINIMUM_CAPACITY = 64


@dataclass(frozen=True, slots=True)
class Policy:
    """The wanted state, and the time limits of each step, in seconds.

    0 switches the `stall_` and `max_` limits off; elsewhere it means no time at all. Each generation lives by its own policy,
    as its workers live by the settings that they were made from.
    """

    count: int = 1
    boot_timeout: float = 60.0
    graceful_timeout: float = 30.0
    lifespan_timeout: float = 10.0
    stall_report: float = 5.0
    stall_timeout: float = 30.0
    max_requests: int = 0
    max_requests_jitter: int = 0
    max_lifetime: float = 0.0
    max_rss: int = 0
    surge: int = 1
    soak: float = 0.0
    reload_linger: float = 5.0
    shutdown_delay: float = 0.0
    shutdown_linger: float = 1.0
    capacity: int = MINIMUM_CAPACITY
    """Scoreboard slots, so the most workers that may be alive at once. Fixed by the first policy."""

    def __post_init__(self) -> None:
        """Raise ValueError for what could never come to an end."""
        if self.count < 1 or self.surge < 1 or self.boot_timeout <= 0:
            raise ValueError("count, surge and boot_timeout are to be greater than 0")
        if self.capacity < self.count + self.surge:
            raise ValueError(
                f"capacity {self.capacity} has no room for {self.count} workers and {self.surge} beyond them"
            )

    @classmethod
    def from_settings(cls, settings: Settings, *, cpus: int) -> Self:
        """Take the policy out of the settings; `cpus` is what `workers.count = "auto"` means."""
        workers, reload, shutdown = settings.workers, settings.reload, settings.shutdown
        count = cpus if workers.count == "auto" else workers.count
        return cls(
            count=count,
            boot_timeout=workers.boot_timeout,
            graceful_timeout=workers.graceful_timeout,
            lifespan_timeout=workers.lifespan_timeout,
            stall_report=workers.stall_report,
            stall_timeout=workers.stall_timeout,
            max_requests=workers.max_requests,
            max_requests_jitter=workers.max_requests_jitter,
            max_lifetime=workers.max_lifetime,
            max_rss=workers.max_rss,
            surge=reload.surge,
            soak=reload.soak,
            reload_linger=reload.linger,
            shutdown_delay=shutdown.delay,
            shutdown_linger=shutdown.linger,
            capacity=max(MINIMUM_CAPACITY, 4 * (count + reload.surge)),
        )

    def linger(self, reason: str) -> float:
        """How long a worker that is drained for `reason` waits for requests on idle connections."""
        return self.shutdown_linger if reason == "stop" else self.reload_linger

    def drain_bound(self, reason: str) -> float:
        """How long a worker that is drained for `reason` may take; it is killed after that."""
        return self.linger(reason) + self.graceful_timeout + self.lifespan_timeout + KILL_MARGIN


def last_look(policy: Policy) -> float:
    """How many seconds before `boot_timeout` a boot is looked at for the last time: its stacks take time to be written."""
    return min(LAST_LOOK, policy.boot_timeout / 2)
