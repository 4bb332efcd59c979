"""Back-off: how long to wait before a failed process is started again, and how much may be spent on replacements.

Two limits for two kinds of failure. A worker that does not come up, or dies before it has served anything, has the reason
in itself: its slot is tried again at growing intervals (`Backoff`). A worker that has served and dies was killed by a
request, so its successor is as good as any, and is booted at once. A client that repeats such a request could have the
processors boot workers without end, so there is a budget of processor time for that (`BootBudget`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

FIRST_DELAY = 0.1
LONGEST_DELAY = 30.0

# The share of a delay that chance takes off, so that slots which failed together do not all come back together.
JITTER = 0.25

# A worker that has been ready for this long, in seconds, was healthy: a failure after that counts as the first again.
HEALTHY_SPELL = 10.0


@dataclass(slots=True)
class Backoff:
    """The failures in a row of one slot or zygote, and the moment before which it is not tried again.

    After the first failure it is tried again at once, as one crash in a good life says nothing about the next boot; then
    after 0.1 s, 0.2 s and so on up to 30 s, for ever.
    """

    failures: int = 0
    until: float = 0.0

    def fail(self, now: float, random: Callable[[], float]) -> None:
        """Take note of one more failure."""
        self.failures += 1
        self.until = now + delay(self.failures) * (1.0 - JITTER * random())

    def reset(self) -> None:
        """To be called when a process became healthy, or when a new generation is tried."""
        self.failures = 0
        self.until = 0.0

    def allows(self, now: float) -> bool:
        return now >= self.until


# A boot costs at least this much, in seconds of processor time: the fork, the records, the news in three processes.
CHEAPEST_BOOT = 0.1

# The share of their processors that workers may spend on replacing those of them that die while they serve. A large one:
# a worker that serves is what the processors are there for, and the other share goes on serving meanwhile.
BOOT_SHARE = 0.5

# Unspent attempts are kept for so many seconds.
BUDGET_DEPTH = 10.0

# The longest that a slot stays vacant for want of a budget, in seconds, so that all are back soon after the last death.
LONGEST_DEBT = 10.0


@dataclass(slots=True)
class BootBudget:
    """The processor time that is left for replacing workers which have died while they served: a token bucket.

    It may be overdrawn by what was spent last; nothing more is spent then until the debt is paid.
    """

    spent: float = 0.0
    """Seconds of processor time that have been spent and not been earned since."""
    counted_at: float = 0.0

    def spend(self, now: float, cost: float, workers: int) -> None:
        """Take note of a boot that is to be repeated, and has cost so much processor time."""
        self._earn(now, workers)
        most = (BUDGET_DEPTH + LONGEST_DEBT) * BOOT_SHARE * workers
        self.spent = min(most, self.spent + max(cost, CHEAPEST_BOOT))

    def wait(self, now: float, workers: int) -> float:
        """How many seconds have to pass before there is something left."""
        self._earn(now, workers)
        return max(0.0, self.spent / (BOOT_SHARE * workers) - BUDGET_DEPTH)

    def _earn(self, now: float, workers: int) -> None:
        self.spent = max(0.0, self.spent - max(0.0, now - self.counted_at) * BOOT_SHARE * workers)
        self.counted_at = max(self.counted_at, now)


def delay(failures: int) -> float:
    """The seconds to wait after that many failures in a row, before chance takes something off."""
    if failures <= 1:
        return 0.0
    # Beyond 2 ** 10 the longest delay is reached in any case, and the power of a large number would be slow.
    return min(LONGEST_DELAY, FIRST_DELAY * 2.0 ** min(failures - 2, 10))
