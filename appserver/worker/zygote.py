"""The zygote: imports once, forks often."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import faulthandler
import gc
import os
import select
import signal
import sys
import time
from collections.abc import Callable, Sequence

from appserver import leftovers
from appserver.asgi.loader import import_application
from appserver.asgi.tracebacks import examine
from appserver.asgi.types import ASGIApplication
from appserver.errors import AppserverError
from appserver.settings import Settings
from appserver.supervision.events import Forked, ForkRefused
from appserver.telemetry.log_config import LogConfig, application_logging
from appserver.telemetry.logs import LogOutput, configure, get_logger
from appserver.telemetry.scoreboard import Scoreboard
from appserver.telemetry.structured import make_logger  # noqa: F401 - which loggers import late: here it is once for all workers
from appserver.titles import call_zygote
from appserver.tls import Material, ServerTLS
from appserver.worker import obstacles, privileges, process
from appserver.worker.children import Guard, ignore_signal
from appserver.worker.failure import describe_bug, describe_failure
from appserver.worker.files import flush_open_files, flush_streams, write_lines_at_once
from appserver.worker.messages import (
    STACKS_SIGNAL,
    Channel,
    Fork,
    Imported,
    PreloadGivenUp,
    RenewTLS,
    ReopenLogs,
    ZygoteBoot,
    close_all,
)
from appserver.worker.orphans import adopt_nobody, exits

# How long workers get, on top of their own drain, before a zygote that has lost its master kills them. In seconds.
ORPHAN_MARGIN = 5.0

# A master that has died is gone so many seconds after the end-of-file on its channels. One that lives waits as long for a zygote
# whose workers have left processes running.
DEATH_TIME = 0.2


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
        self._scoreboard = Scoreboard.attach(boot.scoreboard, boot.layout)
        self._application: ASGIApplication | None = None
        self._workers: list[int] = []  # pidfds
        self._log_output: LogOutput | None = None
        self._tls: ServerTLS | None = None
        self._material = ""  # as JSON: what is still to be used

    def run(self) -> int:
        """Boot, then fork workers as asked until the master closes the channel; returns the exit code."""
        _ignore_signals()
        if self._boot.stacks >= 0:
            # Until the worker has a file of its own, its stacks go here, too: without a handler the signal would end it.
            faulthandler.register(STACKS_SIGNAL, file=self._boot.stacks, all_threads=True)
            faulthandler.enable(file=self._boot.stacks, all_threads=True)
        write_lines_at_once()
        self._guard = Guard(f"appserver: child of zygote g{self._boot.generation}")
        self._guard.keep(self._descriptors)
        self._guard.stand()
        for fd in self._descriptors():
            os.set_inheritable(fd, False)
        gc.set_threshold(COLLECTOR_THRESHOLD, *gc.get_threshold()[1:])
        call_zygote(self._boot.generation)
        privileges.leave_terminal(self._settings.workers)
        try:
            self._log_output = configure(self._settings.logging, process="zygote", generation=self._boot.generation)
            if self._boot.tls is not None:
                # Once for all workers: they share what resumes a session, too (RFC 8446 section 2.2).
                self._tls = ServerTLS(
                    self._settings.tls, Material.load(self._boot.tls), http2=self._settings.http2.enabled
                )
            # While everything that appserver needs may still be read.
            self._log_config = LogConfig.read(self._settings.logging)
            self._make_loop = process.loop_factory(self._settings.workers.loop)
            privileges.drop(self._settings.workers)
            imported = self._preload()
        except AppserverError as error:
            self._channel.tell(describe_failure(error))
            return error.exit_code
        except Exception as error:  # noqa: BLE001 - a bug of ours has to reach the master as well, or it waits for boot_timeout
            self._channel.tell(describe_bug(error))
            return AppserverError.exit_code
        self._channel.tell(imported)
        if isinstance(imported, Imported):
            self._serve()
        self._channel.close()
        return 0

    def _descriptors(self) -> list[int]:
        """The resources of a zygote that only its workers may have."""
        stacks = [] if self._boot.stacks < 0 else [self._boot.stacks]
        return [self._channel.fileno(), *stacks, *self._boot.descriptors()]

    def _preload(self) -> Imported | PreloadGivenUp:
        """Import the application if `preload` is on; give up if that leaves behind what does not survive a fork.

        That is a thread, an event loop, or a connection, which all workers would read from (see `obstacles`). The only clean
        state is that of a process which has not imported the application.
        """
        if not (self._may_preload and self._settings.workers.preload):
            return Imported(preloaded=False)
        before = obstacles.Descriptors.now()
        application = self._import()
        adopt_nobody()
        flush_open_files()
        if found := obstacles.find(before):
            get_logger("appserver.worker").warning(
                "preload given up",
                reason="what the application opens or starts while it is imported does not survive a fork",
                obstacles=found,
                advice="open and start it in the lifespan start-up, or set workers.preload = false",
            )
            return PreloadGivenUp()
        self._application = application
        # The objects made so far are shared with every worker; what the collector never looks at is never copied.
        gc.collect()
        gc.freeze()
        return Imported(preloaded=True)

    def _import(self) -> ASGIApplication:
        """Import the application as a worker would, with an event loop to find; it stays open if the application keeps it."""
        loop = self._make_loop()
        loop.run_until_complete(asyncio.sleep(0))  # what uvloop makes when it runs for the first time refers to it
        references = sys.getrefcount(loop)
        try:
            return import_application(self._settings.app, loop, application_logging(self._log_config))
        finally:
            asyncio.set_event_loop(None)
            gc.collect()
            if sys.getrefcount(loop) <= references:
                loop.close()

    def _serve(self) -> None:
        while (received := self._channel.receive()) is not None:
            message, fds = received
            if isinstance(message, Fork):
                self._renew_late()
                self._fork(message, fds)
            elif isinstance(message, ReopenLogs) and self._log_output is not None:
                self._log_output.reopen()
            elif isinstance(message, RenewTLS):
                self._material = message.read(fds)
                self._renew_late()
        self._outlive_workers()

    def _renew_late(self) -> None:
        """Use the certificates that have come last, unless that is done, or there are no descriptors left for it."""
        if self._material and self._tls is not None:
            with contextlib.suppress(OSError):
                self._tls.renew(Material.load(self._material))
                self._material = ""

    def _fork(self, order: Fork, fds: Sequence[int]) -> None:
        """Fork a worker, or say why there is none: the application that is preloaded may have taken all descriptors."""
        try:
            fd, stacks = fds
            reader, writer = os.pipe()
        except (ValueError, OSError):
            close_all(fds)
            self._channel.tell(ForkRefused(order.worker, os.strerror(errno.EMFILE)))
        else:
            self._fork_twice(order, Channel.from_fd(fd), stacks, reader, writer)

    def _fork_twice(self, order: Fork, channel: Channel, stacks: int, reader: int, writer: int) -> None:
        """The process in between exits at once, and the worker becomes a child of the subreaper."""
        flush_streams()
        try:
            with self._guard.lowered():
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
            # An application that ignores SIGCHLD has the kernel reap it, and one that handles it may have done so itself.
            with contextlib.suppress(ChildProcessError):
                os.waitpid(between, 0)
        if answer < 0:
            self._channel.tell(ForkRefused(order.worker, os.strerror(-answer)))
            return
        self._workers = [pidfd for pidfd in self._workers if not _has_exited(pidfd)]
        with contextlib.suppress(OSError):  # it has died, and been reaped already; or there is no descriptor left
            self._workers.append(os.pidfd_open(answer))
        self._channel.tell(Forked(order.worker, answer))

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
            self._boot,
            self._settings,
            self._scoreboard,
            self._make_loop,
            self._log_config,
            self._application,
            self._tls,
        )
        exit_with(lambda: process.run(order, channel, stacks, inheritance), flush_streams)

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
        if leftovers.of_this_group() and exits(self._boot.master, DEATH_TIME):
            leftovers.end(leftovers.of_this_group)  # the master would have: it has died


def exit_with(body: Callable[[], int], at_end: Callable[[], None]) -> None:
    """End this process with the code that `body` returns, whatever happens in it; `at_end` comes in any case.

    A worker must never unwind into the zygote's frames, by SystemExit for example. And nobody needs the interpreter to be
    taken apart, which would be the longest part of a stop.
    """
    code = 70
    try:
        code = body()
    except BaseException as error:  # noqa: BLE001 - see above
        print(*examine(error).format(), sep="", end="", file=sys.stderr)  # noqa: T201
    finally:
        try:
            at_end()
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


def _ignore_signals() -> None:
    """A zygote ends by its channel only: a service manager that signals the whole group must not cut the drain short.

    A handler that does nothing, not SIG_IGN: that would be inherited by every program that the application starts.
    """
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, ignore_signal)
