"""The end of a worker: what any Python program does at its end, for a bounded time, and then the end of the process.

    threads and executors → functions of atexit → files → os._exit, by the caller

The interpreter itself is not taken apart, but what an application counts on at that moment is done: jobs and threads that are
no daemons are waited for, functions registered with `atexit` run (`multiprocessing` ends or waits for its children in one of
them), files are closed, temporary ones removed. All of it may hang, so a thread watches. When the time is over it names what
is left, ends the children, and then the process.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import multiprocessing
import multiprocessing.process
import os
import sys
import threading
import time
import traceback
import weakref
from collections.abc import Callable

from appserver.telemetry.logs import get_logger
from appserver.telemetry.task_stacks import threads_waited_for
from appserver.worker.files import close_open_files, flush_streams, remove_temporary_files

# Time that is always left for the end, in seconds, however long the drain before it has taken.
EXIT_GRACE = 1.0

# Time for children to end when they are told to, in seconds.
CHILD_GRACE = 0.5


class Ending:
    """The end of a worker. To be made right after the fork, before the application is imported unless it has been already."""

    def __init__(self, farewell: Callable[[], None]) -> None:
        """`farewell` is called last, from a thread if time has run out."""
        self._farewell = farewell
        self._over = threading.Event()
        self._step = ""
        # Finalizers of objects that the import in the zygote has made must not run here: the other workers still use, for
        # example, a temporary directory of theirs, and the zygote cleans it up.
        for finalizer in list(getattr(weakref.finalize, "_registry", ())):
            finalizer.atexit = False
        # The children that it has started are the zygote's as well. This process cannot wait for them, and at its end would
        # terminate those that are daemons.
        multiprocessing.process._children.clear()  # type: ignore[attr-defined]  # as `multiprocessing` does in its own children

    def run(self, limit: float, code: int) -> None:
        """Do what is done at the end of any Python program; after `limit` seconds end the process, with this exit code."""
        with contextlib.suppress(RuntimeError):  # no thread is to be had; the master ends what takes too long
            threading.Thread(target=self._watch, args=(limit, code), name="appserver-exit", daemon=True).start()
        try:
            self._do("threads", threading._shutdown)  # type: ignore[attr-defined]  # what Python itself calls
            self._do("functions registered with atexit", atexit._run_exitfuncs)
            self._do("files", self._close_files)
        finally:
            self._over.set()
            self._farewell()

    def _do(self, step: str, function: Callable[[], object]) -> None:
        self._step = step
        try:
            function()
        except BaseException as error:  # noqa: BLE001  # as Python does, which goes on
            get_logger("appserver.worker").error("exception at the end", step=step, exc_info=error)

    def _close_files(self) -> None:
        # Those that the import in the zygote has made are frozen, so they are not seen: others use them.
        remove_temporary_files()
        gc.unfreeze()
        close_open_files()

    def _watch(self, limit: float, code: int) -> None:
        if self._over.wait(limit):
            return
        children = multiprocessing.active_children()
        get_logger("appserver.worker").warning(
            "exit cut off",
            reason=f"took longer than what was left of workers.graceful_timeout ({limit:.1f} s)",
            step=self._step,
            threads=threads_waited_for(),
            children=[f"{child.name} (pid {child.pid})" for child in children],
            stack="".join(traceback.format_stack(sys._current_frames()[threading.main_thread().ident or 0])),
        )
        _end_children(children)
        flush_streams()
        self._farewell()
        os._exit(code)


def end_zygote() -> None:
    """Do what is to be done at the end of a zygote, after that of its workers."""
    run_exit_functions()
    gc.unfreeze()
    remove_temporary_files()


def run_exit_functions() -> None:
    """Do the least that an application may count on at the end of any program, in a process that ends otherwise."""
    atexit._run_exitfuncs()
    flush_streams()


def _end_children(children: list[multiprocessing.process.BaseProcess]) -> None:
    """Tell children to end, and kill those that do not."""
    for child in children:
        with contextlib.suppress(Exception):
            child.terminate()
    deadline = time.monotonic() + CHILD_GRACE
    while time.monotonic() < deadline and any(_runs(child.pid) for child in children):
        time.sleep(0.01)
    for child in children:
        with contextlib.suppress(Exception):
            child.kill()


def _runs(pid: int | None) -> bool:
    """Whether a child has not ended; it is left to be reaped, by whoever has this process's children then."""
    try:
        return pid is not None and os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None
    except ChildProcessError:
        return False
