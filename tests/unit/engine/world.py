"""What an engine lives in, for tests: a transport in memory, a clock that the test moves, a log that is kept."""

from __future__ import annotations

import asyncio
import errno
import os
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import uvloop

from appserver.asgi.types import ASGIApplication, Receive, Scope, Send
from appserver.engine.admission import Admission
from appserver.engine.connection import Connection
from appserver.engine.request_id import RequestIDs
from appserver.engine.scope import scope_template
from appserver.engine.service import Service
from appserver.http1.parser import make_lexer
from appserver.settings import HTTP2Settings, HTTPSettings, ProxySettings, WebSocketSettings
from appserver.telemetry.access_format import SessionEnd
from appserver.telemetry.scoreboard import Scoreboard
from appserver.telemetry.slot import WorkerSlot

LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
PARSERS = ("httptools", "h11")

CLIENT = ("192.0.2.1", 50000)


def run(scenario: Callable[[], Awaitable[None]], loop: str = "asyncio") -> None:
    """Run a test in an event loop; it must leave no task, and the loop must have nothing to complain about."""
    complaints: list[dict[str, Any]] = []

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
        async with asyncio.timeout(60):
            await scenario()
        await settle()
        assert asyncio.all_tasks() == {asyncio.current_task()}, "an application is still running"

    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        runner.run(main())
    assert not complaints


async def settle(turns: int = 12) -> None:
    """Let the loop do everything that is ready, and what that makes ready."""
    for _ in range(turns):
        await asyncio.sleep(0)


def make_slot() -> WorkerSlot:
    """The place of a worker in a scoreboard of its own, which lives as long as the slot."""
    return make_board().slot(0)


def make_board() -> Scoreboard:
    """A scoreboard with a worker in its first slot."""
    board = Scoreboard.create(2)
    os.close(board.fd)  # it is mapped
    board.slot(0).begin(pid=1, generation=1)
    return board


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Log:
    """A logger that keeps what it is told."""

    def __init__(self) -> None:
        self.records: list[tuple[str, str, dict[str, Any]]] = []

    def info(self, event: str, **fields: Any) -> None:
        self.records.append(("info", event, fields))

    def warning(self, event: str, **fields: Any) -> None:
        self.records.append(("warning", event, fields))

    def error(self, event: str, **fields: Any) -> None:
        self.records.append(("error", event, fields))

    def of(self, event: str) -> list[dict[str, Any]]:
        return [fields for _, found, fields in self.records if found == event]


class FakeSocket:
    """The socket behind a transport."""

    def __init__(self) -> None:
        self.options: dict[int, object] = {}

    def fileno(self) -> int:
        return -1  # as that of a closed one: nothing is left with the kernel

    def setsockopt(self, _level: int, option: int, value: object) -> None:
        self.options[option] = value


class FakeTransport(asyncio.Transport):
    """A transport whose client is the test: what is written is in `octets`, and `congest` makes it stop reading."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self.loop = loop
        self.protocol: asyncio.Protocol | None = None
        self.writes: list[bytes] = []
        self.congest_at = 0  # the write with which the client stops reading
        self.buffered = 0
        self.reading = True
        self.closed = False
        self.aborted = False
        self.half_closed = False
        self.reset_by_client = False
        self.socket = FakeSocket()

    @property
    def octets(self) -> bytes:
        return b"".join(self.writes)

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        assert isinstance(protocol, asyncio.Protocol)
        self.protocol = protocol

    def write(self, data: Any) -> None:
        assert not self.half_closed, "written after the end"
        assert not self.closed, "written after close"
        self.writes.append(bytes(data))
        if len(self.writes) == self.congest_at:
            self.congest()

    def writelines(self, data: Any) -> None:
        self.write(b"".join(data))

    def get_write_buffer_size(self) -> int:
        return self.buffered

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        if self.reset_by_client:
            raise OSError(errno.ENOTCONN, "Transport endpoint is not connected")
        self.half_closed = True

    def pause_reading(self) -> None:
        assert self.reading
        self.reading = False

    def resume_reading(self) -> None:
        assert not self.reading
        self.reading = True

    def is_closing(self) -> bool:
        return self.closed

    def was_aborted(self) -> bool:
        return self.aborted

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self.socket if name == "socket" else default

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            if not self.buffered:
                self.loop.call_soon(self._lose)

    def abort(self) -> None:
        self.aborted = True
        if not self.closed or self.buffered:
            self.closed = True
            self.buffered = 0
            self.loop.call_soon(self._lose)

    def _lose(self) -> None:
        assert self.protocol is not None
        self.protocol.connection_lost(None)

    def congest(self, buffered: int = 65537) -> None:
        """The client does not read: so much waits to be written."""
        assert self.protocol is not None
        self.buffered = buffered
        self.protocol.pause_writing()

    def relieve(self) -> None:
        """The client has read everything."""
        assert self.protocol is not None
        self.buffered = 0
        self.protocol.resume_writing()


@dataclass
class Response:
    """What a client got: `complete` if it ended as its framing says."""

    status: int
    headers: dict[bytes, bytes]
    body: bytes
    complete: bool = True


def parse(octets: bytes, methods: str = "") -> list[Response]:
    """Take apart what a server has written; `methods` names those of the requests that were not GET, by their order."""
    wanted, responses = methods.split(), []
    while octets:
        head, end, octets = octets.partition(b"\r\n\r\n")
        assert end, f"half a head: {head!r}"
        lines = head.split(b"\r\n")
        match = re.fullmatch(rb"HTTP/1\.1 (\d{3}) .*", lines[0])
        assert match, lines[0]
        status = int(match[1])
        headers = {name.lower(): value for name, _, value in (line.partition(b": ") for line in lines[1:])}
        if status == 100 or status == 103:
            responses.append(Response(status, headers, b""))
            continue
        method = wanted.pop(0) if wanted else "GET"
        body, complete = b"", True
        # Without the end of a head, or before its end, a server does not know that HEAD was meant.
        cut_off = status >= 400 and octets and not octets.startswith(b"HTTP/")
        if (method == "HEAD" and not cut_off) or status in (204, 304):
            pass
        elif b"content-length" in headers:
            length = int(headers[b"content-length"])
            body, octets = octets[:length], octets[length:]
            complete = len(body) == length
        elif headers.get(b"transfer-encoding") == b"chunked":
            body, octets, complete = parse_chunks(octets)
        else:
            body, octets = octets, b""
        responses.append(Response(status, headers, body, complete))
    return responses


def parse_chunks(octets: bytes) -> tuple[bytes, bytes, bool]:
    """Decode a chunked body: what it holds, what follows, and whether it was complete."""
    body = b""
    while True:
        line, end, rest = octets.partition(b"\r\n")
        if not end:
            return body, b"", False
        size = int(line, 16)
        if len(rest) < size + 2:
            return body + rest, b"", False
        assert rest[size : size + 2] == b"\r\n"
        body, octets = body + rest[:size], rest[size + 2 :]
        if size == 0:
            return body, octets, True


class Client:
    """The other end of a connection in memory."""

    def __init__(self, connection: Connection, transport: FakeTransport) -> None:
        self.connection = connection
        self.transport = transport

    async def send(self, *octets: bytes) -> None:
        for piece in octets:
            assert self.transport.reading, "the server does not read"
            assert self.transport.protocol is not None
            self.transport.protocol.data_received(piece)
            await settle()

    async def half_close(self) -> None:
        assert self.transport.protocol is not None
        if not self.transport.protocol.eof_received():
            self.transport.close()
        await settle()

    async def vanish(self) -> None:
        """Reset the connection."""
        if not self.transport.closed:
            self.transport.closed = True
            assert self.transport.protocol is not None
            self.transport.protocol.connection_lost(ConnectionResetError())
        await settle()

    def responses(self, methods: str = "") -> list[Response]:
        return parse(self.transport.octets, methods)

    def response(self, method: str = "GET") -> Response:
        (response,) = self.responses(method)
        return response

    @property
    def ended(self) -> bool:
        """Whether the client has seen the end of the connection."""
        return self.transport.closed or self.transport.half_closed


@dataclass
class AccessLines:
    """An access log that keeps its lines."""

    lines: list[tuple[str, int, int, int, str | None]] = field(default_factory=list)
    clients: list[tuple[str, int] | None] = field(default_factory=list)
    ids: list[str | None] = field(default_factory=list)
    sessions: list[SessionEnd] = field(default_factory=list)

    def request(
        self,
        head: Any,
        client: tuple[str, int] | None,
        status: int,
        seconds: float,
        received: int,
        sent: int,
        outcome: str | None = None,
        request_id: str | None = None,
    ) -> None:
        assert seconds >= 0
        self.clients.append(client)
        self.ids.append(request_id)
        self.lines.append((f"{head.method} {head.path}", status, received, sent, outcome))

    def session(
        self, head: Any, client: tuple[str, int] | None, end: SessionEnd, request_id: str | None = None
    ) -> None:
        assert end.seconds >= 0
        self.clients.append(client)
        self.ids.append(request_id)
        self.sessions.append(end)


class World:
    """A service with connections in memory. To be made inside a running loop."""

    def __init__(
        self,
        application: ASGIApplication,
        http: HTTPSettings | None = None,
        websocket: WebSocketSettings | None = None,
        http2: HTTP2Settings | None = None,
        *,
        admission: Admission | None = None,
        state: dict[str, Any] | None = None,
        root_path: str = "",
        proxy: ProxySettings | None = None,
        request_ids: RequestIDs | None = None,
    ) -> None:
        self.clock = Clock()
        self.log = Log()
        self.access = AccessLines()
        self.board = make_board()
        self.slot = self.board.slot(0)
        self.root_path = root_path
        access_log: Any = self.access
        http = http or HTTPSettings(server_header="", date_header=False)
        self.service = Service(
            application,
            http=http,
            lexer=make_lexer(http.parser),
            http2=http2 or HTTP2Settings(),
            websocket=websocket or WebSocketSettings(),
            admission=admission,
            root_path=root_path,
            state=state or {},
            slot=self.slot,
            access_log=access_log,
            logger=self.log,
            clock=self.clock,
            date=lambda: 0.0,
            proxy=proxy,
            request_ids=request_ids,
        )

    def connect(self) -> Client:
        transport = FakeTransport(self.service.loop)
        template = scope_template(
            scheme="http",
            server=("192.0.2.2", 80),
            root_path=self.root_path,
            strips_prefix=self.service.strips_prefix,
        )
        connection = Connection(self.service, self.service.peer(CLIENT, template))
        transport.protocol = connection
        self.slot.connection_opened()
        connection.connection_made(transport)
        return Client(connection, transport)

    async def pass_time(self, seconds: float) -> None:
        """Let time pass, with the sweeps that belong to it."""
        end = self.clock.now + seconds
        while self.clock.now < end:
            self.clock.now = min(end, self.clock.now + 1)
            self.service.registry.sweep(self.clock.now, ending=self.service.draining)
            await settle()


def request(target: str = "/", method: str = "GET", *headers: str, body: bytes = b"", version: str = "1.1") -> bytes:
    """A request; with a body, and no header that frames it, it gets a Content-Length."""
    lines = [f"{method} {target} HTTP/{version}", "Host: example.org", *headers]
    if body and not any(line.startswith(("Content-Length", "Transfer-Encoding")) for line in headers):
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


async def read_body(receive: Receive) -> bytes | None:
    """The whole body, or None if the client goes away before its end."""
    body: bytes = b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        body += message["body"]
        if not message["more_body"]:
            return body


async def respond(send: Send, body: bytes = b"", status: int = 200, *headers: tuple[bytes, bytes]) -> None:
    await send({"type": "http.response.start", "status": status, "headers": list(headers)})
    await send({"type": "http.response.body", "body": body})


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with method, path and body."""
    body = await read_body(receive)
    if body is not None:
        await respond(send, f"{scope['method']} {scope['path']} ".encode() + body)


async def silent(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers without looking at the request."""
    await respond(send, b"ok")


def rejected(world: World) -> dict[str, int]:
    """The counter of refusals, without what has not happened."""
    ints: Any = world.slot._ints
    return {reason: ints[cell] for reason, cell in world.slot._rejected.items() if ints[cell]}
