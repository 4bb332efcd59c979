"""Descriptors that a worker keeps for the orders of its master, when its connections and the application have taken all others."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

# Two files of a certificate and its key, and the one that OpenSSL reads. An order brings one at most.
NEEDED = 3


class Reserve:
    """Holds some descriptors, and lets go of them for as long as something is done that has to be possible.

    Other threads may take what is let go of before it is used, so whoever uses it has to expect that there is none.
    """

    def __init__(self, size: int = NEEDED) -> None:
        self._size = size
        self._held: list[int] = []
        self._fill()

    @contextlib.contextmanager
    def lent(self) -> Iterator[None]:
        """Let go of the descriptors for this block."""
        while self._held:
            os.close(self._held.pop())
        try:
            yield
        finally:
            self._fill()

    def _fill(self) -> None:
        with contextlib.suppress(OSError):  # there is none, and will be the next time
            while len(self._held) < self._size:
                self._held.append(os.eventfd(0, os.EFD_CLOEXEC))
