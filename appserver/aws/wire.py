"""An HTTP/1.1 connection as a client needs it that talks to one server, which it has no reason to distrust."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import NamedTuple

from appserver.engine.waiters import Waiters
from appserver.errors import RequestError
from appserver.http.limits import Limits
from appserver.http1.chunked import ChunkedDecoder

MAX_HEAD = 256 * 1024
"""Octets of the head of a reply at most. The client context of an invocation is in one."""


class Reply(NamedTuple):
    """A response; `headers` have names in lower case, of equal ones the last counts."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def excerpt(self) -> str:
        """The beginning of the body, for a message."""
        return self.body[:256].decode("utf-8", "backslashreplace")


class Wire(asyncio.Protocol):
    """One exchange at a time: `begin`, any number of `write`, `reply`."""

    def __init__(self, host: str) -> None:
        self._host = host
        self._transport: asyncio.Transport | None = None
        self._loop = asyncio.get_running_loop()
        self._writers = Waiters(self._loop)
        self._received = bytearray()
        self._head: tuple[int, dict[str, str]] | None = None
        self._decoder: ChunkedDecoder | None = None
        self._pieces: list[bytes | bytearray] = []
        self._reply: asyncio.Future[Reply] | None = None
        self._closes = False  # the server, behind this reply
        self._is_open_ended = False  # so the end of its body is that of the connection
        self._error: Exception | None = None
        self.congested = False
        self.is_lost = False

    @classmethod
    async def open(cls, host: str, port: int, authority: str) -> Wire:
        """Connect. Raises OSError."""
        loop = asyncio.get_running_loop()
        _, wire = await loop.create_connection(lambda: cls(authority), host, port)
        return wire

    def begin(self, method: str, path: str, fields: Mapping[str, str], *, length: int | None) -> None:
        """Send the head of a request. `length` is that of its body: None for none, -1 for chunks, which `write` is to be given."""
        self._reply = self._loop.create_future()
        self._head = None
        lines = [f"{method} {path} HTTP/1.1", f"Host: {self._host}", "User-Agent: appserver"]
        lines += [f"{name}: {value}" for name, value in fields.items()]
        if length is not None:
            lines.append("Transfer-Encoding: chunked" if length < 0 else f"Content-Length: {length}")
        self.write("\r\n".join([*lines, "", ""]).encode())

    def write(self, data: bytes) -> None:
        if self._transport is not None and not self.is_lost:
            self._transport.write(data)

    async def writable(self) -> None:
        """Wait until the other side takes more, or is gone."""
        while self.congested:
            await self._writers.wait()

    async def reply(self) -> Reply:
        """The response. Raises ConnectionError if the connection breaks before it is there."""
        if self._reply is None:
            raise ConnectionError("nothing was asked")
        if self.is_lost and not self._reply.done():
            raise self._error or ConnectionResetError("the connection was closed")
        try:
            return await self._reply
        except asyncio.CancelledError:
            self.abort()  # whatever comes now would be taken for the answer to something else
            raise

    def abort(self) -> None:
        self.is_lost = True
        if self._transport is not None:
            self._transport.abort()

    # Called by the transport.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def pause_writing(self) -> None:
        self.congested = True

    def resume_writing(self) -> None:
        self.congested = False
        self._writers.wake()

    def data_received(self, data: bytes) -> None:
        self._received += data
        try:
            self._advance()
        except (ValueError, RequestError) as error:
            self._break(ConnectionError(f"the answer cannot be understood: {error}"))

    def connection_lost(self, exc: Exception | None) -> None:
        if exc is None and self._is_open_ended and self._head is not None:
            self._finish(bytes(self._received))
        self._break(exc if isinstance(exc, ConnectionError) else ConnectionResetError("the connection was closed"))

    def _break(self, error: ConnectionError) -> None:
        self.is_lost = True
        self._error = error
        self.congested = False
        self._writers.wake()
        if self._transport is not None:
            self._transport.abort()
        if self._reply is not None and not self._reply.done():
            self._reply.set_exception(error)
            self._reply.exception()  # somebody may ask later, or never

    def _advance(self) -> None:
        """Take what has arrived as far as it goes. Raises ValueError and RequestError."""
        while self._reply is not None and not self._reply.done():
            if self._head is None:
                end = self._received.find(b"\r\n\r\n")
                if end < 0:
                    if len(self._received) > MAX_HEAD:
                        raise ValueError("its head is too large")
                    return
                head = _read_head(bytes(self._received[:end]))
                del self._received[: end + 4]
                if head[0] < 200:
                    continue
                self._begin_body(head)
            body = self._read_body()
            if body is None:
                return
            self._finish(body)

    def _finish(self, body: bytes) -> None:
        assert self._head is not None
        status, headers = self._head
        if self._closes and self._transport is not None:
            self.is_lost = True
            self._transport.close()
        if self._reply is not None and not self._reply.done():
            self._reply.set_result(Reply(status, headers, body))

    def _begin_body(self, head: tuple[int, dict[str, str]]) -> None:
        self._head = head
        headers = head[1]
        self._closes = headers.get("connection", "").lower() == "close"
        # RFC 9112 section 6.3: such a body ends with the connection. Without "close" it is taken for none, and not waited for.
        self._is_open_ended = self._closes and not headers.keys() & {"content-length", "transfer-encoding"}
        self._pieces = []
        self._decoder = None
        if headers.get("transfer-encoding", "").lower() == "chunked":
            self._decoder = ChunkedDecoder(Limits())

    def _read_body(self) -> bytes | None:
        """The body, if it is there as a whole."""
        assert self._head is not None
        if self._decoder is not None:
            read = self._decoder.decode(self._received, 0, self._pieces)
            del self._received[:read]
            return b"".join(self._pieces) if self._decoder.finished else None
        if self._is_open_ended:
            return None
        said = self._head[1].get("content-length", "0")
        if not (said.isascii() and said.isdigit()):
            raise ValueError(f"its body has the length {said[:64]!r}")
        length = int(said)
        if len(self._received) < length:
            return None
        body = bytes(self._received[:length])
        del self._received[:length]
        return body


def _read_head(head: bytes) -> tuple[int, dict[str, str]]:
    """Status and headers. Raises ValueError."""
    first, *lines = head.decode("latin-1").split("\r\n")
    version, _, rest = first.partition(" ")
    if not version.startswith("HTTP/1.") or not rest[:3].isdigit():
        raise ValueError(f"it begins with {first[:64]!r}")
    headers = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon:
            raise ValueError(f"a line of its head has no colon: {line[:64]!r}")
        headers[name.strip().lower()] = value.strip()
    return int(rest[:3]), headers
