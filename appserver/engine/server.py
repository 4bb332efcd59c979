"""The server of one worker: it accepts, watches the time, and drains."""

from __future__ import annotations

import asyncio
import heapq
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from appserver.asgi.types import ASGIApplication
from appserver.engine.acceptor import Acceptor
from appserver.engine.admission import Admission
from appserver.engine.exchange import DONE, Exchange
from appserver.engine.listener import Listener
from appserver.engine.request_id import make_request_ids
from appserver.engine.service import Logger, Service
from appserver.engine.waiters import Waiters
from appserver.settings import HTTPSettings, ProxySettings, RequestIDSettings, WebSocketSettings, WorkersSettings
from appserver.telemetry.access_log import AccessLog
from appserver.telemetry.serving import SESSION, Serving
from appserver.telemetry.slot import WorkerSlot
from appserver.tls import ServerTLS

if TYPE_CHECKING:
    from appserver.engine.session import Session


@dataclass(frozen=True, slots=True)
class Running:
    """A request whose application is still at work; `age` in seconds."""

    method: str
    path: str
    age: float
    task: asyncio.Task[None]
    request_id: str | None = None


class Server:
    """Serves an application on listeners: `start`, then `begin_drain`, `wait_drained`, and `close` in any case.

    To be made and used inside the running event loop. A drain that takes too long is cut off by `cancel`, which lets
    the applications' tasks end, and then `close`, which does not.
    """

    def __init__(
        self,
        application: ASGIApplication,
        *,
        http: HTTPSettings,
        websocket: WebSocketSettings,
        workers: WorkersSettings,
        root_path: str,
        state: dict[str, Any],
        slot: WorkerSlot,
        access_log: AccessLog | None,
        logger: Logger,
        clock: Callable[[], float] = time.monotonic,
        date: Callable[[], float] = time.time,
        on_exit: Callable[[], None] = lambda: None,
        proxy: ProxySettings | None = None,
        request_id: RequestIDSettings | None = None,
        tls: ServerTLS | None = None,
    ) -> None:
        """`clock` counts seconds for all limits, `date` since the epoch for the Date field.

        `on_exit` is called when the application has raised SystemExit or KeyboardInterrupt; a drain should follow.
        Without `proxy` nobody is believed when he speaks for others; without `request_id` requests have no id.
        Listeners with TLS need `tls`.
        """
        admission = None
        if workers.max_concurrency:
            admission = Admission(workers.max_concurrency, workers.queue_size, workers.queue_timeout or None)
        self._service = Service(
            application,
            http=http,
            websocket=websocket,
            admission=admission,
            root_path=root_path,
            state=state,
            slot=slot,
            access_log=access_log,
            logger=logger,
            clock=clock,
            date=date,
            on_exit=on_exit,
            proxy=proxy,
            request_ids=make_request_ids(request_id),
            tls=tls,
        )
        self._service.vacated = self._vacated
        self._max_connections = workers.max_connections or math.inf
        self._acceptors: list[Acceptor] = []
        self._next_tick: asyncio.TimerHandle | None = None
        self._linger_over: asyncio.TimerHandle | None = None
        self._waiters = Waiters(self._service.loop)

    def start(self, listeners: Sequence[Listener]) -> None:
        """Accept connections."""
        self._acceptors = [Acceptor(self._service, listener, self._max_connections) for listener in listeners]
        for acceptor in self._acceptors:
            acceptor.start()
        self._tick()

    def begin_drain(self, linger: float, farewell: tuple[int, str] = (1001, ""), *, accepting: bool = False) -> None:
        """Answer every further request with Connection: close, and accept no more, once the backlog is empty.

        An idle connection is not cut under a client that may be writing at that very moment: it waits up to `linger`
        seconds for its next request and is closed only then. A WebSocket session is closed with `farewell`, a close
        code and a reason; the client has the same time to answer. With `accepting`, go on taking connections until
        `stop_accepting`.
        """
        service = self._service
        if not accepting:
            self.stop_accepting()
        service.draining = True
        service.farewell = farewell
        service.keepalive_timeout = min(service.keepalive_timeout, linger)
        for connection in list(service.connections):
            connection.drain()
        self._linger_over = service.loop.call_later(linger, self._close_idle)

    def stop_accepting(self) -> None:
        """Take the connections that are in the backlog, and no others."""
        for acceptor in self._acceptors:
            acceptor.stop()

    async def wait_drained(self) -> None:
        """Return when no connection is open and no application at work."""
        service = self._service
        while service.connections or any(acceptor.adopting for acceptor in self._acceptors):
            await self._waiters.wait()
        at_work: list[Exchange | Session] = [*service.background, *service.sessions]
        if tasks := [work.task for work in at_work if work.task is not None]:
            await asyncio.wait(tasks)

    def running(self) -> list[Running]:
        """The requests that applications are at work on, the oldest first."""
        now = self._service.clock()
        return [
            Running(
                exchange.head.method, exchange.head.path, now - exchange.started, exchange.task, exchange.request_id
            )
            for exchange in sorted(self._exchanges(), key=lambda exchange: exchange.started)
            if exchange.task is not None
        ]

    def sessions(self) -> list[Running]:
        """The same for WebSocket sessions, of which there may be thousands with nothing to do."""
        now = self._service.clock()
        return [
            Running(SESSION, session.head.path, now - session.started, session.task, session.request_id)
            for session in sorted(self._service.sessions, key=lambda session: session.started)
            if session.task is not None
        ]

    def oldest(self, limit: int) -> list[Serving]:
        """Up to `limit` requests that are being served, the oldest first; then sessions, if there is room.

        May be called from another thread, which sees them while the event loop is blocked by one of them.
        """
        # Making a list of a set is one step for other threads, going through it is not.
        exchanges = [connection.exchange for connection in list(self._service.connections)]
        exchanges += list(self._service.background)
        begun = [exchange for exchange in exchanges if exchange is not None and exchange.started]
        requests = heapq.nsmallest(limit, begun, key=lambda exchange: exchange.started)
        rest = limit - len(requests)
        sessions = heapq.nsmallest(rest, list(self._service.sessions), key=lambda session: session.started)
        return [
            *(
                Serving(
                    exchange.head.method,
                    exchange.head.path,
                    exchange.started,
                    exchange.request_id,
                    exchange.number if exchange.phase < DONE else 0,
                )
                for exchange in requests
            ),
            *(
                Serving(SESSION, session.head.path, session.started, session.request_id, session.number)
                for session in sessions
            ),
        ]

    def cancel(self) -> None:
        """Cancel the tasks of all applications at work. Who has got nothing of a response gets a 503."""
        at_work: list[Exchange | Session] = [*self._exchanges(), *self._service.sessions]
        for work in at_work:
            if work.task is not None:
                work.task.cancel()

    def close(self) -> None:
        """Stop accepting, if that has not been done, and close what is open; what is not written is lost."""
        self.stop_accepting()
        for timer in (self._next_tick, self._linger_over):
            if timer is not None:
                timer.cancel()
        for connection in list(self._service.connections):
            connection.abort()

    def sweep(self) -> None:
        """Encode the date, and let connections act whose deadline has passed. Due once a second."""
        service = self._service
        service.defaults.refresh(service.date())
        now = service.clock()
        for connection in [connection for connection in service.connections if connection.deadline <= now]:
            connection.expire(now)

    def _tick(self) -> None:
        """Sweep now, and at the next full second."""
        self.sweep()
        delay = 1.0 - self._service.date() % 1.0
        self._next_tick = self._service.loop.call_later(delay, self._tick)

    def _close_idle(self) -> None:
        for connection in list(self._service.connections):
            connection.close_if_idle()

    def _vacated(self) -> None:
        self._waiters.wake()
        for acceptor in self._acceptors:
            acceptor.resume()

    def _exchanges(self) -> list[Exchange]:
        current = [connection.exchange for connection in self._service.connections]
        return [exchange for exchange in (*current, *self._service.background) if exchange is not None]
