"""Waiting for a condition, with a deadline.

Nothing in the tests sleeps and hopes: they name what they wait for, go on as soon as it holds, and fail with that name.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

INTERVAL = 0.01
"""Seconds between two looks."""


def eventually(look: Callable[[], T], what: str, *, timeout: float = 30.0, interval: float = INTERVAL) -> T:
    """Return the first truthy value of `look()`; raise AssertionError naming `what` after `timeout` seconds.

    `interval` are the seconds between two looks.
    """
    deadline = time.monotonic() + timeout
    while True:
        # Before the look: on a busy machine this process may stand still between the two, and time alone decides nothing.
        overdue = time.monotonic() > deadline
        if value := look():
            return value
        if overdue:
            raise AssertionError(f"not within {timeout} s: {what} (last seen: {value!r})")
        time.sleep(interval)
