"""A client of a connection in memory that speaks HTTP/2, by `h2`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import h2.config
import h2.connection
import h2.events
import h2.settings

from appserver.engine.http2_connection import HTTP2Connection
from appserver.engine.scope import scope_template
from tests.unit.engine.world import CLIENT, FakeTransport, World, settle

Headers = list[tuple[bytes, bytes]]

GET: Headers = [(b":method", b"GET"), (b":scheme", b"https"), (b":authority", b"example.org"), (b":path", b"/")]


@dataclass
class Answer:
    """What the client has got on one stream."""

    headers: dict[bytes, bytes] = field(default_factory=dict)
    interim: list[Headers] = field(default_factory=list)
    body: bytes = b""
    trailers: dict[bytes, bytes] = field(default_factory=dict)
    ended: bool = False
    reset: int | None = None

    @property
    def status(self) -> int:
        return int(self.headers.get(b":status", b"0"))


class HTTP2Client:
    """The other end; everything that the server writes is read at once unless `reads` is False."""

    def __init__(self, world: World, *, window: int | None = None) -> None:
        self.transport = FakeTransport(world.service.loop)
        template = scope_template(scheme="https", server=("192.0.2.2", 443), root_path="", strips_prefix=True)
        self.connection = HTTP2Connection(world.service, world.service.peer(CLIENT, template))
        self.transport.protocol = self.connection
        world.slot.connection_opened()
        self.connection.connection_made(self.transport)
        config = h2.config.H2Configuration(
            header_encoding=None, validate_outbound_headers=False, normalize_outbound_headers=False
        )
        self.h2 = h2.connection.H2Connection(config)
        self.window = window  # of its streams, if not the default
        self.answers: dict[int, Answer] = {}
        self.goaways: list[tuple[int, int]] = []
        self.pings = 0
        self.takes_data = True  # opens the windows for what it has got
        self._next = 1
        self._read = 0

    async def begin(self) -> HTTP2Client:
        self.h2.initiate_connection()
        if self.window is not None:
            self.h2.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: self.window})
        await self.flush()
        return self

    async def flush(self) -> None:
        """Send what there is to send, and read what the server answers, until both are silent."""
        while True:
            await settle()
            self.read()
            octets = self.h2.data_to_send()
            if not octets or self.transport.closed:
                return
            assert self.transport.protocol is not None
            self.transport.protocol.data_received(octets)

    async def octets(self, octets: bytes) -> None:
        """Send octets that `h2` would not."""
        assert self.transport.protocol is not None
        self.transport.protocol.data_received(octets)
        await self.flush()

    def read(self) -> None:
        octets = self.transport.octets[self._read :]
        self._read += len(octets)
        for event in self.h2.receive_data(octets):
            self._take(event)

    async def request(
        self, headers: Iterable[tuple[bytes, bytes]] = (), *, body: bytes | None = None, end: bool = True, **pseudo: str
    ) -> int:
        """Begin a request; returns its stream."""
        stream_id = self._next
        self._next += 2
        self.answers[stream_id] = Answer()
        fields = [(name, pseudo.get(name[1:].decode(), value.decode()).encode()) for name, value in GET]
        self.h2.send_headers(stream_id, [*fields, *headers], end_stream=end and body is None)
        if body is not None:
            self.h2.send_data(stream_id, body, end_stream=end)
        await self.flush()
        return stream_id

    @staticmethod
    def new_answer() -> Answer:
        return Answer()

    async def data(self, stream_id: int, data: bytes, *, end: bool = False) -> None:
        self.h2.send_data(stream_id, data, end_stream=end)
        await self.flush()

    async def reset(self, stream_id: int) -> None:
        self.h2.reset_stream(stream_id, 8)
        await self.flush()

    async def get(self, path: str = "/") -> Answer:
        return self.answers[await self.request(path=path)]

    @property
    def ended(self) -> bool:
        return self.transport.closed or self.transport.half_closed

    def _take(self, event: h2.events.Event) -> None:
        answer = self.answers.get(getattr(event, "stream_id", 0) or 0, Answer())
        if isinstance(event, h2.events.InformationalResponseReceived):
            answer.interim.append([(bytes(name), bytes(value)) for name, value in event.headers])
        elif isinstance(event, h2.events.ResponseReceived):
            answer.headers = {bytes(name): bytes(value) for name, value in event.headers}
        elif isinstance(event, h2.events.DataReceived):
            answer.body += event.data
            if self.takes_data and event.flow_controlled_length:
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, h2.events.TrailersReceived):
            answer.trailers = {bytes(name): bytes(value) for name, value in event.headers}
        elif isinstance(event, h2.events.StreamEnded):
            answer.ended = True
        elif isinstance(event, h2.events.StreamReset):
            if event.remote_reset:
                answer.reset = int(event.error_code)
        elif isinstance(event, h2.events.ConnectionTerminated):
            self.goaways.append((int(event.last_stream_id or 0), int(event.error_code or 0)))
        elif isinstance(event, h2.events.PingReceived):
            self.pings += 1
