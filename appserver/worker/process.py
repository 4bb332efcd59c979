"""A worker: one life from the fork to the exit.

    import → lifespan start-up → accept → Ready … stop → finish what runs → lifespan shutdown → exit

Three things end a worker in an orderly way, and all three set `_stop`: the master's `Drain`, the end-of-file on the
channel (the master is gone), and SIGTERM (somebody ends this one worker).
"""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import math
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from appserver.asgi.lifespan import Lifespan
from appserver.asgi.loader import import_application
from appserver.asgi.trio import TrioAdapter
from appserver.asgi.types import ASGIApplication
from appserver.asgi.wsgi import WSGIAdapter
from appserver.engine import session as _session  # noqa: F401 - in time: imported by the zygote, shared by the workers
from appserver.engine.cutoff import end_lifespan, report_cancelled
from appserver.engine.listener import Listener
from appserver.engine.server import Server
from appserver.errors import AppserverError, StartupError
from appserver.settings import Settings
from appserver.telemetry.log_config import LogConfig, application_logging
from appserver.telemetry.logs import get_logger
from appserver.telemetry.scoreboard import Scoreboard, WorkerState
from appserver.telemetry.task_stacks import describe_tasks
from appserver.titles import call_worker
from appserver.tls import ServerTLS
from appserver.worker.children import Guard
from appserver.worker.descriptors import Reserve
from appserver.worker.ending import EXIT_GRACE, Ending
from appserver.worker.failure import describe_bug, describe_failure
from appserver.worker.instruments import Instruments
from appserver.worker.messages import (
    STACKS_SIGNAL,
    BootFailed,
    Channel,
    Drain,
    Fork,
    Message,
    Ready,
    RenewTLS,
    ReopenLogs,
    ReportTasks,
    StoppedAccepting,
    TasksReported,
    ZygoteBoot,
)
from appserver.worker.obstacles import Descriptors, shared_state
from appserver.worker.orphans import shut_down, when_exited
from appserver.worker.renewal import Renewal

# When nobody can connect any more, clients in the middle of a TCP handshake still get to its end: so many seconds later
# a worker looks into the backlog for the last time. In a reload there is no such moment: the next worker takes them.
HANDSHAKE_TIME = 0.1

# Time for cancelled tasks to end, in seconds. Part of the time that the master allows for a drain.
CANCELLATION_GRACE = 1.0

# What both event loops say to a program that has called `stop` of its loop.
LOOP_STOPPED = "Event loop stopped before Future completed"

# glibc takes a block of 128 KiB or more from the kernel, and gives each back as soon as it is free, as it does with the end
# of its heap. The next block has to be made of new pages then, which the kernel clears one by one: for an upload, which
# event loops read by the quarter of a MiB, that takes twice as long as all the rest. It does so only beyond the size of the
# largest block that was ever freed, and twice that for the heap (mallopt(3), M_MMAP_THRESHOLD and M_TRIM_THRESHOLD).
LARGE_BLOCK = 4 * 1024 * 1024

# How WebSocket sessions are closed (RFC 6455 section 7.4, and its registry). 1012 asks the client to come again: there
# are other workers.
FAREWELLS = {
    "reload": (1012, "service restart"),
    "recycle": (1012, "service restart"),
    "scale_down": (1012, "service restart"),
    "stop": (1001, "server is stopping"),
}


@dataclass(frozen=True, slots=True)
class Inheritance:
    """The objects that a zygote has ready for its workers: made once, its memory is shared by all, and a fork is all that is left.

    `application` is None unless it is preloaded, `tls` unless a listener encrypts.
    """

    boot: ZygoteBoot
    settings: Settings
    scoreboard: Scoreboard
    make_loop: Callable[[], asyncio.AbstractEventLoop]
    log_config: LogConfig
    application: ASGIApplication | None
    tls: ServerTLS | None = None


def run(order: Fork, channel: Channel, stacks: int, inherited: Inheritance) -> int:
    """Live as the worker that `order` asks for; returns the exit code.

    `stacks` is the file for the stacks of a blocked or crashing worker.
    """
    # Both work while Python code does not: the one when the loop is blocked, the other on SIGSEGV and its kind.
    faulthandler.register(STACKS_SIGNAL, file=stacks, all_threads=True)
    faulthandler.enable(file=stacks, all_threads=True)
    if inherited.boot.stacks >= 0:
        os.close(inherited.boot.stacks)
    bytes(LARGE_BLOCK)  # and freed; no page of it has been touched
    generation = inherited.boot.generation
    call_worker(order.number, generation)
    guard = Guard(f"appserver: child of worker {order.number} g{generation}")
    guard.stand()
    try:
        slot = inherited.scoreboard.slot(order.number - 1)
        instruments = Instruments(inherited.settings, order, generation, slot)
        guard.on_fork(instruments.forget)
        before = Descriptors.now()
        loop = inherited.make_loop()
        held = (channel.fileno(), stacks, *inherited.boot.descriptors(), *shared_state(before))
        guard.keep(lambda: held)
    except AppserverError as error:
        channel.tell(failure := describe_failure(error))
        return failure.exit_code
    except Exception as error:  # noqa: BLE001 - a bug of ours has to reach the master, or it waits for boot_timeout
        channel.tell(failure := describe_bug(error))
        return failure.exit_code
    asyncio.set_event_loop(loop)
    worker = Worker(loop, channel, inherited.settings, inherited.boot, instruments, inherited.tls, guard)
    ending = Ending(instruments.close)
    code = AppserverError.exit_code
    try:
        code = worker.live(inherited.application, inherited.log_config)
    finally:
        ending.run(worker.left(), code)
    return code


def loop_factory(name: str) -> Callable[[], asyncio.AbstractEventLoop]:
    """The maker of event loops for `workers.loop`: "auto" is uvloop where it is installed. Raises StartupError."""
    if name == "asyncio":
        return asyncio.new_event_loop
    try:
        import uvloop
    except ImportError as error:
        if name == "uvloop":
            raise StartupError(f'workers.loop = "uvloop": it cannot be imported ({error})') from error
        return asyncio.new_event_loop
    return uvloop.new_event_loop


class Worker:
    """The part of a worker that runs inside its event loop."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        channel: Channel,
        settings: Settings,
        boot: ZygoteBoot,
        instruments: Instruments,
        tls: ServerTLS | None,
        guard: Guard,
    ) -> None:
        self._tls = tls
        self._guard = guard
        self._pid = os.getpid()
        self._loop = loop
        self._channel = channel
        self._settings = settings
        self._boot = boot
        self._instruments = instruments
        self._log = get_logger("appserver.worker")
        self._stop: asyncio.Future[Drain] = loop.create_future()
        self._drained_by = -math.inf  # until then it may drain, as time.monotonic()
        self._accepting = True
        self._orphaned = False
        self._reserve = Reserve()
        self._renewal = Renewal(tls, loop, self._reserve)
        self._trio: TrioAdapter | None = None  # where the application runs, if it is written for trio
        self._exit_code = 0

    def left(self) -> float:
        """How many seconds are left for the end, of those for the drain."""
        return max(EXIT_GRACE, self._drained_by - time.monotonic())

    def live(self, application: ASGIApplication | None, log_config: LogConfig) -> int:
        """Run the event loop for a whole life (see `run`); returns the exit code.

        A task of the application that raises SystemExit takes the loop down with it (as asyncio has it), whatever is
        being served, and so does one that calls `loop.stop()`. It asks for the end of the process, and gets it, but in order.
        """
        self._channel.set_blocking(False)
        try:
            self._instruments.start(self._loop)
            self._loop.add_reader(self._channel.fileno(), self._receive)
            self._loop.add_signal_handler(
                signal.SIGTERM, self._stop_with, Drain("stop", self._settings.shutdown.linger)
            )
            if application is None:
                around = application_logging(log_config)
                application = import_application(self._settings.app, self._loop, around)
        except AppserverError as error:
            return self._fail(describe_failure(error))
        except Exception as error:  # noqa: BLE001 - a bug of ours has to reach the master, or it waits for boot_timeout
            return self._fail(describe_bug(error))
        life = self._loop.create_task(self.run(application))
        asyncio.tasks._unregister_task(life)  # an application that cancels all tasks means its own
        while True:
            try:
                return self._loop.run_until_complete(life)
            except (SystemExit, KeyboardInterrupt, RuntimeError) as error:
                stopped = isinstance(error, RuntimeError)
                if life.done() or os.getpid() != self._pid or (stopped and LOOP_STOPPED not in str(error)):
                    raise
                if not self._stop.done():
                    how = "it has stopped the event loop" if stopped else "in a task of its own"
                    trace = None if stopped else error
                    self._log.error("application ended the worker", detail=how, exc_info=trace)
                self._stop_with(Drain("stop", self._settings.shutdown.linger))
            except OSError as error:  # of the loop itself, which needs descriptors when it begins to run
                if life.done() or os.getpid() != self._pid:
                    raise
                life.cancel()
                return self._fail(describe_bug(error))

    async def run(self, application: ASGIApplication) -> int:
        """Start the application, serve until told to stop, drain; returns the exit code."""
        try:
            if isinstance(application, TrioAdapter):
                await self._start_trio(application)
            lifespan = Lifespan(application, self._settings.app.lifespan, get_logger("appserver.lifespan"))
            if not await self._start_up(lifespan):
                return 0
            server = self._serve(application, lifespan)
        except AppserverError as error:
            return self._fail(describe_failure(error))
        except Exception as error:  # noqa: BLE001 - a bug of ours has to reach the master, or it waits for boot_timeout
            return self._fail(describe_bug(error))
        self._instruments.slot.state = WorkerState.READY
        self._channel.tell(Ready())
        drain = await self._stop
        self._instruments.slot.state = WorkerState.DRAINING
        await self._finish(server, drain)
        await end_lifespan(lifespan, self._settings.workers.lifespan_timeout, CANCELLATION_GRACE, self._log)
        if self._trio is not None and not await self._trio.end(CANCELLATION_GRACE):
            self._log.warning("tasks of trio go on", stack=self._trio.describe_tasks(calls=True))
        await self._cancel_what_is_left()
        return self._exit_code

    async def _start_trio(self, adapter: TrioAdapter) -> None:
        before = Descriptors.now()
        await adapter.start(self._trio_crashed)
        self._trio = adapter
        held = shared_state(before)
        self._guard.keep(lambda: held)

    def _trio_crashed(self, error: BaseException) -> None:
        """Trio cannot run anything any more: end, and let the master know that it was a crash."""
        self._log.error("trio has crashed", advice="this worker ends, and is replaced", exc_info=error)
        self._exit_code = AppserverError.exit_code
        self._stop_with(Drain("stop", 0.0))

    async def _start_up(self, lifespan: Lifespan) -> bool:
        """Run the lifespan start-up; False if the worker was told to stop meanwhile."""
        startup = asyncio.create_task(lifespan.startup())
        waiting: set[asyncio.Future[Any]] = {startup, self._stop}
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        if startup.done():
            startup.result()
            return True
        startup.cancel()
        await lifespan.cancel(self._settings.workers.lifespan_timeout)
        return False

    def _serve(self, application: ASGIApplication, lifespan: Lifespan) -> Server:
        server = Server(
            application,
            http=self._settings.http,
            http2=self._settings.http2,
            websocket=self._settings.websocket,
            workers=self._settings.workers,
            root_path=self._settings.app.root_path,
            state=lifespan.state,
            slot=self._instruments.slot,
            access_log=self._instruments.access_log,
            logger=get_logger("appserver.engine"),
            on_exit=lambda: self._stop_with(Drain("stop", self._settings.shutdown.linger)),
            proxy=self._settings.proxy,
            request_id=self._settings.request_id,
            tls=self._tls,
        )
        self._instruments.server = server
        if isinstance(application, WSGIAdapter):
            application.report_to(self._instruments.slot)
        self._guard.keep(server.descriptors)
        server.start(
            [
                Listener.from_fd(grant.fd, grant.name, tls=grant.tls, proxy_protocol=grant.proxy_protocol)
                for grant in self._boot.listeners
            ]
        )
        return server

    async def _finish(self, server: Server, drain: Drain) -> None:
        """Drain the server; at `graceful_timeout`, say what is still running, and cancel it."""
        limit = self._settings.workers.graceful_timeout
        self._drained_by = time.monotonic() + limit
        server.begin_drain(
            drain.linger, FAREWELLS.get(drain.reason, FAREWELLS["stop"]), accepting=drain.reason == "stop"
        )
        if drain.reason == "stop":
            await asyncio.sleep(min(HANDSHAKE_TIME, limit))
            server.stop_accepting()
            self._accepting = False
            self._refuse_if_orphaned()
        self._channel.tell(StoppedAccepting())
        try:
            async with asyncio.timeout(limit):
                await server.wait_drained()
        except TimeoutError:
            report_cancelled(server, limit, self._log)
            server.cancel()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CANCELLATION_GRACE):
                    await server.wait_drained()
        server.close()

    async def _cancel_what_is_left(self) -> None:
        """Cancel the tasks that the application has left running, as `asyncio.run` does, but wait no longer than a moment."""
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=CANCELLATION_GRACE)
        await self._loop.shutdown_asyncgens()

    def _receive(self) -> None:
        with self._reserve.lent():
            try:
                received = self._channel.receive()
            except BlockingIOError:
                return
            self._obey(received)

    def _obey(self, received: tuple[Message, list[int]] | None) -> None:
        if received is None:
            # The lifeline. A master that lives may let go, too: of a worker whose zygote died before it had named it.
            self._loop.remove_reader(self._channel.fileno())
            self._stop_with(Drain("stop", self._settings.shutdown.linger))
            when_exited(self._boot.master, self._loop, self._master_gone)
        elif isinstance(received[0], Drain):
            self._stop_with(received[0])
        elif isinstance(received[0], ReopenLogs):
            self._instruments.reopen_logs()
        elif isinstance(received[0], RenewTLS):
            self._renewal.begin(received[0].read(received[1]))
        elif isinstance(received[0], ReportTasks) and received[1]:
            self._report_tasks(received[0], received[1][0])

    def _master_gone(self) -> None:
        self._log.warning("master is gone", advice="this worker finishes what it is serving, and exits")
        self._orphaned = True
        self._refuse_if_orphaned()

    def _refuse_if_orphaned(self) -> None:
        """Have the kernel refuse connections, as the master does in a stop, when workers take none any more.

        Until the last worker has gone, clients would be kept waiting for nobody, and the port kept from the next master.
        """
        if self._orphaned and not self._accepting:
            for grant in self._boot.listeners:
                if grant.bound_here:
                    shut_down(grant.fd)

    def _report_tasks(self, order: ReportTasks, file: int) -> None:
        with open(file, "w", encoding="utf-8", errors="replace") as output:
            output.write(describe_tasks(self._loop))
            if self._trio is not None:
                output.write(f"\n{self._trio.describe_tasks()}")
        self._channel.tell(TasksReported(order.serial))

    def _stop_with(self, drain: Drain) -> None:
        if not self._stop.done():
            self._stop.set_result(drain)

    def _fail(self, failure: BootFailed) -> int:
        self._channel.tell(failure)
        return failure.exit_code
