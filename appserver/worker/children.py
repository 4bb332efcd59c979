"""Putting the children right that an application forks from a worker: what they must not have of it.

`os.fork`, and with it `multiprocessing`, copies a worker with all that it holds. A child that kept its signal handlers would
stop the worker when it is told to end itself; one that kept the sockets would keep clients waiting for the end of their
responses, and the port taken after the server has gone; one that kept the epoll instance would change which connections
the worker hears of. A `Guard` knows what a process has of all that, and takes it from its children.

A descriptor is not closed in a child but made to refer to /dev/null: whatever object holds it there closes it one day, and
must not meet somebody else's file under that number. Nothing of this is needed for programs that are started
(`subprocess`): signal handlers do not survive an exec, and the descriptors are closed by it.
"""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from types import FrameType

from appserver.titles import call_child
from appserver.worker.messages import STACKS_SIGNAL

STANDARD_ERROR = 2


class Guard:
    """The resources of a process that its children must not have. `stand` makes it the one of this process."""

    def __init__(self, title: str) -> None:
        """`title` is what children are called in the list of processes, unless they give themselves another name."""
        self._title = title
        self._null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        self._sources: list[Callable[[], Iterable[int]]] = []
        self._farewells: list[Callable[[], None]] = []

    def stand(self) -> None:
        """Put right what is forked from now on."""
        global _standing  # noqa: PLW0603  (as above)
        _standing = self

    def keep(self, descriptors: Callable[[], Iterable[int]]) -> None:
        """Keep descriptors from children; they are asked for in the child, so the answer is of the moment of the fork."""
        self._sources.append(descriptors)

    def on_fork(self, farewell: Callable[[], None]) -> None:
        """Have something done in children, which must neither wait nor fail."""
        self._farewells.append(farewell)

    @contextlib.contextmanager
    def lowered(self) -> Iterator[None]:
        """Let the fork within pass: its child is to have everything. In that child the guard is down for good."""
        global _standing  # noqa: PLW0603  (as above)
        _standing = None
        process = os.getpid()
        try:
            yield
        finally:
            if os.getpid() == process:
                _standing = self
            else:
                os.close(self._null)

    def put_right(self) -> None:
        """Take from this process, which has just been forked, what is its parent's."""
        reset_signals()
        faulthandler.unregister(STACKS_SIGNAL)
        faulthandler.enable(file=STANDARD_ERROR, all_threads=True)
        for source in self._sources:
            for fd in source():
                os.dup2(self._null, fd, inheritable=False)
        os.close(self._null)
        for farewell in self._farewells:
            farewell()
        if sys.version_info < (3, 12):  # later ones do it themselves
            # With a policy of its own, a child that asks for an event loop gets one of its own.
            asyncio.set_event_loop_policy(type(asyncio.get_event_loop_policy())())
        call_child(self._title)


_standing: Guard | None = None
# The signal mask of each thread that is forking, to be restored. Other threads may run before it has forked.
_masks: dict[int, set[signal.Signals | int]] = {}


def _hold_signals() -> None:
    """Keep signals from a child until it has been put right.

    One that comes before, as in a pool which is ended at once, would be written into the parent's event loop.
    """
    if _standing is not None:
        _masks[threading.get_ident()] = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())


def _release_signals() -> None:
    if (mask := _masks.pop(threading.get_ident(), None)) is not None:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _put_child_right() -> None:
    """Once only: what the child forks in its turn has nothing of the worker's any more."""
    global _standing
    guard, _standing = _standing, None
    try:
        if guard is not None:
            guard.put_right()
    finally:
        _release_signals()


os.register_at_fork(before=_hold_signals, after_in_parent=_release_signals, after_in_child=_put_child_right)


def ignore_signal(number: int, frame: FrameType | None) -> None:
    """A handler that does nothing. SIG_IGN would be inherited by every program that the application starts."""


def reset_signals() -> None:
    """Give the signals their defaults that this process handles for appserver or for an event loop.

    What the application has set up with `signal.signal` stays, as in the children of any program.
    """
    signal.set_wakeup_fd(-1)  # it leads into the parent's event loop
    for number in signal.valid_signals():
        handler = signal.getsignal(number)
        if number == signal.SIGINT and _is_ours(handler):
            signal.signal(number, signal.default_int_handler)
        elif _is_ours(handler) or (number == signal.SIGCHLD and handler is None):  # None: set in C, by uvloop
            signal.signal(number, signal.SIG_DFL)


def _is_ours(handler: object) -> bool:
    """Whether it is `ignore_signal` or what stands in for the handlers of an event loop; those do not run in a child."""
    return (
        handler is ignore_signal
        or getattr(handler, "__module__", None) == "asyncio.unix_events"
        or isinstance(getattr(handler, "__self__", None), asyncio.AbstractEventLoop)
    )
