"""A load of HTTP/2 in which no two requests are alike: `python -m tests.benchmarks.http2_load PORT`.

h2load can vary targets, but no fields. This sends the requests of `varied` over several connections, with so many under way
on each, and prints a report as a line of JSON. Header blocks are prepared, so that the client stays faster than a server.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from typing import cast

import uvloop

from tests.benchmarks.http2_client import (
    ACK,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    GREETING,
    HEADERS,
    PING,
    RST_STREAM,
    SETTINGS,
    frame,
    status_of,
)
from tests.benchmarks.varied import Blocks, varied_blocks
from tests.benchmarks.workloads import BROWSER_HEADERS

STATUS_200 = (b"\x88", b"\x08\x03200", b"\x08\x82\x10\x01")
"""How a header block begins whose status is 200: from the static table (RFC 7541 appendix A), or as a literal."""


class Session(asyncio.Protocol):
    """One connection, which sends its next requests as soon as responses are complete."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._blocks = load.blocks.cycle()
        self._received = b""
        self._next = 1
        self._status_seen = False
        self._sent_at: dict[int, float] = {}

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # A cast and no check: uvloop's transports have the interface without being derived from asyncio's.
        self._transport = cast("asyncio.Transport", transport)
        self._transport.write(GREETING)
        self._request(self._load.streams)

    def _request(self, count: int) -> None:
        now = time.perf_counter()
        frames = []
        for _ in range(count):
            self._sent_at[self._next] = now
            frames.append(frame(HEADERS, END_STREAM | END_HEADERS, self._next, next(self._blocks)))
            self._next += 2
        self._transport.write(b"".join(frames))

    def data_received(self, data: bytes) -> None:
        received = self._received + data if self._received else data
        at, size, answered = 0, len(received), 0
        while size - at >= 9:
            length = int.from_bytes(received[at : at + 3], "big")
            end = at + 9 + length
            if end > size:
                break
            kind, flags, stream = received[at + 3], received[at + 4], int.from_bytes(received[at + 5 : at + 9], "big")
            if kind == HEADERS:
                self._check_status(received[at + 9 : end])
            elif kind in (RST_STREAM, GOAWAY):
                self._load.errors += 1
            elif kind in (SETTINGS, PING) and not flags & ACK:
                self._transport.write(frame(kind, ACK, 0, received[at + 9 : end] if kind == PING else b""))
            if kind in (DATA, HEADERS) and flags & END_STREAM:
                self._load.latencies.append((time.perf_counter() - self._sent_at.pop(stream)) * 1e6)
                answered += 1
            at = end
        self._received = received[at:]
        if answered:
            self._request(answered)

    def _check_status(self, block: bytes) -> None:
        """Count a response whose status is not 200. The first may begin with the size of the table."""
        if self._status_seen:
            self._load.errors += not block.startswith(STATUS_200)
        else:
            self._status_seen = True
            self._load.errors += status_of(block) != "200"

    def connection_lost(self, error: Exception | None) -> None:
        self._load.lost(len(self._sent_at))


class Load:
    """All connections, and what they have seen."""

    def __init__(self, streams: int) -> None:
        self.streams = streams
        self.blocks: Blocks = varied_blocks(BROWSER_HEADERS)
        self.latencies: list[float] = []
        self.errors = 0
        self._over = False

    def lost(self, unanswered: int) -> None:
        """A connection has ended, which none should before the time is over."""
        if not self._over:
            self.errors += unanswered

    async def run(self, port: int, connections: int, seconds: float) -> dict[str, float]:
        """Open the connections, let them send for so many seconds, and report."""
        loop = asyncio.get_running_loop()
        began = time.perf_counter()
        opened = [await loop.create_connection(lambda: Session(self), "127.0.0.1", port) for _ in range(connections)]
        await asyncio.sleep(seconds)
        elapsed = time.perf_counter() - began
        self._over = True
        ordered = sorted(self.latencies) or [0.0]
        for transport, _ in opened:
            transport.abort()
        return {
            "requests": len(self.latencies),
            "seconds": elapsed,
            "p50_us": ordered[len(ordered) // 2],
            "p99_us": ordered[len(ordered) * 99 // 100],
            "errors": self.errors,
        }


def main() -> None:
    """Print the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("port", type=int)
    parser.add_argument("--connections", type=int, default=8)
    parser.add_argument("--streams", type=int, default=32, help="requests under way on each")
    parser.add_argument("--seconds", type=float, default=5)
    options = parser.parse_args()

    async def run() -> dict[str, float]:
        return await Load(options.streams).run(options.port, options.connections, options.seconds)

    print(json.dumps(uvloop.run(run())))


if __name__ == "__main__":
    main()
