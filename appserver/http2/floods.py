"""How much a client may ask for that costs the server more than the client (RFC 9113 section 10.5).

Two allowances for each connection, which refill with time and with useful work:

| allowance | what is taken from it | CVE |
|---|---|---|
| resets | streams that the client ends early, or makes the server end: RST_STREAM, and what it is answered with | 2023-44487, 2025-8671 |
| control | PING, SETTINGS, PRIORITY, WINDOW_UPDATE, empty DATA, DATA that nobody reads, CONTINUATION, frames of unknown types | 2019-9511 … 9518, 2024-27316 |

Useful work is a response that has been completed, and DATA. So a busy connection has the more of both, and a client that
makes only such frames has `burst` of them and then a few each second.
"""

from __future__ import annotations

from typing import Final

RESETS: Final = 500
"""Default of `http2.max_resets`. A browser that leaves a page resets at most max_concurrent_streams at once."""

CONTROL: Final = 2000
"""Default of `http2.max_control_frames`. Reading one takes about 2 µs."""

REFILL: Final = 0.1
"""Share of the burst that comes back each second."""


class Allowance:
    """So much at once, and a share of it each second."""

    __slots__ = ("_at", "_burst", "_left")

    def __init__(self, burst: float) -> None:
        # Floats throughout, which the interpreter adds and compares in a fraction of the time that a mixture takes.
        self._burst = self._left = float(burst)
        self._at: float | None = None  # the time up to which it has been refilled

    def spend(self, now: float, amount: float = 1.0) -> bool:
        """Take from it; returns whether there was enough. `now` in seconds."""
        self._left -= amount
        if self._left < 0.0:
            self._refill(now)
        elif self._at is None:
            self._at = now
        return self._left >= 0.0

    def earn(self, amount: float = 1.0) -> None:
        """Put back into it, for work that was of use."""
        left = self._left + amount
        self._left = left if left < self._burst else self._burst  # noqa: FURB136 - a call takes longer

    def _refill(self, now: float) -> None:
        """Add what time has brought: only when it is needed, as most connections never come so far."""
        if self._at is not None:
            self._left += (now - self._at) * self._burst * REFILL
            self._left = min(self._left, self._burst)
        self._at = now
