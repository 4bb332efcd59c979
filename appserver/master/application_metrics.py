"""The place where the application's metrics are kept while the server lives, and reading it without waiting."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import grp
import os
import pwd
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import Any, TypeVar

from appserver.errors import Problem, SettingsError
from appserver.master.handover import KeptMetrics
from appserver.settings import Settings
from appserver.telemetry.application_metrics import VARIABLE, ApplicationMetrics
from appserver.telemetry.logs import get_logger
from appserver.telemetry.metrics import Metric

MEMORY = Path("/dev/shm")  # noqa: S108  # what is made there has a name that nobody can foresee
NAME = "appserver-metrics-"

# A directory that is this young, in seconds, may belong to a server that is just about to lock it.
TOO_YOUNG = 60.0

# Files that take longer to be read, in seconds, are not waited for: the server's own metrics are not to be late.
LIMIT = 2.0


T = TypeVar("T")


class ApplicationMetricsKeeper:
    """Keeps the directory, and reads it in a thread."""

    def __init__(self, kept: KeptMetrics | None = None, *, is_shown: bool = True) -> None:
        """Go on with the directory of the program before this one, if it had any; its metrics may be wanted no longer."""
        self._metrics: ApplicationMetrics | None = None
        self._is_shown = is_shown
        self._work: SimpleQueue[tuple[Callable[[], Any], Future[Any]]] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._lock: int | None = None
        if kept is not None:
            self._metrics, self._lock = ApplicationMetrics(Path(kept.directory)), kept.lock

    def apply(self, settings: Settings) -> None:
        """Make the directory if the settings want the application's metrics, and show them or not. Raises SettingsError."""
        self._is_shown = settings.metrics.application
        if self._is_shown:
            self._make(settings)

    def give(self, settings: Settings) -> None:
        """Give the directory to the workers' user of these settings, if they have one. Raises SettingsError."""
        if settings.metrics.application and self._metrics is not None:
            self._make(settings)

    def _make(self, settings: Settings) -> None:
        workers = settings.workers
        uid = pwd.getpwnam(workers.user).pw_uid if workers.user else -1
        gid = grp.getgrnam(workers.group).gr_gid if workers.group else -1
        try:
            if self._metrics is None:
                directory = _make_directory()
                # As long as this process lives, no other takes it for a leftover.
                self._lock = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
                fcntl.flock(self._lock, fcntl.LOCK_EX)
                self._metrics = ApplicationMetrics(directory)
            self._metrics.create(uid, gid)
        except OSError as error:
            expected = f"false, or a place for its files: none can be made in {' or '.join(map(str, _places()))} ({error.strerror})"
            raise SettingsError([Problem("", "metrics.application", "true", expected)]) from error

    def record(self) -> KeptMetrics | None:
        """The state for the program that takes over."""
        if self._metrics is None or self._lock is None:
            return None
        return KeptMetrics(str(self._metrics.directory), self._lock)

    def environment(self, settings: Settings) -> dict[str, str]:
        """The environment by which a generation made from these settings finds the directory."""
        if self._metrics is None or not settings.metrics.application:
            return {}
        return {VARIABLE: str(self._metrics.workers)}

    def tidy(self) -> None:
        """A process has exited: see to the files that it has left, by and by."""
        if self._metrics is not None:
            self._submit(partial(_tidy, self._metrics))

    async def collect(self) -> Sequence[Metric]:
        """The application's metrics; none if they are not wanted, or cannot be read in time."""
        if self._metrics is None or not self._is_shown:
            return ()
        try:
            async with asyncio.timeout(LIMIT):
                return await asyncio.wrap_future(self._submit(self._metrics.collect))
        except (TimeoutError, OSError, ValueError) as error:
            reason = str(error) or f"they were not read within {LIMIT:g} s"
            get_logger("appserver.master").warning("application metrics left out", reason=reason)
            return ()

    def _submit(self, work: Callable[[], T]) -> Future[T]:
        """Have something done in the thread, one after the other.

        The thread is a daemon, unlike those of an executor: if it hangs in the files, the program ends nevertheless. Where the
        kernel has no thread, that is an OSError of the future.
        """
        future: Future[T] = Future()
        try:
            self._start_thread()
        except RuntimeError as error:
            future.set_exception(BlockingIOError(errno.EAGAIN, str(error)))
        else:
            self._work.put((work, future))
        return future

    def _start_thread(self) -> None:
        if self._thread is None:
            thread = threading.Thread(target=self._run, name="appserver-metrics", daemon=True)
            thread.start()
            self._thread = thread

    def _run(self) -> None:
        while True:
            work, future = self._work.get()
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(work())
                except Exception as error:  # noqa: BLE001  # it is for whoever waits
                    future.set_exception(error)

    def settle(self) -> None:
        """Wait until nothing is half done: the program is about to be replaced."""
        if self._metrics is not None:
            with contextlib.suppress(OSError):  # TimeoutError is one
                self._submit(lambda: None).result(LIMIT)

    def close(self) -> None:
        """Remove it all: the server has ended."""
        if self._metrics is not None:
            _remove_tree(self._metrics.directory)
        if self._lock is not None:
            os.close(self._lock)


def _tidy(metrics: ApplicationMetrics) -> None:
    try:
        metrics.merge_the_dead()
    except OSError as error:
        get_logger("appserver.master").warning("application metrics not merged", reason=str(error))


def _places() -> list[Path]:
    """The places to try for the directory: memory first, as the application writes there with every request."""
    return [MEMORY, Path(tempfile.gettempdir())]


def _make_directory() -> Path:
    """Make a directory of our own, and remove those of servers that were killed."""
    refusal: OSError | None = None
    for place in _places():
        _remove_leftovers(place)
        try:
            return Path(tempfile.mkdtemp(prefix=NAME, dir=place))
        except OSError as error:
            refusal = error
    assert refusal is not None
    raise refusal


def _remove_tree(directory: Path) -> None:
    """Remove a directory; one that workers have nested too deeply is left, as far as it is too deep (Python up to 3.12)."""
    with contextlib.suppress(RecursionError):
        shutil.rmtree(directory, ignore_errors=True)


def _remove_leftovers(place: Path) -> None:
    """Remove the directories of this user that no living process holds."""
    for directory in place.glob(f"{NAME}*"):
        with contextlib.suppress(OSError):
            lock = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                found = os.fstat(lock)
                if found.st_uid != os.geteuid() or time.time() - found.st_mtime < TOO_YOUNG:
                    continue
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _remove_tree(directory)
            finally:
                os.close(lock)
