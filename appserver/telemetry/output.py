"""The output of lines, which never makes the process wait for a slow reader.

`write` hands complete lines over and returns. They go through a bounded buffer to a thread, and the thread alone waits
for a slow reader. Lines that find the buffer full, or cannot be written (full disk, closed pipe), are dropped and counted, and
the loss is reported in the log itself once lines get out again. With `on_full="block"` nothing is dropped that may still
go out later: then `write` waits.

A process that forks must not have threads, so until `start_writer` is called lines are written at once by the caller,
who waits for a slow reader no longer than `PATIENCE`. The same holds in a child that was forked from a process with such
a thread: it starts with an empty buffer, locks of its own and no thread.
"""

from __future__ import annotations

import atexit
import contextlib
import errno
import os
import select
import stat
import threading
import time
import weakref
from collections.abc import Callable, Mapping
from math import inf
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Literal

from appserver.errors import Problem, SettingsError

# Octets that may wait for the thread: some seconds of a busy worker's access log.
LIMIT = 4 * 1024 * 1024
# Seconds that a caller who writes himself waits for room.
PATIENCE = 0.1
# Seconds between two attempts to write on a full disk, where lines must not be dropped.
_RETRY_INTERVAL = 0.5
# Seconds between two looks, while waiting for a reader, at whether that still makes sense.
_LOOK_INTERVAL = 0.1
# Seconds that the thread gets at the end to notice that it is given up.
_LAST_LOOKS = 5 * _LOOK_INTERVAL
# Seconds between two reports of losses while there are more and more of them.
_REPORT_INTERVAL = 10.0
# "POSIX requires that write(2)s of less than PIPE_BUF bytes be atomic" (pipe(7)): lines of several processes that share
# a pipe do not tear each other apart, and such a write does not block once poll has reported room.
_ATOMIC = select.PIPE_BUF
# To a unix socket, which the journal of systemd reads, the kernel queues this much in one piece (unix(7) promises nothing,
# but it has always been so), without blocking once poll has reported room.
_ATOMIC_TO_SOCKET = 32 * 1024
# Errors that an operator can mend, by making room or by rotating the file.
_CURABLE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}

Report = Callable[[str, Mapping[str, Any]], bytes]


class Destination:
    """The destination of a log: a file, which can be opened anew under its name, or a duplicate of a standard stream.

    A duplicate, because the application may close the stream, and a connection then get its number.
    """

    def __init__(self, fd: int, path: Path | None = None) -> None:
        self.fd = fd
        self.path = path
        self.is_terminal = os.isatty(fd)
        self.is_regular = _is_regular(fd)
        self.atomic = _ATOMIC_TO_SOCKET if stat.S_ISSOCK(os.fstat(fd).st_mode) else _ATOMIC

    @classmethod
    def file(cls, path: Path, key: str) -> Destination:
        """Open a file for appending; raises SettingsError, naming the setting `key`, if that is not possible."""
        from appserver.files import open_to_append  # a log on standard error needs nothing of the kind

        try:
            return cls(open_to_append(path), path)
        except OSError as error:
            expected = f"a file that can be written; it cannot be opened: {error.strerror}"
            raise SettingsError([Problem("", key, str(path), expected)]) from error

    @classmethod
    def stream(cls, fd: int) -> Destination:
        """Duplicate a descriptor. If it is closed, every write will fail, which is for `LogOutput` to count."""
        try:
            return cls(os.dup(fd))
        except OSError:
            return cls(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))

    def reopen(self) -> None:
        """Go on in a new file under the same name, if it is a file; raises OSError, and keeps the old one, on failure.

        The descriptor keeps its number and changes its meaning in one step, whoever writes on it at that moment.
        """
        if self.path is not None:
            from appserver.files import open_to_append

            fd = open_to_append(self.path)
            os.dup2(fd, self.fd, inheritable=False)
            os.close(fd)
            self.is_regular = _is_regular(self.fd)

    def wait(self, seconds: float) -> bool:
        """Wait until there is room, or until it is clear that a write will fail; False after `seconds`."""
        poll = select.poll()
        poll.register(self.fd, select.POLLOUT)
        return bool(poll.poll(seconds * 1000))

    def close(self) -> None:
        os.close(self.fd)


class LogOutput:
    """Takes lines, and writes them without making the caller wait. Lines are octets, each ends with a line feed.

    `report` is told what has happened to the output itself. It returns the line that says so, to be written here, or b""
    if it has said so elsewhere.
    """

    def __init__(
        self,
        destination: Destination,
        *,
        on_full: Literal["drop", "block"] = "drop",
        report: Report = lambda event, fields: b"",  # noqa: ARG005
        limit: int = LIMIT,
    ) -> None:
        self.destination = destination
        self._on_full = on_full
        self._report = report
        self._limit = limit
        self._lost = 0  # counted by who writes
        self._reported = 0
        self._reported_at = -inf
        self._torn = False  # the last line that was written lacks its end
        self._closed = False
        self._begin_without_thread()
        _outputs.add(self)

    def _begin_without_thread(self) -> None:
        self._thread: threading.Thread | None = None
        self._refused = 0  # counted by who calls, under the lock
        self._pending = 0
        # Reentrant, as is SimpleQueue: a finaliser may run between any two steps of `write`, and log.
        self._room = threading.Condition(threading.RLock())
        self._queue: SimpleQueue[bytes | threading.Event | None] = SimpleQueue()
        self._abandoned = threading.Event()
        self._in_hand = b""  # what the thread is writing
        self._taken = 0  # how many octets of that, or of a report, are out

    @property
    def dropped(self) -> int:
        """How many lines have been lost so far."""
        return self._refused + self._lost

    def start_writer(self) -> None:
        """Write from a thread from now on. Not for a process that forks."""
        if self._thread is None:
            thread = threading.Thread(target=self._run, name="appserver-log", daemon=True)
            thread.start()
            self._thread = thread

    def write(self, lines: bytes) -> None:
        """Have complete lines written. Never raises; waits only as said above."""
        if self._closed:
            self._refused += lines.count(b"\n")
        elif self._thread is None:
            if self._deliver(lines):
                self._report_losses()
        elif self._reserve(lines):
            self._queue.put(lines)

    def flush(self, timeout: float = 1.0) -> bool:
        """Wait until everything handed over so far has been written or dropped; False if not within `timeout` seconds."""
        if self._thread is None or not self._thread.is_alive():
            return True
        written = threading.Event()
        self._queue.put(written)
        return written.wait(timeout)

    def reopen(self) -> None:
        """Go on in a new file under the same name, after a rotation; on failure keep the old one, and report it.

        No line is lost: each goes to the one or to the other.
        """
        try:
            self.destination.reopen()
        except OSError as error:
            fields = {"file": str(self.destination.path), "reason": error.strerror}
            self.write(self._report("log file cannot be reopened", fields))
        else:
            self._torn = False

    def close(self, timeout: float = 2.0) -> None:
        """Write what is there for at most `timeout` seconds, give up the rest, and close. Later lines are dropped."""
        if self._closed:
            return
        self._closed = True
        if self._thread is not None:
            self._queue.put(None)
            self._thread.join(timeout)
            self._abandoned.set()
            self._give_up_queue()
            # By now it only has to notice. A thread that hangs in a write to a dead disk keeps its descriptor.
            self._thread.join(_LAST_LOOKS)
            if self._thread.is_alive():
                self._refused += self._in_hand.count(b"\n", self._taken)
        if self._thread is None or not self._thread.is_alive():
            self.destination.close()

    def forked(self) -> None:
        """Begin anew in the child of a fork: the buffer, the lock and the thread are the parent's."""
        self._begin_without_thread()

    def _give_up_queue(self) -> None:
        """Count what the thread has not got to as lost, and leave it nothing to do but end."""
        with contextlib.suppress(Empty):
            while True:
                item = self._queue.get_nowait()
                if isinstance(item, threading.Event):
                    item.set()
                elif item is not None:
                    self._refused += item.count(b"\n")
        self._queue.put(None)

    def _reserve(self, lines: bytes) -> bool:
        """Take room in the buffer; False, with the lines counted as lost, if there is none."""

        def fits() -> bool:
            # A chunk larger than the buffer fits when there is nothing else.
            return self._pending == 0 or self._pending + len(lines) <= self._limit

        with self._room:
            if self._on_full == "block" and threading.current_thread() is not self._thread:
                self._room.wait_for(fits)
            if not fits():
                self._refused += lines.count(b"\n")
                return False
            self._pending += len(lines)
            return True

    def _run(self) -> None:
        while (item := self._queue.get()) is not None:
            if isinstance(item, threading.Event):
                item.set()
                continue
            self._in_hand = item
            delivered = self._deliver(item)
            self._in_hand = b""
            with self._room:
                self._pending -= len(item)
                self._room.notify_all()
            # Losses are reported when they are over; if they go on and on, meanwhile, where it can be said elsewhere.
            if (delivered and self._pending == 0) or (not delivered and self._is_report_due()):
                self._report_losses()

    def _is_report_due(self) -> bool:
        return time.monotonic() - self._reported_at >= _REPORT_INTERVAL

    def _report_losses(self) -> None:
        """Write how much has been lost since the last time; a report that is lost itself is repeated, and not counted."""
        dropped, lost = self.dropped, self._lost
        if dropped > self._reported:
            self._reported_at = time.monotonic()
            if self._deliver(self._report("log lines dropped", {"count": dropped - self._reported})):
                self._reported = dropped
            self._lost = lost

    def _deliver(self, lines: bytes) -> bool:
        """Write; False if it failed, with every line counted that did not get out as a whole."""
        destination = self.destination
        size = len(lines) + 1 if destination.is_regular else destination.atomic
        # After the disk was full in the middle of a line, the next must not continue its remains.
        repair = int(self._torn)
        lines = repair * b"\n" + lines
        written = self._taken = 0
        while written < len(lines):
            try:
                self._wait_for_room()
                written += os.write(destination.fd, lines[written : _end_of_piece(lines, written, size)])
                self._taken = written - repair
            except BlockingIOError:
                continue  # another process was quicker
            except OSError as error:
                if not self._may_pass(error):
                    break
        if written:
            self._torn = not lines.endswith(b"\n", 0, written)
        lost = lines.count(b"\n", max(written, repair))
        self._lost += lost
        return lost == 0

    def _wait_for_room(self) -> None:
        """Wait until a piece can be written; raises TimeoutError when that has taken too long."""
        if self.destination.is_regular:
            return
        patient = self._thread is not None or self._on_full == "block"
        deadline = inf if patient else time.monotonic() + PATIENCE
        while not self.destination.wait(0 if self._abandoned.is_set() else _LOOK_INTERVAL):
            if self._abandoned.is_set() or time.monotonic() >= deadline:
                raise TimeoutError

    def _may_pass(self, error: OSError) -> bool:
        """Whether to try the same write again: on a full disk, if nothing must be dropped, after a moment."""
        if self._on_full == "drop" or error.errno not in _CURABLE:
            return False
        return not self._abandoned.wait(_RETRY_INTERVAL)


def _is_regular(fd: int) -> bool:
    return stat.S_ISREG(os.fstat(fd).st_mode)


def _end_of_piece(lines: bytes, start: int, size: int) -> int:
    """Where to end a write of at most `size` octets: behind a line, unless the line is longer."""
    if len(lines) - start <= size:
        return len(lines)
    return lines.rfind(b"\n", start, start + size) + 1 or start + size


_outputs: weakref.WeakSet[LogOutput] = weakref.WeakSet()


def _begin_anew_in_child() -> None:
    for output in _outputs:
        output.forked()


def _flush_at_exit() -> None:
    for output in list(_outputs):
        output.flush()


os.register_at_fork(after_in_child=_begin_anew_in_child)
# For a program that ends without closing its outputs, by an exception for example; that is the record which matters most.
atexit.register(_flush_at_exit)
