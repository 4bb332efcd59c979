"""The file into which a worker's stacks are written, when its loop is blocked and when it crashes.

An anonymous file, not a pipe: nothing is lost when nobody reads, and what a crashing worker wrote last is still there
when it has been reaped.
"""

from __future__ import annotations

import fcntl
import os
import signal

# Time for a blocked process to write its stacks, in seconds: the kernel interrupts it, and writing takes milliseconds.
STACKS_DELAY = 0.5

NO_STACKS = "none were written: the process is stopped, stuck in the kernel, or has just begun"

CRASHES = frozenset({signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGSEGV})
"""Signals at which a process writes its stacks by itself. One that another signal ends has written them only if asked to."""

MAX_STACKS_SIZE = 64 * 1024
MAX_TASKS_SIZE = 1024 * 1024


class StacksFile:
    """Holds the file; the worker's copy of the descriptor is the same open file, so what both know is its end.

    The worker may write anything there, and may make it sparse and of any size; it can only not make it smaller.
    """

    def __init__(self, fd: int, read_to: int = 0) -> None:
        """Use an existing file, of which `read_to` octets are known already."""
        self.fd = fd
        self.read_to = read_to

    @classmethod
    def create(cls) -> StacksFile:
        """Make an empty one."""
        return cls(report_file("appserver-stacks"))

    def mark(self) -> int:
        """The position from which later writes begin."""
        return os.fstat(self.fd).st_size

    def read_new(self) -> str:
        """Return what was written since the last reading, its last 64 KiB at most; empty if nothing was."""
        return self.read_from(self.read_to)

    def read_from(self, mark: int) -> str:
        """Return what was written since a mark, its last 64 KiB at most; empty if nothing was."""
        size = self.mark()
        start = max(mark, size - MAX_STACKS_SIZE)
        self.read_to = size
        text = _read(self.fd, start, size - start)
        return f"(the first {start - mark} bytes are left out)\n{text}" if start > mark else text

    def close(self) -> None:
        os.close(self.fd)


def report_file(name: str) -> int:
    """Make an anonymous file for what a worker has to report; returns its descriptor. It cannot become smaller."""
    fd = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL)
    return fd


def read_report(fd: int, limit: int = MAX_TASKS_SIZE) -> str:
    """Return what a worker has written into such a file, as far as it fits into the limit."""
    size = os.fstat(fd).st_size
    text = _read(fd, 0, min(size, limit))
    return f"{text}\n(further {size - limit} bytes are left out)" if size > limit else text


def _read(fd: int, start: int, size: int) -> str:
    # Without the zeros that a sparse file is full of.
    return os.pread(fd, max(0, size), start).replace(b"\0", b"").decode(errors="replace").strip()
