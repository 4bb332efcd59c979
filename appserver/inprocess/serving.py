"""One application, served by the event loop that runs: its lifespan, the engine, the access log."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable, Sequence

from appserver.asgi.lifespan import Lifespan
from appserver.asgi.trio import TrioAdapter
from appserver.asgi.types import ASGIApplication
from appserver.engine.cutoff import end_lifespan, report_cancelled
from appserver.engine.listener import Listener
from appserver.engine.server import Server
from appserver.errors import StartupError
from appserver.master.certificates import Certificates, CertificateWatch
from appserver.settings import Settings
from appserver.telemetry.access_log import AccessLog
from appserver.telemetry.logs import get_logger
from appserver.telemetry.scoreboard import Scoreboard, WorkerState
from appserver.telemetry.task_stacks import describe_stack
from appserver.tls import ServerTLS

# Seconds between two flushes of the access log.
FLUSH_INTERVAL = 0.1
# Requests and sessions that are named at most, where there are many.
MOST_NAMED = 100
# Time for cancelled tasks to end, in seconds.
CANCELLATION_GRACE = 1.0
GOING_AWAY = (1001, "server is stopping")


class Serving:
    """Serves from `start` to `stop`; both are to be called in the same event loop, and `stop` in any case."""

    def __init__(
        self,
        settings: Settings,
        application: ASGIApplication,
        listeners: Sequence[Listener],
        *,
        certificates: Certificates | None = None,
        on_exit: Callable[[], None] = lambda: None,
    ) -> None:
        """`on_exit` is called when the application raises SystemExit: `stop` should follow.

        Listeners with TLS need `certificates`, which are renewed when their files change.
        """
        self._settings = settings
        self._application = application
        self._trio = application if isinstance(application, TrioAdapter) else None
        self._listeners = listeners
        self._tls: ServerTLS | None = None
        self._watch: CertificateWatch | None = None
        if certificates is not None:
            self._tls = tls = ServerTLS(settings.tls, certificates.material, http2=settings.http2.enabled)
            self._watch = CertificateWatch(
                lambda: {1: certificates}, lambda _, material: tls.renew(material), get_logger("appserver.tls")
            )
        self._on_exit = on_exit
        self._scoreboard = Scoreboard.create(1, settings.metrics.buckets)
        self._slot = self._scoreboard.slot(0)
        self._slot.begin(pid=os.getpid(), generation=1)
        self._lifespan = Lifespan(application, settings.app.lifespan, get_logger("appserver.lifespan"))
        self._access_log = AccessLog(settings.access_log) if settings.access_log.enabled else None
        self._server: Server | None = None
        self._next_flush: asyncio.TimerHandle | None = None

    async def start(self) -> None:
        """Run the lifespan start-up, and accept connections.

        Raises StartupError if the application's start-up fails, or takes longer than `workers.boot_timeout`.
        """
        if self._trio is not None:
            await self._trio.start(self._trio_crashed)
        try:
            await self._start_up()
        except BaseException:
            await self._let_go()
            raise
        settings = self._settings
        self._server = Server(
            self._application,
            http=settings.http,
            http2=settings.http2,
            websocket=settings.websocket,
            workers=settings.workers,
            root_path=settings.app.root_path,
            state=self._lifespan.state,
            slot=self._slot,
            access_log=self._access_log,
            logger=get_logger("appserver.engine"),
            on_exit=self._on_exit,
            proxy=settings.proxy,
            request_id=settings.request_id,
            tls=self._tls,
        )
        self._server.start(self._listeners)
        self._slot.state = WorkerState.READY
        if self._watch is not None:
            self._watch.start(asyncio.get_running_loop())
        self._flush()

    async def _start_up(self) -> None:
        limit = self._settings.workers.boot_timeout
        try:
            async with asyncio.timeout(limit):
                await self._lifespan.startup()
        except TimeoutError:
            stack = "" if self._lifespan.task is None else describe_stack(self._lifespan.task)
            raise StartupError(
                f"the application's start-up took longer than {limit:g} s (workers.boot_timeout)", stack
            ) from None

    def running(self) -> list[str]:
        """The requests and sessions under way, each as "GET /path", the oldest first."""
        if self._server is None:
            return []
        # One whose application has not come to its first wait has no task yet, but may be what blocks the event loop.
        return [f"{one.method} {one.path}" for one in self._server.oldest(MOST_NAMED)]

    def reopen_logs(self) -> None:
        """Open the file of the access log anew, after a rotation."""
        if self._access_log is not None:
            self._access_log.reopen()

    async def stop(self, *, delay: float = 0.0, linger: float = 0.0, limit: float | None = None) -> None:
        """Answer what has arrived, then run the lifespan shutdown; returns when all has come to its end.

        For `delay` seconds everything goes on first. Idle connections have `linger` seconds for one more request. Requests that
        still run after `limit` seconds (`workers.graceful_timeout` unless it is given) are cancelled. If this is cancelled itself, so
        are all of them, at once, and there is no lifespan shutdown.
        """
        try:
            if self._server is not None:
                await self._drain(self._server, delay, linger, limit)
            await end_lifespan(
                self._lifespan,
                self._settings.workers.lifespan_timeout,
                CANCELLATION_GRACE,
                get_logger("appserver.lifespan"),
            )
        finally:
            await self._let_go()

    async def _let_go(self) -> None:
        """End what is left of the application's life, wherever it is."""
        await self._lifespan.cancel(CANCELLATION_GRACE)
        if self._trio is not None:
            await self._trio.end(CANCELLATION_GRACE)

    def _trio_crashed(self, error: BaseException) -> None:
        get_logger("appserver.engine").error(
            "trio has crashed", advice="no request is answered any more", exc_info=error
        )
        self._on_exit()

    async def _drain(self, server: Server, delay: float, linger: float, limit: float | None) -> None:
        graceful = self._settings.workers.graceful_timeout
        try:
            await asyncio.sleep(delay)
            server.begin_drain(linger, GOING_AWAY)
            async with asyncio.timeout(graceful if limit is None else limit):
                await server.wait_drained()
        except TimeoutError:
            if limit is None:  # else somebody is in a hurry, and knows what he cuts off
                report_cancelled(server, graceful, get_logger("appserver.engine"))
            await self._cut_off(server)
        except asyncio.CancelledError:
            await self._cut_off(server)
            raise
        server.close()

    @staticmethod
    async def _cut_off(server: Server) -> None:
        for cut in (server.cancel, server.close):  # the last words of those who are cancelled still go out
            cut()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CANCELLATION_GRACE):
                    await server.wait_drained()

    def close(self) -> None:
        """Let go of everything, the last lines of the access log written; what is still being served is cut off."""
        if self._watch is not None:
            self._watch.stop()
        if self._next_flush is not None:
            self._next_flush.cancel()
        if self._server is not None:
            self._server.close()
            self._server = None
        if self._access_log is not None:
            self._access_log.close()
            self._access_log = None
        self._scoreboard.close()

    def _flush(self) -> None:
        if self._access_log is not None:
            self._access_log.flush()
            self._next_flush = asyncio.get_running_loop().call_later(FLUSH_INTERVAL, self._flush)
