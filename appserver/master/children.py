"""The kernel's side of having children: subreaper, pidfds, exit statuses.

The master is the parent of every process below it: of the zygotes because it starts them, of the workers because it is
the subreaper to which a process falls whose parent has exited. A process identifier is therefore safe to signal for as
long as the master has not reaped it, and nobody else does.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import re
import signal
from collections.abc import Callable
from pathlib import Path

from appserver.supervision.events import ExitStatus

PR_SET_CHILD_SUBREAPER = 36


def become_subreaper() -> None:
    """Have every process below this one whose parent exits become a child of this one; survives `exec` (prctl(2))."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"prctl(PR_SET_CHILD_SUBREAPER): {os.strerror(error)}")


class Child:
    """A child process by its pidfd: tells when it exits, and with what; signals it."""

    def __init__(self, pid: int, on_exit: Callable[[ExitStatus], None], loop: asyncio.AbstractEventLoop) -> None:
        """Watch the child `pid`; `on_exit` is called once, from the loop."""
        self.pid = pid
        self.cpu_seconds = 0.0
        """The processor time that it has used, with that of the children that it has waited for; once it has exited."""
        self._on_exit = on_exit
        self._loop = loop
        self._pidfd = os.pidfd_open(pid)
        loop.add_reader(self._pidfd, self._reap)

    @property
    def alive(self) -> bool:
        """Whether it has not been reaped yet."""
        return self._pidfd >= 0

    def signal(self, number: int) -> None:
        """Send a signal; does nothing if the process is gone."""
        if self._pidfd >= 0:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, number)

    def handles(self, number: int) -> bool:
        """Whether it has a handler for a signal, which otherwise would end it; false if it is gone."""
        try:
            status = Path(f"/proc/{self.pid}/status").read_text("ascii", "replace")
        except OSError:
            return False
        caught = re.search(r"^SigCgt:\s*([0-9a-f]+)$", status, re.MULTILINE)  # a mask: bit 0 is signal 1 (proc(5))
        return self.alive and caught is not None and bool(int(caught[1], 16) >> (number - 1) & 1)

    def forget(self) -> None:
        """Reap it when it exits, but call nobody."""
        self._on_exit = lambda _status: None

    def _reap(self) -> None:
        try:
            pid, status, usage = os.wait4(self.pid, os.WNOHANG)
        except ChildProcessError:  # it was taken for a stranger, as after `forget`: nobody is left to be told
            self._close()
            return
        if pid == 0:
            return
        self.cpu_seconds = usage.ru_utime + usage.ru_stime
        self._close()
        code = os.waitstatus_to_exitcode(status)
        self._on_exit(ExitStatus(code=code) if code >= 0 else ExitStatus(signal=-code))

    def _close(self) -> None:
        self._loop.remove_reader(self._pidfd)
        os.close(self._pidfd)
        self._pidfd = -1


def is_child(pid: int) -> bool:
    """Whether `pid` is a child of this process, be it running or not reaped yet; for any number, whoever has named it.

    The kernel answers for children alone (waitid(2)), and a child keeps its pid until this process reaps it. So the answer
    stays true for as long as nothing is reaped, and it takes no descriptor.
    """
    if pid <= 0:
        return False
    try:
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except (ChildProcessError, OverflowError):
        return False
    return True


def kill_child(pid: int) -> None:
    """Send SIGKILL to a child for which there is no pidfd; does nothing to any other process."""
    if is_child(pid):
        os.kill(pid, signal.SIGKILL)


def reap_strangers(known: Callable[[int], bool]) -> int:
    """Reap the exited children that nobody watches: what a container's PID 1 and a subreaper inherit; returns how many.

    `known` says whether a pid is somebody's to reap. Stops at the first known one: the kernel always shows the same
    child first, and its own pidfd will have it reaped before long.
    """
    reaped = 0
    while True:
        try:
            exited = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return reaped
        if exited is None or known(exited.si_pid):
            return reaped
        os.waitpid(exited.si_pid, 0)
        reaped += 1


def resident_memory(pid: int | None) -> int:
    """The resident set of a process in bytes; 0 if it is gone."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError, ValueError):
        return 0


def open_descriptors(pid: int) -> int | None:
    """How many file descriptors a process has open; None if it is gone, or another user's."""
    try:
        return len(os.listdir(f"/proc/{pid}/fd"))
    except OSError:
        return None


def processor_time(pid: int) -> float:
    """Seconds of processor time, with those of the children that it has waited for; 0.0 if it is gone.

    In clock ticks, rounded down: never more than what `Child.cpu_seconds` says in the end.
    """
    try:
        # The second field is the name in parentheses, which may hold anything; the times are fields 14 to 17 (proc(5)).
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
        return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError):
        return 0.0
