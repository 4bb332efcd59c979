"""The registry of all that is under way in a worker: open connections, and the work that applications do for their clients.

Whoever looks at all of it (the drain, the report of who holds it up, the sweep once a second, the list of what is served
in the scoreboard) reads this registry, and knows neither protocols nor transports. Nothing else of the engine is known here.
"""

from __future__ import annotations

import asyncio
import heapq
import math
from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import NamedTuple, Protocol

from appserver.http.request import Request
from appserver.telemetry.serving import Serving


class Work(Protocol):
    """Work of an application for a client: an exchange, or a WebSocket session."""

    request: Request
    started: float  # when the application was called; 0: not yet
    request_id: str | None
    number: int  # in the scoreboard
    task: asyncio.Task[None] | None  # None: the application is not at work (any more)

    @property
    def kind(self) -> str:
        """The method of the request, or what stands in its place."""

    @property
    def is_owed(self) -> bool:
        """Whether its client is still owed something: then it is counted as being served."""


class RequestWork(Work, Protocol):
    """A request, which is looked after once a second: by `sweep` while its client is owed something, then by `outlive`."""

    def sweep(self, ending: bool) -> None:
        """Do what is due; `ending`: the worker is to stop, so event streams with nothing to send are to end."""

    def outlive(self, now: float) -> None:
        """The request is over for its client, but not yet for the application."""


class OpenConnection(Protocol):
    """A connection of a client, whatever it speaks."""

    deadline: float  # when `expire` is to be called; it may change at any time

    def expire(self, now: float) -> None:
        """The deadline has passed."""

    def descriptors(self) -> Sequence[int]:
        """All that refer to its socket; those that are closed are negative. May be called from another thread."""

    def works(self) -> Sequence[RequestWork]:
        """The work that is under way on it. May be called from another thread."""

    def drain(self) -> None:
        """The worker stops: promise the client nothing that goes beyond what is under way."""

    def close_if_idle(self) -> None:
        """Close the connection if nothing is under way."""

    def abort(self) -> None:
        """Close the connection at once; what is not written is lost."""


class Running(NamedTuple):
    """A request whose application is still at work; `age` in seconds."""

    method: str
    path: str
    age: float
    task: asyncio.Task[None]
    request_id: str | None = None


class Registry:
    """Everything that is under way. Connections and work put themselves in, and take themselves out."""

    __slots__ = ("background", "connections", "failed", "sessions", "vacated")

    def __init__(self) -> None:
        self.connections: set[OpenConnection] = set()
        # Exchanges that are over for their client (which has its response, or is gone) but not yet for the application.
        self.background: set[RequestWork] = set()
        # Sessions whose application is at work; that may be longer than the session lasts.
        self.sessions: set[Work] = set()
        self.vacated: Callable[[], None] = lambda: None
        """Called when a connection has ended."""
        self.failed: Callable[[Exception], None] = _raise
        """Called with an error of something that was to be looked after, or cancelled: it must not keep the others from that."""

    def longest_idle(self) -> OpenConnection | None:
        """The connection that waits for its client and has the least time left; None if none waits.

        It has been idle the longest where all time limits for clients are equal, and applications have none.
        """
        first = min(self.connections, key=attrgetter("deadline"), default=None)
        return None if first is None or first.deadline == math.inf else first

    def exchanges(self) -> list[Work]:
        """Those that are under way, and those in the background. May be called from another thread."""
        # Making a list of a set is one step for other threads, going through it is not.
        found: list[Work] = [work for connection in list(self.connections) for work in connection.works()]
        return found + list(self.background)

    def at_work(self) -> list[asyncio.Task[None]]:
        """The tasks of all applications that are at work."""
        return [work.task for work in (*self.exchanges(), *self.sessions) if work.task is not None]

    def left_behind(self) -> list[asyncio.Task[None]]:
        """The tasks of those that may be at work when no connection is open any more."""
        return [work.task for work in (*self.background, *self.sessions) if work.task is not None]

    def sweep(self, now: float, ending: bool) -> int:
        """Let work see to what is due once a second, and connections act whose deadline has passed.

        Returns how many requests are under way beside the first one of each connection.
        """
        beside = 0
        for connection in list(self.connections):
            try:
                works = connection.works()
                if len(works) > 1:
                    beside += len(works) - 1
                for work in works:
                    work.sweep(ending)
                if connection.deadline <= now:
                    connection.expire(now)
            except Exception as error:  # noqa: BLE001  # what a task waits for may be the application's own, and raise when it is cancelled
                self.failed(error)
        for left in list(self.background):
            try:
                left.outlive(now)
            except Exception as error:  # noqa: BLE001  # as above
                self.failed(error)
        return beside

    def cancel(self) -> None:
        """Cancel the tasks of all applications at work."""
        for task in self.at_work():
            try:
                task.cancel()
            except Exception as error:  # noqa: BLE001  # as above
                self.failed(error)

    def running_requests(self, now: float) -> list[Running]:
        """The requests that applications are at work on, the oldest first."""
        return _running(self.exchanges(), now)

    def running_sessions(self, now: float) -> list[Running]:
        """The same for WebSocket sessions, of which there may be thousands with nothing to do."""
        return _running(list(self.sessions), now)

    def oldest(self, limit: int) -> list[Serving]:
        """Up to `limit` requests that are being served, the oldest first; then sessions, if there is room.

        May be called from another thread, which sees them while the event loop is blocked by one of them.
        """
        begun = [work for work in self.exchanges() if work.started]
        oldest = heapq.nsmallest(limit, begun, key=attrgetter("started"))
        oldest += heapq.nsmallest(limit - len(oldest), list(self.sessions), key=attrgetter("started"))
        return [
            Serving(work.kind, work.request.path, work.started, work.request_id, work.number if work.is_owed else 0)
            for work in oldest
        ]


def _raise(error: Exception) -> None:
    raise error


def _running(works: list[Work], now: float) -> list[Running]:
    return [
        Running(work.kind, work.request.path, now - work.started, work.task, work.request_id)
        for work in sorted(works, key=attrgetter("started"))
        if work.task is not None
    ]
