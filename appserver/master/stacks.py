"""The file into which a worker's stacks are written, when its loop is blocked and when it crashes.

An anonymous file, not a pipe: nothing is lost when nobody reads, and what a crashing worker wrote last is still there
when it has been reaped.
"""

from __future__ import annotations

import os

MAX_STACKS_SIZE = 64 * 1024


class StacksFile:
    """Holds the file; the worker's copy of the descriptor is the same open file, so what both know is its end."""

    def __init__(self, fd: int, read_to: int = 0) -> None:
        """Use an existing file, of which `read_to` octets are known already."""
        self.fd = fd
        self.read_to = read_to

    @classmethod
    def create(cls) -> StacksFile:
        """Make an empty one."""
        return cls(os.memfd_create("appserver-stacks"))

    def mark(self) -> int:
        """Where what is written from now on begins."""
        return os.fstat(self.fd).st_size

    def read_new(self) -> str:
        """Return what was written since the last reading, its last 64 KiB at most; empty if nothing was."""
        return self.read_from(self.read_to)

    def read_from(self, mark: int) -> str:
        """Return what was written since a mark, its last 64 KiB at most; empty if nothing was."""
        size = self.mark()
        start = max(mark, size - MAX_STACKS_SIZE)
        self.read_to = size
        return os.pread(self.fd, size - start, start).decode(errors="replace").strip()

    def close(self) -> None:
        os.close(self.fd)
