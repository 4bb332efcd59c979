"""Giving memory back that a crowd of connections has left.

What OpenSSL and the interpreter free goes back to the C library, which keeps it: free blocks lie between those that are in
use, and the worker stays as large as it has been at its busiest. After 8,000 TLS handshakes that were never completed these
are 350 MB of 370; malloc_trim(3) gives them to the kernel within 25 ms. So that is done when a crowd has left, and only then.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from math import inf

CROWD = 250
"""So many connections have to have gone, and at least half of all."""

PAUSE = 5.0
"""Seconds between two times, at least."""


def malloc_trim() -> None:
    """Have the C library give free memory back, if it is one that keeps it."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


class CrowdMemory:
    """Looks, about twice a second, how many connections there are."""

    def __init__(self, give_back: Callable[[], None] = malloc_trim) -> None:
        self._give_back = give_back
        self._most = 0
        self._given_back_at = -inf

    def look(self, connections: int, most: int, now: float) -> None:
        """Give memory back if a crowd has left; `most` connections were open at a time since the last look."""
        self._most = max(self._most, most)
        gone = self._most - connections
        if gone >= max(CROWD, connections) and now - self._given_back_at >= PAUSE:
            self._most = connections
            self._given_back_at = now
            self._give_back()
