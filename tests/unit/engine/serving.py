"""A server on real sockets, and clients of it, for tests."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from appserver.asgi.types import ASGIApplication
from appserver.engine.link import Link
from appserver.engine.listener import Listener
from appserver.engine.server import Server
from appserver.settings import HTTP2Settings, HTTPSettings, ProxySettings, WebSocketSettings, WorkersSettings
from appserver.telemetry.slot import WorkerSlot
from appserver.tls import ServerTLS
from tests.unit.engine.world import Log, Response, make_slot, parse


def listen(address: str | Path = "127.0.0.1", backlog: int = 100) -> Listener:
    """A listening socket, on a free port or on a path."""
    if isinstance(address, Path):
        listening = socket.socket(socket.AF_UNIX)
        listening.bind(str(address))
    else:
        listening = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
        listening.bind((address, 0))
    listening.listen(backlog)
    listening.setblocking(False)
    return Listener(listening, str(address))


class Served:
    """A server with its listener."""

    def __init__(self, server: Server, listener: Listener, log: Log, slot: WorkerSlot) -> None:
        self.server = server
        self.listener = listener
        self.log = log
        self.slot = slot

    @property
    def link(self) -> Link:
        """The one connection that is open."""
        (connection,) = self.server._service.registry.connections
        assert isinstance(connection, Link)
        return connection

    async def connect(self, address: str = "", **options: Any) -> Peer:
        """A client, connected; the server need not have accepted it yet."""
        name = self.listener.socket.getsockname()
        if isinstance(name, str):
            return Peer(*await asyncio.open_unix_connection(name, **options))
        return Peer(*await asyncio.open_connection(address or name[0], name[1], **options))

    async def accepted(self, count: int) -> None:
        """Wait until so many connections are open."""
        while self.slot.connections != count:
            await asyncio.sleep(0.001)


class Peer:
    """A client on a real socket."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, octets: bytes) -> None:
        self.writer.write(octets)

    async def response(self) -> Response:
        """The next response; it has to have a Content-Length."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        (response,) = parse(head)
        response.body = await self.reader.readexactly(int(response.headers[b"content-length"]))
        return response

    async def rest(self) -> bytes:
        """Everything up to the end of the connection."""
        return await self.reader.read()

    async def close(self) -> None:
        self.writer.close()
        try:
            await self.writer.wait_closed()
        except OSError:
            pass  # the server has reset it


@asynccontextmanager
async def serving(
    application: ASGIApplication,
    listener: Listener | None = None,
    *,
    slot: WorkerSlot | None = None,
    workers: WorkersSettings | None = None,
    state: dict[str, Any] | None = None,
    http2: HTTP2Settings | None = None,
    websocket: WebSocketSettings | None = None,
    proxy: ProxySettings | None = None,
    tls: ServerTLS | None = None,
    makes_room: bool = False,
    clock: Callable[[], float] = time.monotonic,
    date: Callable[[], float] = time.time,
    **http: Any,
) -> AsyncIterator[Served]:
    """Serve until the end of the block, then drain."""
    listener = listener or listen()
    log = Log()
    slot = slot or make_slot()
    server = Server(
        application,
        http=HTTPSettings(**http),
        http2=http2 or HTTP2Settings(),
        websocket=websocket or WebSocketSettings(),
        workers=workers or WorkersSettings(),
        root_path="",
        state=state or {},
        slot=slot,
        access_log=None,
        logger=log,
        proxy=proxy,
        tls=tls,
        makes_room=makes_room,
        clock=clock,
        date=date,
    )
    server.start([listener])
    try:
        yield Served(server, listener, log, slot)
        server.begin_drain(0)
        async with asyncio.timeout(30):
            await server.wait_drained()
    finally:
        server.close()
        listener.socket.close()
