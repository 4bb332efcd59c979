"""Zygotes and workers whose master is gone: how they get to know it, and how they close the place to clients.

A master that dies closes its ends of the channels before the kernel gives its children to somebody else. So at the
end-of-file on a channel `os.getppid()` may name a master that is gone in the next moment; a pidfd tells when it is.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import select
import socket
from collections.abc import Callable

PR_SET_CHILD_SUBREAPER = 36


def adopt_nobody() -> None:
    """Leave processes whose parent has exited to the subreaper above, whatever the application has asked for (prctl(2)).

    Workers are such processes, and have to become children of the master. They do not inherit what is taken back here.
    """
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


def when_exited(pid: int, loop: asyncio.AbstractEventLoop, call: Callable[[], None]) -> None:
    """Have the loop call a function when a process has exited; it may have already."""
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        loop.call_soon(call)
        return

    def exited() -> None:
        loop.remove_reader(pidfd)
        os.close(pidfd)
        call()

    loop.add_reader(pidfd, exited)


def exits(pid: int, seconds: float) -> bool:
    """Whether a process has exited, or does so within so many seconds."""
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        poll = select.poll()
        poll.register(pidfd, select.POLLIN)
        return bool(poll.poll(seconds * 1000))
    finally:
        os.close(pidfd)


def shut_down(descriptor: int) -> None:
    """Have the kernel refuse connections to a listening socket, whoever else has it; the port is free then."""
    # The socket may be gone already: another worker was quicker.
    with contextlib.suppress(OSError), socket.socket(fileno=os.dup(descriptor)) as listening:
        listening.shutdown(socket.SHUT_RDWR)
