"""A bridge from WebSocket over HTTP/1.1 to WebSocket over HTTP/2 (RFC 8441), for clients that know only the former.

Each connection that it takes becomes a stream, begun with an extended CONNECT, on a connection of HTTP/2 that all of them
share. Octets behind the handshake are passed on as they are, both ways. When the client closes its side that is END_STREAM,
and a stream that ends closes the client's connection.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import threading
from types import TracebackType
from typing import Self

import h2.config
import h2.connection
import h2.events
import h2.settings
from h2.exceptions import ProtocolError

from tests.support.address import Address

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
HOP = {b"host", b"connection", b"upgrade", b"sec-websocket-key"}
CHUNK = 65536


class Tunnel:
    """A client, and its stream."""

    def __init__(self, writer: asyncio.StreamWriter, accept: bytes) -> None:
        self.writer = writer
        self.accept = accept
        self.window_opened = asyncio.Event()
        self.has_closed = False  # the client has closed its side
        self.ended = asyncio.Event()


class Bridge:
    """Runs in a thread, as a context manager; `address` is where clients connect.

    `streams` counts those that were begun; `failure` is what the connection to the server has ended with, None for nothing.
    """

    def __init__(self, server: Address) -> None:
        self._server = server
        self._started = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)
        self._tunnels: dict[int, Tunnel] = {}
        self.streams = 0
        self.failure: BaseException | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._started.wait(30), "the bridge has not started"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(30)

    async def _run(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        self._reader, self._writer = await asyncio.open_connection(self._server.host, self._server.port)
        self._h2 = h2.connection.H2Connection(
            h2.config.H2Configuration(header_encoding=None, validate_outbound_headers=False)
        )
        self._h2.initiate_connection()
        self._h2.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: 1 << 20})
        self._h2.increment_flow_control_window(1 << 26)
        self._flush()
        reading = asyncio.create_task(self._read())
        listening = await asyncio.start_server(self._take, "127.0.0.1", 0)
        self.address = Address(*listening.sockets[0].getsockname()[:2])
        self._started.set()
        await self._stop.wait()
        listening.close()
        reading.cancel()
        self._writer.close()
        for tunnel in self._tunnels.values():
            self._end(tunnel)

    def _flush(self) -> None:
        self._writer.write(self._h2.data_to_send())

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one client."""
        line, *lines = (await reader.readuntil(b"\r\n\r\n"))[:-4].split(b"\r\n")
        fields = [(name.strip().lower(), value.strip()) for name, _, value in (line.partition(b":") for line in lines)]
        known = dict(fields)
        accept = base64.b64encode(hashlib.sha1(known[b"sec-websocket-key"] + GUID, usedforsecurity=False).digest())
        tunnel = Tunnel(writer, accept)
        stream = self._h2.get_next_available_stream_id()
        self._tunnels[stream] = tunnel
        self.streams += 1
        self._h2.send_headers(
            stream,
            [
                (b":method", b"CONNECT"),
                (b":protocol", b"websocket"),
                (b":scheme", b"http"),
                (b":authority", known[b"host"]),
                (b":path", line.split(b" ")[1]),
                *(field for field in fields if field[0] not in HOP),
            ],
        )
        self._flush()
        try:
            while not tunnel.ended.is_set() and (data := await reader.read(CHUNK)):
                await self._send(stream, tunnel, data)
        except ConnectionError:
            pass
        if not tunnel.ended.is_set():
            tunnel.has_closed = True
            self._h2.end_stream(stream)
            self._flush()
        await tunnel.ended.wait()
        writer.close()

    async def _send(self, stream: int, tunnel: Tunnel, data: bytes) -> None:
        while data and not tunnel.ended.is_set():
            tunnel.window_opened.clear()
            room = min(self._h2.local_flow_control_window(stream), self._h2.max_outbound_frame_size, len(data))
            if room > 0:
                self._h2.send_data(stream, data[:room])
                data = data[room:]
                self._flush()
            else:
                await tunnel.window_opened.wait()
        await self._writer.drain()

    async def _read(self) -> None:
        try:
            while octets := await self._reader.read(CHUNK):
                for event in self._h2.receive_data(octets):
                    self._receive(event)
                self._flush()
            self.failure = ConnectionError("the server has closed the connection")
        except (OSError, ProtocolError) as error:
            self.failure = error
        for tunnel in self._tunnels.values():
            self._end(tunnel)

    def _receive(self, event: h2.events.Event) -> None:
        tunnel = self._tunnels.get(getattr(event, "stream_id", None) or 0)
        if isinstance(event, (h2.events.WindowUpdated, h2.events.RemoteSettingsChanged)):
            for waiting in self._tunnels.values():
                waiting.window_opened.set()
        if tunnel is None:
            return
        if isinstance(event, h2.events.ResponseReceived):
            tunnel.writer.write(_response(event.headers, tunnel.accept))
        elif isinstance(event, h2.events.DataReceived):
            tunnel.writer.write(event.data)
            self._h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, (h2.events.StreamEnded, h2.events.StreamReset)):
            del self._tunnels[event.stream_id]
            if isinstance(event, h2.events.StreamEnded) and not tunnel.has_closed:
                self._h2.end_stream(event.stream_id)
            self._end(tunnel)

    @staticmethod
    def _end(tunnel: Tunnel) -> None:
        tunnel.ended.set()
        tunnel.window_opened.set()
        tunnel.writer.close()


def _response(headers: list[tuple[bytes, bytes]], accept: bytes) -> bytes:
    """The head of the response as a client of HTTP/1.1 expects it."""
    fields = [(bytes(name), bytes(value)) for name, value in headers]
    status = dict(fields)[b":status"]
    if status == b"200":
        status = b"101 Switching Protocols"
        fields += [(b"upgrade", b"websocket"), (b"connection", b"Upgrade"), (b"sec-websocket-accept", accept)]
    lines = [b"HTTP/1.1 " + status, *(name + b": " + value for name, value in fields if not name.startswith(b":"))]
    return b"\r\n".join(lines) + b"\r\n\r\n"
