"""The server of one worker: it accepts, watches the time, and drains."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Sequence
from typing import Any

from appserver.asgi.types import ASGIApplication
from appserver.engine.acceptor import Acceptor
from appserver.engine.admission import Admission
from appserver.engine.listener import Listener
from appserver.engine.request_id import make_request_ids
from appserver.engine.service import Logger, Service
from appserver.engine.waiters import Waiters
from appserver.engine.work import Running
from appserver.http1.parser import make_lexer
from appserver.settings import (
    HTTP2Settings,
    HTTPSettings,
    ProxySettings,
    RequestIDSettings,
    WebSocketSettings,
    WorkersSettings,
)
from appserver.telemetry.access_log import AccessLog
from appserver.telemetry.serving import Serving
from appserver.telemetry.slot import WorkerSlot
from appserver.tls import ServerTLS

STREAM_INTERVAL = 0.9
"""Seconds between two looks at the event streams in a drain: what has sent nothing in between may be told to end."""

BEHIND_SECOND = 0.002
"""So long behind a full second, in seconds, a tick is due. The timers of uvloop are early by up to a millisecond: set to the second
itself they are due again and again before it has come."""

BETWEEN_SWEEPS = 0.5
"""Seconds that lie between two sweeps at least."""


def until_next_tick(date: float) -> float:
    """Seconds until then, from a time since the epoch."""
    return 1.0 - date % 1.0 + BEHIND_SECOND


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
        http2: HTTP2Settings | None,
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
        makes_room: bool = False,
    ) -> None:
        """`clock` counts seconds for all limits, `date` since the epoch for the Date field.

        `on_exit` is called when the application has raised SystemExit or KeyboardInterrupt; a drain should follow.
        Without `proxy` nobody is believed when he speaks for others; without `request_id` requests have no id.
        Listeners with TLS need `tls`. Without `http2` that is not spoken. With `makes_room`, a connection beyond
        `workers.max_connections` is taken nevertheless, and the one that has been idle the longest is closed.
        """
        admission = None
        if workers.max_concurrency:
            admission = Admission(workers.max_concurrency, workers.queue_size, workers.queue_timeout or None)
        self._service = Service(
            application,
            http=http,
            http2=http2,
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
            lexer=make_lexer(http.parser),
            proxy=proxy,
            request_ids=make_request_ids(request_id),
            tls=tls,
        )
        self._service.registry.vacated = self._vacated
        self._service.registry.failed = self._not_looked_after
        self._max_connections = workers.max_connections or math.inf
        self._makes_room = makes_room
        self._ends_event_streams = workers.end_event_streams  # in a drain
        self._looked_at = -math.inf  # when event streams were last looked at in a drain
        self._acceptors: list[Acceptor] = []
        self._next_tick: asyncio.TimerHandle | None = None
        self._swept = -math.inf  # when a tick has swept last
        self._linger_over: asyncio.TimerHandle | None = None
        self._waiters = Waiters(self._service.loop)

    def start(self, listeners: Sequence[Listener]) -> None:
        """Accept connections."""
        self._acceptors = [
            Acceptor(self._service, listener, self._max_connections, makes_room=self._makes_room)
            for listener in listeners
        ]
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
        for connection in list(service.registry.connections):
            connection.drain()
        self._linger_over = service.loop.call_later(linger, self._close_idle)

    def stop_accepting(self) -> None:
        """Take the connections that are in the backlog, and no others."""
        for acceptor in self._acceptors:
            acceptor.stop()

    async def wait_drained(self) -> None:
        """Return when no connection is open and no application at work."""
        registry = self._service.registry
        while registry.connections or any(acceptor.adopting for acceptor in self._acceptors):
            await self._waiters.wait()
        if tasks := registry.left_behind():
            await asyncio.wait(tasks)

    def running(self) -> list[Running]:
        """The requests that applications are at work on, the oldest first."""
        return self._service.registry.running_requests(self._service.clock())

    def sessions(self) -> list[Running]:
        """The same for WebSocket sessions, of which there may be thousands with nothing to do."""
        return self._service.registry.running_sessions(self._service.clock())

    def oldest(self, limit: int) -> list[Serving]:
        """Up to `limit` requests and sessions that are being served; may be called from another thread."""
        return self._service.registry.oldest(limit)

    def descriptors(self) -> list[int]:
        """The descriptors of clients' sockets, and what the loop waits for them with; those of listeners are the caller's.

        May be called from another thread.
        """
        clients = [fd for connection in list(self._service.registry.connections) for fd in connection.descriptors()]
        waiting = [fd for acceptor in self._acceptors for fd in acceptor.descriptors()]
        return [fd for fd in (*clients, *waiting) if fd >= 0]

    def cancel(self) -> None:
        """Cancel the tasks of all applications at work. Clients that have received nothing yet get a 503."""
        self._service.registry.cancel()

    def close(self) -> None:
        """Stop accepting, if that has not been done, and close what is open; what is not written is lost."""
        self.stop_accepting()
        for timer in (self._next_tick, self._linger_over):
            if timer is not None:
                timer.cancel()
        for connection in list(self._service.registry.connections):
            connection.abort()

    def sweep(self) -> None:
        """Encode the date, and see to all that is under way. Due once a second."""
        service = self._service
        service.defaults.refresh(service.date())
        now = service.clock()
        # Behind a loop that was blocked this may be half a second after the last one.
        ending = service.draining and self._ends_event_streams and now - self._looked_at >= STREAM_INTERVAL
        if ending:
            self._looked_at = now
        service.slot.weigh(service.registry.sweep(now, ending))

    def _tick(self) -> None:
        """Sweep now, and behind the next full second.

        Behind a loop that was blocked two ticks follow each other closely. The second one only sees to the date, as work that is looked at
        counts on a second in which it could have gone on.
        """
        service = self._service
        now = service.clock()
        if now - self._swept >= BETWEEN_SWEEPS:
            self._swept = now
            self.sweep()
        else:
            service.defaults.refresh(service.date())
        self._next_tick = service.loop.call_later(until_next_tick(service.date()), self._tick)

    def _not_looked_after(self, error: Exception) -> None:
        context = {"message": "a connection or a request could not be looked after", "exception": error}
        self._service.loop.call_exception_handler(context)

    def _close_idle(self) -> None:
        for connection in list(self._service.registry.connections):
            connection.close_if_idle()

    def _vacated(self) -> None:
        self._waiters.wake()
        for acceptor in self._acceptors:
            acceptor.resume()
