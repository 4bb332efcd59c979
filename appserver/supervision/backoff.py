"""Back-off: how long to wait before trying again what has just failed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

FIRST_DELAY = 0.1
LONGEST_DELAY = 30.0

# The share of a delay that chance takes off, so that slots which failed together do not all come back together.
JITTER = 0.25

# Whoever has been ready for this long, in seconds, was healthy: what fails after that is the first failure again.
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
        """What is tried now is healthy, or is something new."""
        self.failures = 0
        self.until = 0.0

    def allows(self, now: float) -> bool:
        return now >= self.until


def delay(failures: int) -> float:
    """The seconds to wait after that many failures in a row, before chance takes something off."""
    if failures <= 1:
        return 0.0
    # Beyond 2 ** 10 the longest delay is reached in any case, and the power of a large number would be slow.
    return min(LONGEST_DELAY, FIRST_DELAY * 2.0 ** min(failures - 2, 10))
