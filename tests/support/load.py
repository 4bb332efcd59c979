"""A load client that does not forgive: it counts every request that got no proper answer.

Each connection is kept alive, sends a request, reads the whole answer, pauses, and so on. Nothing is sent twice. When
the server closes a connection while no request is on its way (after `Connection: close`, or in a pause) that is its
right, and the client opens the next one; when it closes under a request, that is a failed request, because a client in
production could not tell whether it was carried out.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import select
import ssl
import threading
from collections import Counter
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from tests.support.address import Address
from tests.support.waiting import eventually

_STREAM_ERRORS = (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError)


@dataclass(slots=True)
class Tally:
    """What happened to the requests of a load run so far."""

    requests: int = 0
    """Requests that got a complete answer, whatever its status."""
    statuses: Counter[int] = field(default_factory=Counter)
    bodies: Counter[bytes] = field(default_factory=Counter)
    """Distinct bodies (their first 64 octets)."""
    failures: Counter[str] = field(default_factory=Counter)
    """Requests without a complete answer, by kind: connect, closed, reset, timeout, malformed."""
    details: list[str] = field(default_factory=list)
    """The first failures in words."""
    connections: int = 0
    closed_idle: int = 0
    """Connections that the server closed between two requests."""
    closed_by_announcement: int = 0
    """Connections that ended with `Connection: close` on an answer."""

    @property
    def failed(self) -> int:
        """Requests that failed: no complete answer, or a status of 500 and above."""
        return self.failures.total() + sum(count for status, count in self.statuses.items() if status >= 500)

    def note_failure(self, kind: str, detail: object) -> None:
        """Count a failed request."""
        self.failures[kind] += 1
        if len(self.details) < 20:
            self.details.append(f"{kind}: {detail!r}")


class Load:
    """Load on a server from a thread of its own, from `with` to the end of the block.

        with Load(server.address, connections=64, pause=(0, 0.06)) as load:
            load.wait_for_requests(1000)
            ...
        assert load.tally.failed == 0

    Leaving the block lets every connection finish its request, so that the tally is final afterwards. `pause` bounds
    the seconds between an answer and the next request; `timeout` the seconds that a request may take. With `client` the
    load is encrypted; without `keep_alive` each request has a connection of its own.
    """

    def __init__(
        self,
        address: Address,
        *,
        connections: int = 16,
        pause: tuple[float, float] = (0.0, 0.02),
        path: str = "/",
        timeout: float = 30.0,
        client: ssl.SSLContext | None = None,
        keep_alive: bool = True,
    ) -> None:
        self._client = client
        self.tally = Tally()
        self._address = address
        self._connections = connections
        self._pause = pause
        self._timeout = timeout
        connection = "" if keep_alive else "Connection: close\r\n"
        self._request = f"GET {path} HTTP/1.1\r\nHost: test\r\n{connection}\r\n".encode()
        self._random = random.Random(0)
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), name="load", daemon=True)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping = asyncio.Event()

    def __enter__(self) -> Self:
        self._thread.start()
        eventually(lambda: self._loop, "the load client runs")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(self._timeout + 10)
        assert not self._thread.is_alive(), "the load client did not stop"

    def wait_for_requests(self, count: int, *, timeout: float = 30.0) -> None:
        """Wait until `count` further requests have been answered."""
        target = self.tally.requests + count
        eventually(lambda: self.tally.requests >= target, f"{count} more requests answered", timeout=timeout)

    async def _run(self) -> None:
        self._loop = asyncio.get_running_loop()
        await asyncio.gather(*(self._user() for _ in range(self._connections)))

    async def _user(self) -> None:
        while not self._stopping.is_set():
            try:
                reader, writer = await asyncio.wait_for(self._address.open_connection(self._client), self._timeout)
            except (OSError, TimeoutError) as error:
                self.tally.note_failure("connect", error)
                await self._paused(0.05)
                continue
            self.tally.connections += 1
            try:
                await self._converse(reader, writer)
            finally:
                writer.close()
                if self._client is not None:
                    # The end of TLS takes a few turns, and the loop may have no more.
                    with contextlib.suppress(OSError, TimeoutError):
                        await asyncio.wait_for(writer.wait_closed(), self._timeout)

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Send requests on one connection until it is closed, breaks, or the run stops."""
        fresh = True
        while not self._stopping.is_set():
            # One that is closed before its first request was not idle: its client was about to send.
            if not fresh and (reader.at_eof() or reader.exception() or _is_closed_by_peer(writer)):
                self.tally.closed_idle += 1
                return
            fresh = False
            try:
                async with asyncio.timeout(self._timeout):
                    writer.write(self._request)
                    keep_alive = await self._read_answer(reader)
            except TimeoutError as error:
                self.tally.note_failure("timeout", error)
                return
            except _STREAM_ERRORS as error:
                self.tally.note_failure(_kind(error), error)
                return
            if not keep_alive:
                self.tally.closed_by_announcement += 1
                return
            await self._paused(self._random.uniform(*self._pause))

    async def _read_answer(self, reader: asyncio.StreamReader) -> bool:
        """Read one response; True if the connection stays open behind it."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        status_line, *lines = head.rstrip("\r\n").split("\r\n")
        fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        if "content-length" in fields:
            body = await reader.readexactly(int(fields["content-length"]))
        elif fields.get("transfer-encoding") == "chunked":
            body = await _read_chunks(reader)
        else:
            raise ValueError(f"no framing in {head!r}")
        self.tally.requests += 1
        self.tally.statuses[int(status_line.split(" ", 2)[1])] += 1
        self.tally.bodies[body[:64]] += 1
        return fields.get("connection", "").lower() != "close"

    async def _paused(self, seconds: float) -> None:
        """Pause, but not beyond the end of the run."""
        if seconds:
            try:
                await asyncio.wait_for(self._stopping.wait(), seconds)
            except TimeoutError:
                pass


def _is_closed_by_peer(writer: asyncio.StreamWriter) -> bool:
    """Whether the peer has closed its side, be it that the event loop has not seen that yet: on a busy machine it may stand still."""
    poll = select.poll()
    poll.register(writer.get_extra_info("socket").fileno(), select.POLLRDHUP)
    return bool(poll.poll(0))


def _kind(error: Exception) -> str:
    if isinstance(error, asyncio.IncompleteReadError):
        return "closed"
    return "reset" if isinstance(error, OSError) else "malformed"


async def _read_chunks(reader: asyncio.StreamReader) -> bytes:
    """Read a chunked body (RFC 9112 section 7.1) without trailers."""
    body = b""
    while size := int(await reader.readuntil(b"\r\n"), 16):
        body += (await reader.readexactly(size + 2))[:-2]
    await reader.readuntil(b"\r\n")
    return body
