"""The file into which a worker's stacks are written, when its loop is blocked and when it crashes.

An anonymous file, not a pipe: nothing is lost when nobody reads, and what a crashing worker wrote last is still there
when it has been reaped.
"""

from __future__ import annotations

import os

MAX_STACKS_SIZE = 64 * 1024


class StacksFile:
    """Holds the file; the worker's copy of the descriptor is the same open file, so what both know is its end."""

    def __init__(self) -> None:
        self.fd = os.memfd_create("appserver-stacks")
        self._read_to = 0

    def read_new(self) -> str:
        """Return what was written since the last call, its last 64 KiB at most; empty if nothing was."""
        size = os.fstat(self.fd).st_size
        start = max(self._read_to, size - MAX_STACKS_SIZE)
        self._read_to = size
        return os.pread(self.fd, size - start, start).decode(errors="replace").strip()

    def close(self) -> None:
        os.close(self.fd)
