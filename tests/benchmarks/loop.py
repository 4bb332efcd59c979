"""The way of a request in one process, without sockets: `python -m tests.benchmarks.loop ROW COUNT`.

A connection gets request after request from memory and its responses go nowhere, so all that is left is what the server and
the event loop do. It prints the CPU time of each in microseconds; `instructions` counts what the processor does.
"""

from __future__ import annotations

import asyncio
import itertools
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hpack
import uvloop

from appserver.engine.connection import Connection
from appserver.engine.http2_connection import HTTP2Connection
from appserver.engine.scope import scope_template
from appserver.engine.server import Server
from appserver.settings import (
    AccessLogSettings,
    HTTP2Settings,
    HTTPSettings,
    ProxySettings,
    RequestIDSettings,
    WebSocketSettings,
    WorkersSettings,
)
from appserver.telemetry.access_log import AccessLog
from appserver.telemetry.logs import get_logger
from appserver.telemetry.scoreboard import Scoreboard
from tests.benchmarks.applications import hello
from tests.benchmarks.http2_client import ACK, END_HEADERS, END_STREAM, GREETING, HEADERS, SETTINGS, frame
from tests.benchmarks.varied import Blocks, varied_blocks, varied_requests
from tests.benchmarks.workloads import BROWSER_HEADERS

PEER = ("127.0.0.1", 40000)
WARM_UP = 4000
"""Requests before any count: twice all that are different."""


AT_ONCE = 8
"""Requests that arrive together over HTTP/2, in which their clients have several under way."""


@dataclass(frozen=True)
class Row:
    """What one client sends, piece by piece and without an end, and what is done with it."""

    pieces: Callable[[], Iterator[bytes]]
    logged: bool = False
    """Whether there is an access log."""
    http2: bool = False


def _requests(headers: Mapping[str, str]) -> Iterator[bytes]:
    lines = ["GET / HTTP/1.1", "Host: 127.0.0.1", *(f"{name}: {value}" for name, value in headers.items())]
    return itertools.repeat("\r\n".join(lines).encode() + b"\r\n\r\n")


def _posted() -> Iterator[bytes]:
    """Requests with a body, so with a field that decides something among those that do not."""
    head = next(_requests(BROWSER_HEADERS | {"Content-Length": "5"}))
    return itertools.repeat(head.replace(b"GET", b"POST", 1) + b"hello")


def _varied() -> Iterator[bytes]:
    return itertools.cycle(varied_requests(BROWSER_HEADERS))


def _hello_blocks() -> Blocks:
    encoder = hpack.Encoder()
    fields = [(":method", "GET"), (":scheme", "http"), (":authority", "127.0.0.1"), (":path", "/")]
    return Blocks([encoder.encode(fields)], [encoder.encode(fields)])


def _streams(blocks: Blocks) -> Iterator[bytes]:
    """Requests of HTTP/2, several in each piece."""
    numbers = itertools.count(1, 2)
    source = blocks.cycle()
    while True:
        several = zip(range(AT_ONCE), numbers, source, strict=False)
        yield b"".join(frame(HEADERS, END_STREAM | END_HEADERS, number, block) for _, number, block in several)


ROWS = {
    "hello": Row(lambda: _requests({})),
    "access_log": Row(lambda: _requests({}), logged=True),
    "headers": Row(lambda: _requests(BROWSER_HEADERS)),
    "forwarded": Row(lambda: _requests(BROWSER_HEADERS | {"X-Forwarded-For": "203.0.113.7"})),
    "posted": Row(_posted),
    "varied": Row(_varied),
    "varied_log": Row(_varied, logged=True),
    "h2_hello": Row(lambda: _streams(_hello_blocks()), http2=True),
    "h2_varied": Row(lambda: _streams(varied_blocks(BROWSER_HEADERS)), http2=True),
}


class Sink(asyncio.Transport):
    """A transport behind which nobody is: each write behind which nothing is under way brings the next requests."""

    def __init__(self, row: Row) -> None:
        super().__init__()
        self._pieces = row.pieces()
        self._requests_in_piece = AT_ONCE if row.http2 else 1
        self._left = 0
        self._loop = asyncio.get_running_loop()
        self._done: asyncio.Future[None] | None = None
        self.connection: Connection | HTTP2Connection

    async def serve(self, count: int) -> None:
        self._left = count
        self._done = self._loop.create_future()
        self._next()
        await self._done

    def _next(self) -> None:
        assert self._done is not None
        if self._left <= 0:
            self._done.set_result(None)
            return
        self._left -= self._requests_in_piece
        self.connection.data_received(next(self._pieces))

    def write(self, data: Any) -> None:
        connection = self.connection
        if self._done is not None and not (isinstance(connection, HTTP2Connection) and connection.http2.streams):
            self._loop.call_soon(self._next)

    def is_closing(self) -> bool:
        return False

    def get_write_buffer_size(self) -> int:
        return 0

    def abort(self) -> None: ...


async def run(row: str, count: int, directory: Path) -> float:
    """Serve `count` requests; returns the seconds of CPU that they took."""
    what = ROWS[row]
    board = Scoreboard.create(2)
    slot = board.slot(0)
    slot.begin(pid=1, generation=1)
    log = AccessLog(AccessLogSettings(file=directory / "access.log", format="json")) if what.logged else None
    application: Any = hello
    server = Server(
        application,
        http=HTTPSettings(),
        http2=HTTP2Settings(),
        websocket=WebSocketSettings(),
        workers=WorkersSettings(),
        root_path="",
        state={},
        slot=slot,
        access_log=log,
        logger=get_logger("benchmark"),
        proxy=ProxySettings(trusted=("127.0.0.1",)),
        request_id=RequestIDSettings(),
    )
    service = server._service
    sink = Sink(what)
    template = scope_template(scheme="http", server=("127.0.0.1", 8000), root_path="")
    sink.connection = (HTTP2Connection if what.http2 else Connection)(service, service.peer(PEER, template))
    sink.connection.connection_made(sink)
    if what.http2:
        sink.connection.data_received(GREETING + frame(SETTINGS, ACK, 0))
        await asyncio.sleep(0)  # what the server says at first has to be written
    await sink.serve(WARM_UP)
    begun = time.process_time()
    await sink.serve(count)
    seconds = time.process_time() - begun
    server.close()
    if log is not None:
        log.close()
    return seconds


def main() -> None:
    row, count = sys.argv[1], int(sys.argv[2])
    with tempfile.TemporaryDirectory() as directory, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        seconds = runner.run(run(row, count, Path(directory)))
    if count:
        print(f"{row}: {seconds / count * 1e6:.2f} µs of CPU for each of {count} requests")


if __name__ == "__main__":
    main()
