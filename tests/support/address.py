"""Where a listener can be reached, as the server's log says it, and ways to connect to it."""

from __future__ import annotations

import asyncio
import http.client
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Response:
    """A complete HTTP response; field names are lower-case."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode()


@dataclass(frozen=True, slots=True)
class Address:
    """`host` and `port` of a TCP listener, or the `path` of a unix socket."""

    host: str = ""
    port: int = 0
    path: str = ""

    @classmethod
    def parse(cls, text: str) -> Address:
        """Read "127.0.0.1:8000", "[::1]:8000" or "unix:/path", with or without a scheme in front."""
        text = text.removeprefix("http://").removeprefix("tcp:").removeprefix("//")
        if text.startswith("unix:"):
            return cls(path=text.removeprefix("unix:"))
        host, _, port = text.rpartition(":")
        return cls(host.strip("[]"), int(port))

    def __str__(self) -> str:
        if self.path:
            return f"unix:{self.path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def websocket(self, target: str = "/") -> str:
        """The URL of a WebSocket session."""
        return f"ws://{self}{target}"

    def connect(self, timeout: float = 30.0) -> socket.socket:
        """Open a blocking connection that waits at most `timeout` seconds for anything."""
        if not self.path:
            return socket.create_connection((self.host, self.port), timeout)
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(timeout)
        try:
            connection.connect(self.path)
        except OSError:
            connection.close()
            raise
        return connection

    async def open_connection(
        self, client: ssl.SSLContext | None = None
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Open a connection with asyncio's streams; with a context, to "localhost" in its certificate."""
        name = None if client is None else "localhost"
        if self.path:
            return await asyncio.open_unix_connection(self.path, ssl=client, server_hostname=name)
        return await asyncio.open_connection(self.host, self.port, ssl=client, server_hostname=name)

    def request(
        self,
        method: str = "GET",
        target: str = "/",
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        timeout: float = 30.0,
    ) -> Response:
        """Send one request on a connection of its own and return the response."""
        client = http.client.HTTPConnection(self.host or "localhost", self.port, timeout=timeout)
        client.sock = self.connect(timeout)
        try:
            client.request(method, target, body=body, headers={"Connection": "close", **(headers or {})})
            response = client.getresponse()
            return Response(
                response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()
            )
        finally:
            client.close()

    def converse(self, data: bytes, timeout: float = 30.0) -> bytes:
        """Send octets as they are, and return everything until the server closes the connection."""
        received = []
        with self.connect(timeout) as connection:
            connection.sendall(data)
            while piece := connection.recv(65536):
                received.append(piece)
        return b"".join(received)
