"""Load for WebSocket servers: sessions that each send a message, wait for its echo, and send the next.

    python -m tests.benchmarks.websocket_load PORT --size 64 --seconds 5

It prints a report in the form of wrk's. A frame is made once and sent again and again: the client has to cost less than
any server that it measures.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
import zlib

import uvloop

HANDSHAKE = (
    "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n{}\r\n"
)
OFFER = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n"


def text(size: int) -> bytes:
    """So many octets that can be compressed about as well as JSON."""
    words = [
        f'{{"number": {number * 7919 % 10007}, "name": "value of {number * 31 % 997}"}},' for number in range(size)
    ]
    return "".join(words).encode()[:size]


def make_frame(size: int, *, compressed: bool) -> bytes:
    """A message as a client sends it. Masked with zeros, so that it need not be masked; the server cannot know."""
    payload = text(size)
    if compressed:
        compressor = zlib.compressobj(wbits=-12)
        payload = (compressor.compress(payload) + compressor.flush(zlib.Z_SYNC_FLUSH))[:-4]
    head = 0xC1 if compressed else 0x81
    if len(payload) < 126:
        return bytes((head, 0x80 | len(payload))) + bytes(4) + payload
    return bytes((head, 0x80 | 126)) + len(payload).to_bytes(2, "big") + bytes(4) + payload


class Session(asyncio.Protocol):
    """One session."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._buffer = b""
        self._open = False
        self._sent_at = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: asyncio.Transport = transport  # type: ignore[assignment]
        self.transport.write(HANDSHAKE.format(OFFER if self._load.compressed else "").encode())

    def connection_lost(self, error: Exception | None) -> None:
        self._load.lost(self)

    def data_received(self, data: bytes) -> None:
        if self._buffer:
            data = self._buffer + data
            self._buffer = b""
        if not self._open:
            head, end, data = data.partition(b"\r\n\r\n")
            if not end:
                self._buffer = head
                return
            if not head.startswith(b"HTTP/1.1 101 "):
                raise SystemExit(f"refused: {head!r}")
            self._open = True
            self._load.opened(self)
        if not data:
            return
        length = data[1]
        start = 2 if length < 126 else 4 if length == 126 else 10
        if start > 2:
            length = int.from_bytes(data[2:start], "big")
        if len(data) < start + length:
            self._buffer = data
            return
        self._load.latencies.append(time.perf_counter() - self._sent_at)
        self.send()

    def send(self) -> None:
        """Send the next message."""
        self._sent_at = time.perf_counter()
        self.transport.write(self._load.frame)


class Load:
    """All sessions, and what they measure."""

    def __init__(self, size: int, *, compressed: bool) -> None:
        self.frame = make_frame(size, compressed=compressed)
        self.compressed = compressed
        self.latencies: list[float] = []
        self.errors = 0
        self._over = False
        self._open: set[Session] = set()
        self._all_open = asyncio.Event()

    def opened(self, session: Session) -> None:
        self._open.add(session)
        if len(self._open) == self._wanted:
            self._all_open.set()

    def lost(self, session: Session) -> None:
        self.errors += not self._over

    async def run(self, port: int, sessions: int, seconds: float) -> dict[str, float]:
        """Open the sessions, let them send for so many seconds, and report."""
        loop = asyncio.get_running_loop()
        self._wanted = sessions
        for _ in range(sessions):
            await loop.create_connection(lambda: Session(self), "127.0.0.1", port)
        async with asyncio.timeout(10):
            await self._all_open.wait()
        began = time.perf_counter()
        for session in self._open:
            session.send()
        await asyncio.sleep(seconds)
        elapsed = time.perf_counter() - began
        self._over = True
        ordered = sorted(self.latencies) or [0.0]
        for session in self._open:
            session.transport.abort()
        return {
            "requests": len(self.latencies),
            "seconds": elapsed,
            "p50_us": ordered[len(ordered) // 2] * 1e6,
            "p99_us": ordered[len(ordered) * 99 // 100] * 1e6,
            "errors": self.errors,
        }


def main() -> None:
    """Print the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("port", type=int)
    parser.add_argument("--sessions", type=int, default=32)
    parser.add_argument("--size", type=int, default=64, help="octets of a message")
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--compressed", action="store_true")
    options = parser.parse_args()

    async def run() -> dict[str, float]:
        load = Load(options.size, compressed=options.compressed)
        return await load.run(options.port, options.sessions, options.seconds)

    print(json.dumps(uvloop.run(run())))


if __name__ == "__main__":
    main()
