"""The floor: a uvloop protocol that neither parses nor calls an application. `python -m tests.benchmarks.floor PORT`.

It counts the ends of heads in what it receives and writes a fixed response for each: what remains is the kernel and
uvloop's read and write, which every server on uvloop pays.
"""

from __future__ import annotations

import asyncio
import sys
from typing import cast

import uvloop

RESPONSE = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: 13\r\n\r\nHello, world!"


class Floor(asyncio.Protocol):
    """One connection."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # A cast and no check: uvloop's transports have the interface without being derived from asyncio's.
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._transport.write(RESPONSE * data.count(b"\r\n\r\n"))


async def serve(port: int) -> None:
    """Serve until the process is killed."""
    server = await asyncio.get_running_loop().create_server(Floor, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
