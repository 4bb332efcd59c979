"""The body of a request on its way from the event loop to a thread."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections import deque
from collections.abc import Callable

from appserver.asgi.types import Receive
from appserver.errors import AppserverError

LIMIT = 64 * 1024
"""So many octets wait for the application before no more are asked for; one message may come on top."""


class ClientDisconnect(AppserverError, ConnectionError):
    """The client has left, or its request was given up: there is no (more) body to read, and nobody to write to."""


class Body:
    """What `receive` gives, for one thread to `take`.

    The methods are for the event loop unless they say otherwise. It asks for more while less than LIMIT waits.
    """

    __slots__ = ("_changed", "_chunks", "_complete", "_loop", "_lost", "_on_leave", "_pump", "_receive", "_waiting")

    def __init__(self, receive: Receive, loop: asyncio.AbstractEventLoop, changed: threading.Condition) -> None:
        self._receive = receive
        self._loop = loop
        self._changed = changed
        self._chunks: deque[bytes] = deque()
        self._waiting = 0  # octets in them
        self._complete = False
        self._lost = ""  # why there will be no more
        self._pump: asyncio.Task[None] | None = None
        self._on_leave: Callable[[], None] | None = None

    def start(self) -> None:
        """Ask for the body, unless that is being done."""
        if self._pump is None and not self._lost and not self._complete:
            self._begin()

    def watch(self, on_leave: Callable[[], None]) -> None:
        """Call `on_leave` if the client leaves: as soon as that can be seen, which is behind LIMIT octets of the body."""
        self._on_leave = on_leave
        if self._pump is None:
            self._begin()

    def close(self, reason: str) -> None:
        """Nothing more is wanted: `take` raises from now on."""
        if self._pump is not None:
            self._pump.cancel()
        self._on_leave = None
        if not self._lost:
            self._lose(reason)

    def _begin(self) -> None:
        pump = self._run()
        if sys.version_info >= (3, 12):
            # The part of the body that arrived with the head is there when this returns.
            task = asyncio.Task(pump, loop=self._loop, eager_start=True)
        else:
            task = self._loop.create_task(pump)
        self._pump = None if task.done() else task

    async def _run(self) -> None:
        try:
            while (not self._complete and self._waiting < LIMIT) or (self._complete and self._on_leave is not None):
                message = await self._receive()
                if message["type"] == "http.request":
                    self._add(message.get("body", b""), message.get("more_body", False))
                    continue
                if not self._complete:
                    self._lose("the client has left before the end of its request")
                if (on_leave := self._on_leave) is not None:
                    on_leave()
                break
        except Exception as error:  # noqa: BLE001  # whoever serves this has no body to give; the application is told
            self._lose(f"the body of the request cannot be received: {error!r}")
        finally:
            self._pump = None

    def _add(self, data: bytes, more: bool) -> None:
        with self._changed:
            if data:
                self._chunks.append(data)
                self._waiting += len(data)
            self._complete = not more
            self._changed.notify_all()

    def _lose(self, reason: str) -> None:
        with self._changed:
            self._lost = reason
            self._changed.notify_all()

    # For the thread.

    def end(self) -> None:
        """Note that there is no body."""
        self._complete = True

    def ignore_leave(self) -> None:
        """The application is being called: a client that leaves now shows when it is read from, or written to."""
        self._on_leave = None

    def take(self) -> bytes:
        """Wait for a piece of the body and return it, or nothing at its end. Raises ClientDisconnect."""
        with self._changed:
            asked = False
            while not self._chunks:
                if self._complete:
                    return b""
                if self._lost:
                    raise ClientDisconnect(self._lost)
                if not asked:
                    self._ask()
                    asked = True
                self._changed.wait()
            data = self._chunks.popleft()
            before = self._waiting
            self._waiting -= len(data)
            more = not self._complete and not self._lost and before >= LIMIT > self._waiting
        if more:
            self._ask()
        return data

    def _ask(self) -> None:
        try:
            self._loop.call_soon_threadsafe(self.start)
        except RuntimeError as error:
            raise ClientDisconnect("the event loop of this request has ended") from error
