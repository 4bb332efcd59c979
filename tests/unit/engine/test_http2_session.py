"""WebSocket sessions in streams of HTTP/2 (RFC 8441)."""

from __future__ import annotations

import asyncio

import pytest

from appserver.asgi.types import Message, Receive, Scope, Send
from appserver.http2.errors import Code
from appserver.settings import HTTP2Settings, HTTPSettings, WebSocketSettings
from tests.unit.engine.http2_client import HTTP2Client
from tests.unit.engine.world import World, rejected, run, settle
from tests.unit.websocket.frames import PING, TEXT, close, frame, text

CONNECT = [
    *((b":method", b"CONNECT"), (b":protocol", b"websocket"), (b":scheme", b"https"), (b":path", b"/")),
    *((b":authority", b"example.org"), (b"sec-websocket-version", b"13")),
]
LOOPS = pytest.mark.parametrize("loop", ["asyncio", "uvloop"])


class App:
    """Accepts and echoes; keeps what it gets."""

    def __init__(self, **accept: object) -> None:
        self.accept = accept
        self.scopes: list[Scope] = []
        self.messages: list[Message] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scopes.append(scope)
        await receive()
        await send({"type": "websocket.accept"} | self.accept)
        while True:
            message = await receive()
            self.messages.append(message)
            if message["type"] == "websocket.disconnect":
                return
            await send({"type": "websocket.send", "text": message["text"]})


async def connect(client: HTTP2Client, *headers: tuple[bytes, bytes], **pseudo: str) -> int:
    """Begin a session; returns its stream."""
    stream_id = client._next
    fields = [(b":method", b"CONNECT"), (b":protocol", b"websocket"), (b":scheme", b"https"), (b":path", b"/chat")]
    fields = [(name, pseudo.get(name[1:].decode(), value.decode()).encode()) for name, value in fields]
    head = [*fields, (b":authority", b"example.org"), (b"sec-websocket-version", b"13"), *headers]
    client._next += 2
    client.answers[stream_id] = client.new_answer()
    client.h2.send_headers(stream_id, head)
    await client.flush()
    return stream_id


class TestSessions:
    @LOOPS
    def test_a_session(self, loop: str) -> None:
        async def scenario() -> None:
            app = App(subprotocol="b", headers=[(b"X-Own", b"1")])
            world = World(app)
            client = await HTTP2Client(world).begin()
            stream = await connect(client, (b"sec-websocket-protocol", b"a, b"), (b"origin", b"https://example.org"))
            answer = client.answers[stream]
            assert answer.headers == {b":status": b"200", b"sec-websocket-protocol": b"b", b"x-own": b"1"}
            (scope,) = app.scopes
            assert (scope["type"], scope["http_version"], scope["scheme"]) == ("websocket", "2", "wss")
            assert (scope["path"], scope["subprotocols"]) == ("/chat", ["a", "b"])
            await client.data(stream, text("hello") + frame(PING, b"x"))
            await client.data(stream, text("grüße")[:7])
            await client.data(stream, text("grüße")[7:])
            assert answer.body == b"\x8a\x01x\x81\x05hello\x81\x07" + "grüße".encode()
            await client.data(stream, close(1000), end=True)
            assert answer.body.endswith(b"\x88\x02\x03\xe8")
            assert (answer.ended, answer.reset) == (True, None)
            assert app.messages[-1] == {"type": "websocket.disconnect", "code": 1000, "reason": ""}
            assert [(end.messages_received, end.messages_sent, end.code) for end in world.access.sessions] == [
                (2, 2, 1000)
            ]
            assert not client.connection.http2.streams

        run(scenario, loop)

    def test_beside_requests_on_one_connection(self) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == "websocket":
                await App()(scope, receive, send)
                return
            await send({"type": "http.response.start", "status": 204})
            await send({"type": "http.response.body"})

        async def scenario() -> None:
            client = await HTTP2Client(World(app)).begin()
            stream = await connect(client)
            assert (await client.get()).status == 204
            await client.data(stream, text("still here"))
            assert client.answers[stream].body.endswith(b"still here")
            await client.data(stream, close(1000), end=True)

        run(scenario)

    def test_the_extension_for_compression(self) -> None:
        async def scenario() -> None:
            client = await HTTP2Client(World(App())).begin()
            stream = await connect(client, (b"sec-websocket-extensions", b"permessage-deflate"))
            assert client.answers[stream].headers[b"sec-websocket-extensions"].startswith(b"permessage-deflate")
            await client.data(stream, frame(TEXT, b"\xcaH\xcd\xc9\xc9\x07\x00", rsv=4))  # RFC 7692 section 7.2.3.1
            assert client.answers[stream].body == b"\x81\x05hello"
            await client.data(stream, close(1000), end=True)

        run(scenario)

    def test_a_session_that_is_not_accepted(self) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await receive()
            await send({"type": "websocket.close"})

        async def scenario() -> None:
            world = World(app)
            client = await HTTP2Client(world).begin()
            answer = client.answers[await connect(client)]
            assert (answer.status, answer.ended) == (403, True)
            assert [line[:2] for line in world.access.lines] == [("CONNECT /chat", 403)]
            assert not world.log.records
            await world.pass_time(4)
            await client.flush()
            assert answer.reset == Code.CANCEL  # the client had its time to end its direction
            assert not client.connection.http2.streams

        run(scenario)

    def test_another_response(self) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await send({"type": "websocket.http.response.start", "status": 401, "headers": [(b"x", b"y")]})
            await send({"type": "websocket.http.response.body", "body": b"who", "more_body": True})
            await send({"type": "websocket.http.response.body", "body": b" are you?"})

        async def scenario() -> None:
            client = await HTTP2Client(World(app)).begin()
            answer = client.answers[await connect(client)]
            assert (answer.status, answer.body, answer.ended) == (401, b"who are you?", True)

        run(scenario)

    def test_an_application_that_fails(self) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            raise RuntimeError

        async def scenario() -> None:
            client = await HTTP2Client(World(app)).begin()
            assert client.answers[await connect(client)].status == 500

        run(scenario)


class TestHandshake:
    @pytest.mark.parametrize("version", [b"8", b""])
    def test_another_version(self, version: bytes) -> None:
        async def scenario() -> None:
            world = World(App())
            client = await HTTP2Client(world).begin()
            client.h2.send_headers(
                1,
                [
                    *((b":method", b"CONNECT"), (b":protocol", b"websocket"), (b":scheme", b"https")),
                    *((b":path", b"/"), (b":authority", b"example.org"), (b"sec-websocket-version", version)),
                ],
            )
            client.answers[1] = client.new_answer()
            await client.flush()
            assert client.answers[1].status == 400
            assert client.answers[1].headers[b"sec-websocket-version"] == b"13"
            assert rejected(world) == {"bad_handshake": 1}

        run(scenario)

    def test_another_protocol(self) -> None:
        async def scenario() -> None:
            client = await HTTP2Client(World(App())).begin()
            assert client.answers[await connect(client, protocol="connect-udp")].status == 501

        run(scenario)

    def test_it_is_only_offered_where_it_is_spoken(self) -> None:
        async def scenario() -> None:
            for enabled in (True, False):
                client = await HTTP2Client(World(App(), websocket=WebSocketSettings(enabled=enabled))).begin()
                assert client.h2.remote_settings.enable_connect_protocol == int(enabled)
                answer = client.answers[await connect(client)]
                assert (answer.status, answer.reset) == ((200, None) if enabled else (0, Code.PROTOCOL_ERROR))
                client.transport.abort()
                await settle()

        run(scenario)

    def test_a_denial_that_is_not_complete_is_answered_500_if_nothing_of_it_has_left(self) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await send({"type": "websocket.http.response.start", "status": 401, "headers": []})
            raise RuntimeError

        async def scenario() -> None:
            world = World(app)
            client = await HTTP2Client(world).begin()
            stream = await connect(client)
            assert client.answers[stream].status == 500
            assert len(world.log.of("application failed")) == 1
            assert not world.service.registry.sessions

        run(scenario)


class TestEnds:
    def test_a_reset_ends_the_session(self) -> None:
        async def scenario() -> None:
            app = App()
            world = World(app)
            client = await HTTP2Client(world).begin()
            stream = await connect(client)
            await client.reset(stream)
            assert app.messages == [{"type": "websocket.disconnect", "code": 1006, "reason": "the stream was reset"}]
            assert [end.outcome for end in world.access.sessions] == ["aborted"]

        run(scenario)

    def test_so_does_the_end_of_the_clients_direction(self) -> None:
        async def scenario() -> None:
            app = App()
            client = await HTTP2Client(World(app)).begin()
            stream = await connect(client)
            await client.data(stream, b"", end=True)
            assert [message["code"] for message in app.messages] == [1006]
            assert client.answers[stream].ended

        run(scenario)

    def test_what_has_arrived_before_the_end_of_the_clients_direction_is_read_first(self) -> None:
        gate = asyncio.Event()
        messages: list[Message] = []

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await receive()
            await send({"type": "websocket.accept"})
            await gate.wait()
            while not messages or messages[-1]["type"] != "websocket.disconnect":
                messages.append(await receive())

        async def scenario() -> None:
            world = World(app, websocket=WebSocketSettings(max_queue=2))
            client = await HTTP2Client(world).begin()
            stream = await connect(client)
            for _ in range(5):
                await client.data(stream, text("x"))
            await client.data(stream, close(1000), end=True)
            gate.set()
            await client.flush()
            assert [message["type"] for message in messages] == ["websocket.receive"] * 5 + ["websocket.disconnect"]
            assert messages[-1]["code"] == 1000
            assert client.answers[stream].ended
            assert not client.connection.http2.streams

        run(scenario)

    def test_and_that_of_the_connection(self) -> None:
        async def scenario() -> None:
            app = App()
            client = await HTTP2Client(World(app)).begin()
            for _ in range(2):
                await connect(client)
            client.transport.abort()
            await settle()
            assert [message["code"] for message in app.messages] == [1006] * 2

        run(scenario)

    @pytest.mark.parametrize("then", ["a reset", "the end", "a violation"])
    def test_a_client_that_ends_it_in_the_same_breath_as_it_begins_it(self, then: str) -> None:
        async def scenario() -> None:
            app = App()
            world = World(app)
            client = await HTTP2Client(world).begin()
            client.answers[1] = client.new_answer()
            client._next = 3
            client.h2.send_headers(1, CONNECT)
            if then == "a reset":
                client.h2.reset_stream(1, Code.CANCEL)
            elif then == "the end":
                client.h2.send_data(1, b"", end_stream=True)
            rest = bytes.fromhex("000003060000000000616263") if then == "a violation" else b""
            await client.octets(client.h2.data_to_send() + rest)
            assert len(app.scopes) == (1 if then == "the end" else 0)
            assert client.ended == (then == "a violation")
            assert not world.service.registry.sessions
            if not client.ended:
                assert client.answers[1].body == b""
                assert (await client.get()).status == 500  # by this application, on the same connection

        run(scenario)

    def test_a_handshake_that_ends_the_clients_direction(self) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await receive()
            messages.append(await receive())

        messages: list[Message] = []

        async def scenario() -> None:
            client = await HTTP2Client(World(app)).begin()
            client.answers[1] = client.new_answer()
            client.h2.send_headers(1, CONNECT, end_stream=True)
            await client.flush()
            assert [message["code"] for message in messages] == [1006]
            assert client.answers[1].reset == Code.CANCEL

        run(scenario)

    def test_a_client_that_opens_no_window_loses_its_session(self) -> None:
        app = App()

        async def greet(scope: Scope, receive: Receive, send: Send) -> None:
            async def send_greeting(message: Message) -> None:
                await send(message)
                if message["type"] == "websocket.accept":
                    await send({"type": "websocket.send", "text": "hello"})

            await app(scope, receive, send_greeting)

        async def scenario() -> None:
            world = World(greet, HTTPSettings(write_timeout=5))
            client = await HTTP2Client(world, window=0).begin()
            stream = await connect(client)
            await world.pass_time(7)
            await client.flush()
            assert client.answers[stream].reset == Code.CANCEL
            assert rejected(world) == {"write_timeout": 1}
            assert [message["type"] for message in app.messages] == ["websocket.disconnect"]
            assert not world.service.registry.sessions

        run(scenario)

    @pytest.mark.parametrize("how", ["a reset", "the end"])
    def test_applications_that_go_on_without_their_clients_count_as_streams(self, how: str) -> None:
        gate = asyncio.Event()

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await gate.wait()

        async def scenario() -> None:
            client = await HTTP2Client(World(app, http2=HTTP2Settings(max_concurrent_streams=3))).begin()
            for _ in range(3):
                stream = await connect(client)
                if how == "a reset":
                    await client.reset(stream)
                else:
                    await client.data(stream, b"", end=True)
            assert client.answers[await connect(client)].reset == Code.REFUSED_STREAM
            gate.set()
            await settle()
            assert client.answers[await connect(client)].status == 500

        run(scenario)

    def test_a_client_that_does_not_end_its_direction_is_reset(self) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await send({"type": "websocket.accept"})

        async def scenario() -> None:
            world = World(app)
            client = await HTTP2Client(world).begin()
            stream = await connect(client)
            await client.data(stream, close(1000))
            assert client.answers[stream].ended
            assert client.answers[stream].reset is None
            await world.pass_time(4)
            await client.flush()
            assert client.answers[stream].reset == Code.CANCEL

        run(scenario)

    def test_a_drain_says_goodbye_to_each(self) -> None:
        async def scenario() -> None:
            app = App()
            world = World(app)
            client = await HTTP2Client(world).begin()
            stream = await connect(client)
            world.service.draining = True
            world.service.farewell = (1012, "again")
            client.connection.drain()
            await settle()
            client.read()
            assert client.answers[stream].body == b"\x88\x07\x03\xf4again"
            await client.data(stream, close(1012), end=True)
            await world.pass_time(2)
            assert client.ended

        run(scenario)

    def test_time_limits_of_sessions_are_kept(self) -> None:
        async def scenario() -> None:
            world = World(App(), websocket=WebSocketSettings(ping_interval=5, ping_timeout=5))
            client = await HTTP2Client(world).begin()
            stream = await connect(client)
            await world.pass_time(7)
            await client.flush()
            assert client.answers[stream].body == b"\x89\x00"
            await world.pass_time(7)
            await client.flush()
            assert rejected(world) == {"ping_timeout": 1}
            assert client.answers[stream].ended

        run(scenario)

    def test_a_handshake_that_is_never_answered(self) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await asyncio.sleep(1000)

        async def scenario() -> None:
            world = World(app, HTTPSettings(request_timeout=5))
            client = await HTTP2Client(world).begin()
            stream = await connect(client)
            await world.pass_time(7)
            await client.flush()
            assert client.answers[stream].status == 504

        run(scenario)


class TestFlow:
    def test_an_application_that_takes_nothing_closes_its_own_window(self) -> None:
        gate = asyncio.Event()

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await receive()
            await send({"type": "websocket.accept"})
            await gate.wait()
            while (await receive())["type"] != "websocket.disconnect":
                pass

        async def scenario() -> None:
            client = await HTTP2Client(World(app, http2=HTTP2Settings(stream_window=64 * 1024))).begin()
            stream = await connect(client)
            while client.h2.local_flow_control_window(stream) > 10_000:
                await client.data(stream, text("x" * 8000))
            other = await connect(client)
            await client.data(other, text("x" * 8000))
            gate.set()
            await client.flush()
            assert client.h2.local_flow_control_window(stream) > 30_000
            for stream_id in (stream, other):
                await client.data(stream_id, close(1000), end=True)

        run(scenario)

    def test_an_application_waits_for_a_client_that_does_not_read(self) -> None:
        sent = 0

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            nonlocal sent
            await send({"type": "websocket.accept"})
            for _ in range(50):
                await send({"type": "websocket.send", "bytes": bytes(10_000)})
                sent += 1

        async def scenario() -> None:
            client = await HTTP2Client(World(app), window=0).begin()
            stream = await connect(client)
            assert sent < 10
            client.h2.increment_flow_control_window(1_000_000, stream)
            client.h2.increment_flow_control_window(1_000_000)
            for _ in range(5):
                await client.flush()
            assert sent == 50
            await client.data(stream, close(1000), end=True)

        run(scenario)

    @pytest.mark.parametrize("what", ["the answer to a ping", "a ping"])
    def test_it_does_not_wait_for_ever_if_the_server_writes_meanwhile(self, what: str) -> None:
        sent: list[str] = []

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await send({"type": "websocket.accept"})
            await send({"type": "websocket.send", "bytes": bytes(90_000)})
            sent.append("all")

        async def scenario() -> None:
            world = World(app, websocket=WebSocketSettings(ping_interval=20))
            client = await HTTP2Client(world, window=40_000).begin()
            client.takes_data = False
            stream = await connect(client)
            assert not sent
            if what == "a ping":
                await world.pass_time(21)
            else:
                await client.data(stream, frame(PING, b"there?"))
            assert not sent
            client.h2.increment_flow_control_window(1_000_000, stream)
            client.h2.increment_flow_control_window(1_000_000)
            await client.flush()
            assert sent
            await client.data(stream, close(1000), end=True)

        run(scenario)
