"""The zygote: imports once, forks often."""

from __future__ import annotations

import asyncio
import errno
import gc
import os
import select
import signal
import threading
import time
import traceback
from collections.abc import Callable, Sequence

from setproctitle import setproctitle

from appserver.asgi.loader import load_application
from appserver.asgi.types import ASGIApplication
from appserver.errors import AppserverError
from appserver.settings import Settings
from appserver.telemetry.logs import LogOutput, configure, get_logger
from appserver.telemetry.scoreboard import Scoreboard
from appserver.tls import Material, ServerTLS
from appserver.worker import privileges, process
from appserver.worker.failure import describe_bug, describe_failure
from appserver.worker.messages import (
    Channel,
    Fork,
    Forked,
    ForkRefused,
    Imported,
    PreloadGivenUp,
    RenewTLS,
    ReopenLogs,
    ZygoteBoot,
    read_file,
)

# How long workers get, on top of their own drain, before a zygote that has lost its master kills them. In seconds.
ORPHAN_MARGIN = 2.0


# Young objects that may gather before the collector looks at them. At Python's default, 700 (2,000 since 3.13), a worker
# with some dozens of connections reaches it with nothing but requests in progress, over and over again; all of that is
# freed by reference counting. Set before the application is imported, so that its own wish prevails.
COLLECTOR_THRESHOLD = 10_000


class Zygote:
    """The zygote of one generation. `run` is its whole life."""

    def __init__(self, channel: Channel, boot: ZygoteBoot, *, may_preload: bool) -> None:
        """`may_preload` is false where the zygote before this one has given it up."""
        self._channel = channel
        self._boot = boot
        self._may_preload = may_preload
        self._settings = Settings.model_validate_json(boot.settings)
        self._scoreboard = Scoreboard.attach(boot.scoreboard)
        self._application: ASGIApplication | None = None
        self._workers: list[int] = []  # pidfds
        self._log_output: LogOutput | None = None
        self._tls: ServerTLS | None = None

    def run(self) -> int:
        """Boot, then fork workers as asked until the master closes the channel; returns the exit code."""
        _ignore_signals()
        gc.set_threshold(COLLECTOR_THRESHOLD, *gc.get_threshold()[1:])
        setproctitle(f"appserver: zygote g{self._boot.generation}")
        try:
            self._log_output = configure(self._settings.logging, process="zygote", generation=self._boot.generation)
            if self._boot.tls is not None:
                # Once for all workers: they share what resumes a session, too (RFC 8446 section 2.2).
                self._tls = ServerTLS(self._settings.tls, Material.load(self._boot.tls))
            # While everything that appserver needs may still be read.
            self._make_loop = process.loop_factory(self._settings.workers.loop)
            privileges.drop(self._settings.workers)
            imported = self._preload()
        except AppserverError as error:
            self._channel.send(describe_failure(error))
            return error.exit_code
        except Exception as error:  # noqa: BLE001 - a bug of ours has to reach the master as well, or it waits for boot_timeout
            self._channel.send(describe_bug(error))
            return AppserverError.exit_code
        for fd in (self._channel.fileno(), self._boot.scoreboard, *(grant.fd for grant in self._boot.listeners)):
            os.set_inheritable(fd, False)
        self._channel.send(imported)
        if isinstance(imported, Imported):
            self._serve()
        self._channel.close()
        return 0

    def _preload(self) -> Imported | PreloadGivenUp:
        """Import the application if `preload` is on; give up if that leaves behind what does not survive a fork.

        A thread does not, but the locks that it holds do: a worker forked from such a zygote may hang at any time. An
        event loop would be the same one in every worker. The only clean state is that of a process which has not imported
        the application.
        """
        if not (self._may_preload and self._settings.workers.preload):
            return Imported(preloaded=False)
        application = load_application(self._settings.app)
        if obstacles := _threads() or _event_loops():
            get_logger("appserver.worker").warning(
                "preload given up",
                reason="what the application starts while it is imported does not survive a fork",
                obstacles=obstacles,
                advice="start it in the lifespan start-up, or set workers.preload = false",
            )
            return PreloadGivenUp()
        self._application = application
        # The objects made so far are shared with every worker; what the collector never looks at is never copied.
        gc.collect()
        gc.freeze()
        return Imported(preloaded=True)

    def _serve(self) -> None:
        while (received := self._channel.receive()) is not None:
            message, fds = received
            if isinstance(message, Fork):
                self._fork(message, Channel.from_fd(fds[0]), stacks=fds[1])
            elif isinstance(message, ReopenLogs) and self._log_output is not None:
                self._log_output.reopen()
            elif isinstance(message, RenewTLS):
                material = Material.load(read_file(fds[0]))
                if self._tls is not None:
                    self._tls.renew(material)
        self._outlive_workers()

    def _fork(self, order: Fork, channel: Channel, stacks: int) -> None:
        """Fork twice: the process in between exits at once, and the worker becomes a child of the subreaper."""
        reader, writer = os.pipe()
        try:
            between = os.fork()
        except OSError as error:
            between = -1
            os.write(writer, b"-%d" % (error.errno or errno.EAGAIN))
        if between == 0:
            self._fork_again(order, channel, stacks, reader, writer)
        os.close(writer)
        channel.close()
        os.close(stacks)
        answer = int(os.read(reader, 32) or b"-%d" % errno.EAGAIN)
        os.close(reader)
        if between > 0:
            os.waitpid(between, 0)
        if answer < 0:
            self._channel.send(ForkRefused(order.worker, os.strerror(-answer)))
            return
        self._workers = [pidfd for pidfd in self._workers if not _has_exited(pidfd)]
        self._workers.append(os.pidfd_open(answer))
        self._channel.send(Forked(order.worker, answer))

    def _fork_again(self, order: Fork, channel: Channel, stacks: int, reader: int, writer: int) -> None:
        """The process in between: forks the worker, reports its pid or the error, exits. Never returns."""
        try:
            pid = os.fork()
        except OSError as error:
            os.write(writer, b"-%d" % (error.errno or errno.EAGAIN))
            os._exit(1)
        if pid > 0:
            os.write(writer, b"%d" % pid)
            os._exit(0)
        os.close(reader)
        os.close(writer)
        self._channel.close()
        for pidfd in self._workers:
            os.close(pidfd)
        inheritance = process.Inheritance(
            self._boot, self._settings, self._scoreboard, self._make_loop, self._application, self._tls
        )
        exit_with(lambda: process.run(order, channel, stacks, inheritance))

    def _outlive_workers(self) -> None:
        """The master let go: wait for the workers that are left, and kill those that do not come to an end.

        After an ordinary retirement they have all exited before. If the master died, they drain by themselves, and
        nobody else is left to end those that cannot.
        """
        workers = self._settings.workers
        patience = self._settings.shutdown.linger + workers.graceful_timeout + workers.lifespan_timeout + ORPHAN_MARGIN
        deadline = time.monotonic() + patience
        remaining = [pidfd for pidfd in self._workers if not _has_exited(pidfd)]
        while remaining and (left := deadline - time.monotonic()) > 0:
            _wait_for_exit(remaining, left)
            remaining = [pidfd for pidfd in remaining if not _has_exited(pidfd)]
        for pidfd in remaining:
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)


def exit_with(body: Callable[[], int]) -> None:
    """End this process with the code that `body` returns, whatever happens in it.

    A worker must never unwind into the zygote's frames, by SystemExit for example. And nobody needs the interpreter to be
    taken apart, which would be the longest part of a stop.
    """
    code = 70
    try:
        code = body()
    except BaseException:  # noqa: BLE001 - see above
        traceback.print_exc()
    finally:
        try:
            process.run_exit_functions()
        finally:
            os._exit(code)


def _wait_for_exit(pidfds: Sequence[int], seconds: float) -> bool:
    """Wait until one of these processes is gone; False if none is in time."""
    poll = select.poll()
    for pidfd in pidfds:
        poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(seconds * 1000))


def _has_exited(pidfd: int) -> bool:
    """Whether the process behind `pidfd` is gone; closes the descriptor if so."""
    if gone := _wait_for_exit([pidfd], 0):
        os.close(pidfd)
    return gone


def _threads() -> list[str]:
    """The threads of this process but the main one; those of C libraries the kernel can only count."""
    threads = [f"thread {thread.name!r}" for thread in threading.enumerate() if thread is not threading.main_thread()]
    unnamed = len(os.listdir("/proc/self/task")) - 1
    return threads or ([f"{unnamed} threads started outside Python"] if unnamed else [])


def _event_loops() -> list[str]:
    """The open event loops. Types are asked, not instances: those may be proxies that come to life when they are asked."""
    loops = (found for found in gc.get_objects() if issubclass(type(found), asyncio.AbstractEventLoop))
    return [f"event loop {loop!r}" for loop in loops if not loop.is_closed()]


def _ignore_signals() -> None:
    """A zygote ends by its channel only: a service manager that signals the whole group must not cut the drain short.

    A handler that does nothing, not SIG_IGN: that would be inherited by every program that the application starts.
    """
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, lambda *_: None)
