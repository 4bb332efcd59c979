"""WebSocket sessions: what the application sees, what the client sees (ASGI WebSocket specification, version 2.5)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from appserver.asgi.types import ASGIApplication, Message, Receive, Scope, Send
from appserver.errors import ClientDisconnected
from appserver.http.response import ResponseError
from appserver.settings import HTTPSettings, WebSocketSettings
from tests.unit.engine.world import CLIENT, LOOPS, PARSERS, Client, World, parse, rejected, request, run, settle
from tests.unit.websocket import frames
from tests.unit.websocket.frames import BINARY, CLOSE, PING, PONG, TEXT, Sent, close, frame, text

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
UPGRADE = ("Upgrade: websocket", "Connection: Upgrade")
FIELDS = (*UPGRADE, f"Sec-WebSocket-Key: {KEY}", "Sec-WebSocket-Version: 13")

Handler = Callable[["Talk"], Awaitable[None]]


def handshake(*fields: str, target: str = "/ws") -> bytes:
    return request(target, "GET", *FIELDS, *fields)


class Talk:
    """An application's side of a session."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scope, self.receive, self.send = scope, receive, send

    async def accept(self, **more: Any) -> None:
        assert await self.receive() == {"type": "websocket.connect"}
        await self.send({"type": "websocket.accept", **more})

    async def message(self) -> str | bytes:
        found = await self.receive()
        assert found["type"] == "websocket.receive", found
        text: str | None = found.get("text")
        octets: bytes = found.get("bytes", b"")
        return octets if text is None else text

    async def say(self, data: str | bytes) -> None:
        await self.send({"type": "websocket.send", "text" if isinstance(data, str) else "bytes": data})

    async def close(self, **more: Any) -> None:
        await self.send({"type": "websocket.close", **more})

    async def receive_all(self) -> None:
        while (await self.receive())["type"] != "websocket.disconnect":
            pass


def application(handler: Handler) -> ASGIApplication:
    async def run_handler(scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["type"] == "websocket"
        await handler(Talk(scope, receive, send))

    return run_handler


@application
async def echo(talk: Talk) -> None:
    await talk.accept()
    while (message := await talk.receive())["type"] == "websocket.receive":
        await talk.send({**message, "type": "websocket.send"})
    talk.scope["state"]["ends"].append((message["code"], message["reason"]))


def make(handler: Handler | None, **websocket: Any) -> World:
    """A world with that application, or `echo`; its state has a list `ends`."""
    app = echo if handler is None else application(handler)
    return World(app, websocket=WebSocketSettings(**websocket), state={"ends": []})


def ends(world: World) -> list[tuple[int, str]]:
    found: list[tuple[int, str]] = world.service.state["ends"]
    return found


async def open_session(world: World, *fields: str) -> Client:
    """A client whose session is open; what it has got for that is forgotten."""
    client = world.connect()
    await client.send(handshake(*fields))
    assert head_of(client).startswith(b"HTTP/1.1 101 ")
    client.transport.writes.clear()
    return client


def head_of(client: Client) -> bytes:
    head, end, rest = client.transport.octets.partition(b"\r\n\r\n")
    assert end
    client.transport.writes[:] = [rest]
    return head + end


def got(client: Client) -> list[Sent]:
    """What the server has sent since the last time."""
    found = frames.parse(client.transport.octets)
    client.transport.writes.clear()
    return found


class TestHandshake:
    @pytest.mark.parametrize("loop", LOOPS)
    @pytest.mark.parametrize("parser", PARSERS)
    def test_it_is_answered_when_the_application_accepts(self, loop: str, parser: Any) -> None:
        async def scenario() -> None:
            world = World(echo, HTTPSettings(parser=parser, server_header="x", date_header=False), state={"ends": []})
            client = world.connect()
            await client.send(handshake())
            assert head_of(client) == (
                b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n"
                b"sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nserver: x\r\n\r\n"
            )
            await client.send(text("hello"), frame(BINARY, b"\x00"))
            assert got(client) == [Sent(TEXT, b"hello"), Sent(BINARY, b"\x00")]
            await client.send(close())
            assert got(client)[0].code == 1000
            assert client.ended
            await client.vanish()
            assert ends(world) == [(1000, "")]

        run(scenario, loop)

    def test_the_scope_is_as_complete_as_that_of_a_request(self) -> None:
        scopes: list[Scope] = []

        async def handler(talk: Talk) -> None:
            scopes.append(talk.scope)

        async def scenario() -> None:
            world = World(application(handler), state={"key": "value"}, root_path="/app")
            await world.connect().send(handshake("Sec-WebSocket-Protocol: a, b", target="/w%20s?q=1"))
            (scope,) = scopes
            headers = dict(scope.pop("headers"))
            assert headers[b"host"] == b"example.org"
            assert headers[b"sec-websocket-key"] == KEY.encode()
            assert scope == {
                "type": "websocket",
                "asgi": {"version": "3.0", "spec_version": "2.5"},
                "http_version": "1.1",
                "scheme": "ws",
                "path": "/app/w s",
                "raw_path": b"/w%20s",
                "query_string": b"q=1",
                "root_path": "/app",
                "client": CLIENT,
                "server": ("192.0.2.2", 80),
                "subprotocols": ["a", "b"],
                "state": {"key": "value"},
                "extensions": {"websocket.http.response": {}},
            }

        run(scenario)

    def test_the_application_adds_a_subprotocol_and_headers(self) -> None:
        async def handler(talk: Talk) -> None:
            await talk.accept(subprotocol="b", headers=[(b"Set-Cookie", b"a=b"), (b"server", b"mine")])

        async def scenario() -> None:
            world = World(application(handler), HTTPSettings(server_header="x", date_header=False))
            client = world.connect()
            await client.send(handshake("Sec-WebSocket-Protocol: a, b"))
            lines = head_of(client).split(b"\r\n")
            assert b"sec-websocket-protocol: b" in lines
            assert b"Set-Cookie: a=b" in lines
            assert b"server: mine" in lines
            assert b"server: x" not in lines

        run(scenario)

    def test_frames_that_come_with_it_are_not_lost(self) -> None:
        async def scenario() -> None:
            world = make(None)
            client = world.connect()
            await client.send(handshake() + text("one") + text("two")[:3], text("two")[3:])
            head_of(client)
            assert got(client) == [Sent(TEXT, b"one"), Sent(TEXT, b"two")]
            await client.vanish()

        run(scenario)

    def test_a_session_may_follow_requests(self) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == "websocket":
                await echo(scope, receive, send)
            else:
                await send({"type": "http.response.start", "status": 204})
                await send({"type": "http.response.body"})

        async def scenario() -> None:
            world = World(app, state={"ends": []})
            client = world.connect()
            await client.send(request("/") + handshake() + text("x"))
            first, second, rest = client.transport.octets.split(b"\r\n\r\n")
            assert first.startswith(b"HTTP/1.1 204 ")
            assert second.startswith(b"HTTP/1.1 101 ")
            assert frames.parse(rest) == [Sent(TEXT, b"x")]
            await client.vanish()

        run(scenario)

    @pytest.mark.parametrize(
        ("octets", "status"),
        [
            (request("/", "POST", *FIELDS), 405),
            (request("/", "GET", *FIELDS, version="1.0"), 426),
            (request("/", "GET", *FIELDS[:1], *FIELDS[2:]), 426),
            (request("/", "GET", *FIELDS[:3]), 426),
            (request("/", "GET", *FIELDS[:3], "Sec-WebSocket-Version: 8"), 426),
            (request("/", "GET", *FIELDS[:2], FIELDS[3]), 400),
            (request("/", "GET", *FIELDS[:2], "Sec-WebSocket-Key: x", FIELDS[3]), 400),
        ],
    )
    def test_one_that_is_wrong_is_refused_without_the_application(self, octets: bytes, status: int) -> None:
        async def never(scope: Scope, receive: Receive, send: Send) -> None:
            raise AssertionError("called")

        async def scenario() -> None:
            world = World(never)
            client = world.connect()
            await client.send(octets)
            (response,) = parse(client.transport.octets, "POST")
            assert response.status == status
            assert client.ended
            assert rejected(world) == {"bad_handshake": 1}
            if status == 426:
                assert response.headers[b"sec-websocket-version"] == b"13"
                assert response.headers[b"upgrade"] == b"websocket"
            await client.vanish()

        run(scenario)

    @pytest.mark.parametrize("websocket", [True, False])
    def test_what_is_no_handshake_is_a_request(self, websocket: bool) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            assert scope["type"] == "http"
            await send({"type": "http.response.start", "status": 200})
            await send({"type": "http.response.body"})

        async def scenario() -> None:
            world = World(app, websocket=WebSocketSettings(enabled=websocket))
            client = world.connect()
            await client.send(request("/", "GET", "Upgrade: h2c", "Connection: Upgrade"))
            await client.send(request("/", "GET", "Upgrade: websocket"))
            if not websocket:
                await client.send(handshake())
            assert {response.status for response in client.responses()} == {200}
            await client.vanish()

        run(scenario)


class TestDenial:
    def test_closing_before_the_acceptance_is_a_403(self) -> None:
        async def handler(talk: Talk) -> None:
            assert (await talk.receive())["type"] == "websocket.connect"
            await talk.close(code=4000, reason="ignored")
            assert (await talk.receive())["type"] == "websocket.disconnect"
            with pytest.raises(ResponseError):
                await talk.say("x")

        async def scenario() -> None:
            world = make(handler)
            client = world.connect()
            await client.send(handshake())
            response = client.response()
            assert (response.status, response.headers[b"connection"]) == (403, b"close")
            assert client.ended
            await client.vanish()
            assert [line[:2] for line in world.access.lines] == [("GET /ws", 403)]
            assert world.slot.sessions == world.slot.in_progress == 0

        run(scenario)

    def test_a_response_is_sent_in_its_place(self) -> None:
        async def handler(talk: Talk) -> None:
            await talk.send(
                {"type": "websocket.http.response.start", "status": 401, "headers": [(b"www-authenticate", b"Basic")]}
            )
            await talk.send({"type": "websocket.http.response.body", "body": b"log ", "more_body": True})
            await talk.send({"type": "websocket.http.response.body", "body": b"in"})

        async def scenario() -> None:
            world = make(handler)
            client = world.connect()
            await client.send(handshake())
            response = client.response()
            assert (response.status, response.body, response.complete) == (401, b"log in", True)
            assert response.headers[b"www-authenticate"] == b"Basic"
            await client.vanish()
            assert world.access.lines[0][1] == 401
            assert not world.log.records

        run(scenario)

    def test_a_response_waits_for_a_client_that_does_not_read(self) -> None:
        sent: list[int] = []

        async def handler(talk: Talk) -> None:
            await talk.send({"type": "websocket.http.response.start", "status": 404})
            for number in range(3):
                await talk.send({"type": "websocket.http.response.body", "body": b"x", "more_body": number < 2})
                sent.append(number)

        async def scenario() -> None:
            world = make(handler)
            client = world.connect()
            client.transport.congest_at = 2
            await client.send(handshake())
            assert sent == [0]
            client.transport.relieve()
            await settle()
            assert sent == [0, 1, 2]
            assert client.response().body == b"xxx"
            await client.vanish()

        run(scenario)

    @pytest.mark.parametrize(
        "messages",
        [
            [],
            [{"type": "websocket.http.response.start", "status": 200}],
            [
                {"type": "websocket.http.response.start", "status": 200},
                {"type": "websocket.http.response.body", "more_body": True},
            ],
        ],
    )
    def test_an_application_that_returns_too_early_is_a_failure(self, messages: list[Message]) -> None:
        async def handler(talk: Talk) -> None:
            for message in messages:
                await talk.send(message)

        async def scenario() -> None:
            world = make(handler)
            client = world.connect()
            await client.send(handshake())
            if len(messages) == 2:
                assert client.transport.aborted, "its response has begun"
            else:
                assert client.response().status == 500
            assert len(world.log.of("application failed")) == 1
            await client.vanish()

        run(scenario)


class TestMisbehaviour:
    @pytest.mark.parametrize(
        "messages",
        [
            [{"type": "websocket.send", "text": "x"}],
            [{"type": "websocket.accept"}, {"type": "websocket.accept"}],
            [{"type": "websocket.accept"}, {"type": "websocket.http.response.start", "status": 200}],
            [{"type": "websocket.accept"}, {"type": "websocket.send"}],
            [{"type": "websocket.accept"}, {"type": "websocket.send", "bytes": "text"}],
            [{"type": "websocket.accept"}, {"type": "websocket.send", "text": b"bytes"}],
            [{"type": "websocket.accept"}, {"type": "websocket.send", "text": "\ud800"}],
            [{"type": "websocket.accept"}, {"type": "websocket.close", "code": 1006}],
            [{"type": "websocket.accept"}, {"type": "websocket.close", "code": 5000}],
            [{"type": "websocket.accept"}, {"type": "websocket.close", "code": "1000"}],
            [{"type": "websocket.accept"}, {"type": "websocket.close", "reason": 1}],
            [{"type": "websocket.accept"}, {"type": "websocket.close"}, {"type": "websocket.send", "text": "x"}],
            [{"type": "websocket.accept"}, {"type": "websocket.close"}, {"type": "websocket.close"}],
            [{"type": "websocket.accept", "subprotocol": "not offered"}],
            [{"type": "websocket.accept", "headers": [(b"sec-websocket-protocol", b"x")]}],
            [{"type": "websocket.accept", "headers": [(b"upgrade", b"x")]}],
            [{"type": "websocket.accept", "headers": [(b"x", b"a\r\nb: c")]}],
            [{"type": "websocket.accept", "headers": [("x", "y")]}],
            [{"type": "websocket.http.response.start", "status": 200}, {"type": "websocket.accept"}],
            [{"type": "websocket.http.response.body"}],
            [{"type": "websocket.http.response.start", "status": 101}],
            [{"type": "websocket.accept"}, {"type": "websocket.unknown"}],
        ],
        ids=repr,
    )
    def test_what_has_no_place_raises_and_says_why(self, messages: list[Message]) -> None:
        async def handler(talk: Talk) -> None:
            for message in messages:
                await talk.send(message)

        async def scenario() -> None:
            world = make(handler)
            client = world.connect()
            await client.send(handshake())
            (failure,) = world.log.of("application failed")
            assert isinstance(failure["exc_info"], ResponseError)
            assert failure["path"] == "/ws"
            if b" 101 " in client.transport.octets:
                await client.send(close())
            assert client.ended
            await client.vanish()
            assert world.slot.sessions == 0

        run(scenario)

    def test_an_application_that_fails_closes_with_1011(self) -> None:
        async def handler(talk: Talk) -> None:
            await talk.accept()
            raise ValueError("a bug")

        async def scenario() -> None:
            world = make(handler)
            client = world.connect()
            await client.send(handshake())
            head_of(client)
            assert got(client)[0].code == 1011
            await client.send(close(1011))
            assert client.ended
            assert len(world.log.of("application failed")) == 1
            await client.vanish()

        run(scenario)

    def test_one_that_fails_before_accepting_answers_500(self) -> None:
        async def handler(talk: Talk) -> None:
            raise ValueError("a bug")

        async def scenario() -> None:
            world = make(handler)
            client = world.connect()
            await client.send(handshake())
            assert client.response().status == 500
            await client.vanish()
            assert world.access.lines[0][1] == 500

        run(scenario)

    @pytest.mark.parametrize("accepts", [False, True])
    def test_one_that_is_cancelled_from_within_has_failed(self, accepts: bool) -> None:
        async def handler(talk: Talk) -> None:
            if accepts:
                await talk.accept()
            raise asyncio.CancelledError

        async def scenario() -> None:
            world = make(handler)
            client = world.connect()
            await client.send(handshake())
            assert len(world.log.of("application failed")) == 1
            if accepts:
                head_of(client)
                assert got(client)[0].code == 1011
            else:
                assert client.response().status == 500
            await client.vanish()

        run(scenario)

    def test_one_that_returns_closes_with_1000(self) -> None:
        async def handler(talk: Talk) -> None:
            await talk.accept()

        async def scenario() -> None:
            world = make(handler)
            client = world.connect()
            await client.send(handshake())
            head_of(client)
            assert got(client)[0].code == 1000
            await client.send(close())
            assert client.ended
            assert not world.log.records
            await client.vanish()

        run(scenario)


class TestEnds:
    @pytest.mark.parametrize("accepted", [True, False])
    def test_what_cannot_be_recorded_costs_the_record_only(
        self, accepted: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(*_: object) -> None:
            raise RuntimeError("out of order")

        async def scenario() -> None:
            world = make(None if accepted else Talk.receive_all)
            monkeypatch.setattr(world.access, "session", fail)
            monkeypatch.setattr(world.access, "request", fail)
            client = world.connect()
            await client.send(handshake())
            await client.vanish()
            assert not world.service.registry.connections
            assert (world.slot.connections, world.slot.sessions, world.slot.in_progress) == (0, 0, 0)
            assert len(world.log.of("request not recorded")) == 1

        run(scenario)

    @pytest.mark.parametrize(("octets", "told"), [(close(3999, "why"), (3999, "why")), (close(None), (1005, ""))])
    def test_the_application_is_told_the_clients_code_and_reason(self, octets: bytes, told: tuple[int, str]) -> None:
        async def scenario() -> None:
            world = make(None)
            client = await open_session(world)
            await client.send(text("last") + octets)
            assert [one.opcode for one in got(client)] == [CLOSE]  # the answer comes before the application's
            await client.vanish()
            assert world.access.sessions[0].outcome is None

        run(scenario)

        async def handler(talk: Talk) -> None:
            await talk.accept()
            assert await talk.message() == "last"
            for _ in range(2):
                found = await talk.receive()
                assert found == {"type": "websocket.disconnect", "code": told[0], "reason": told[1]}
            with pytest.raises(ClientDisconnected):
                await talk.say("x")
            with pytest.raises(OSError, match="the session has ended"):
                await talk.close()

        async def second_scenario() -> None:
            world = make(handler)
            client = await open_session(world)
            await client.send(text("last") + octets)
            assert not world.log.records
            await client.vanish()

        run(second_scenario)

    def test_a_close_that_crosses_that_of_the_client_asks_for_nothing(self) -> None:
        async def handler(talk: Talk) -> None:
            await talk.accept()
            assert await talk.message() == "last"  # the close of the client has come with it
            with pytest.raises(ClientDisconnected):
                await talk.say("x")
            await talk.close()
            assert (await talk.receive())["code"] == 3999
            with pytest.raises(ClientDisconnected):
                await talk.close()

        async def scenario() -> None:
            world = make(handler)
            client = await open_session(world)
            await client.send(text("last") + close(3999, "why"))
            assert [one.code for one in got(client)] == [3999]
            assert not world.log.records
            await client.vanish()
            assert world.access.sessions[0].outcome is None

        run(scenario)

    @pytest.mark.parametrize("how", ["reset", "end"])
    def test_a_client_that_is_gone_without_a_close(self, how: str) -> None:
        async def scenario() -> None:
            world = make(None)
            client = await open_session(world)
            await client.send(text("x"))
            await (client.vanish() if how == "reset" else client.half_close())
            assert [code for code, _ in ends(world)] == [1006]
            assert world.access.sessions[0].code == 1006
            assert world.access.sessions[0].outcome == "aborted"
            assert world.slot.sessions == world.slot.connections == 0

        run(scenario)

    def test_a_client_that_is_gone_before_the_acceptance(self) -> None:
        async def handler(talk: Talk) -> None:
            assert (await talk.receive())["type"] == "websocket.connect"
            assert (await talk.receive())["type"] == "websocket.disconnect"
            await talk.send({"type": "websocket.accept"})

        async def scenario() -> None:
            world = make(handler)
            client = world.connect()
            await client.send(handshake())
            await client.half_close()
            assert client.transport.octets == b""
            assert not world.log.records
            assert world.access.lines[0][4] == "aborted"

        run(scenario)

    def test_the_applications_close_waits_for_the_clients(self) -> None:
        async def handler(talk: Talk) -> None:
            await talk.accept()
            await talk.close(code=4001, reason="enough")
            assert await talk.receive() == {"type": "websocket.disconnect", "code": 4001, "reason": "enough"}

        async def scenario() -> None:
            world = make(handler)
            client = await open_session_with_close(world, 4001)
            await client.send(text("not wanted") + frame(PING, b"x"))
            assert got(client) == [Sent(PONG, b"x")]
            await client.send(close(4001))
            assert client.ended
            await client.vanish()
            (end,) = world.access.sessions
            assert (end.code, end.outcome, end.messages_received) == (4001, None, 1)

        run(scenario)

    def test_a_client_that_does_not_answer_a_close_is_not_waited_for_longer(self) -> None:
        async def handler(talk: Talk) -> None:
            await talk.accept()
            await talk.close()

        async def scenario() -> None:
            world = make(handler, close_timeout=5)
            client = await open_session_with_close(world, 1000)
            await world.pass_time(4)
            assert world.slot.sessions == 1
            await world.pass_time(2)
            assert client.ended
            assert world.access.sessions[0].outcome == "timed_out"

        run(scenario)

    @pytest.mark.parametrize(
        ("octets", "code"), [(frame(3), 1002), (frame(TEXT, b"\xff"), 1007), (b"\x82\xfe\xff\xff????", 1009)]
    )
    def test_a_violation_ends_the_session_with_its_code(self, octets: bytes, code: int) -> None:
        async def scenario() -> None:
            world = make(None, max_message_size=1000)
            client = await open_session(world)
            await client.send(text("good") + octets)
            answer, failure = got(client)
            assert answer == Sent(TEXT, b"good")
            assert failure.code == code
            assert client.ended
            await client.send(text("ignored"))
            await client.vanish()
            assert [found for found, _ in ends(world)] == [code]
            assert all(type(found) is int for found, _ in ends(world))
            assert world.access.sessions[0].outcome == "error"
            assert rejected(world) == {"websocket": 1}
            (record,) = world.log.of("session ended")
            assert (record["reason"], record["path"]) == ("websocket", "/ws")
            assert str(code) in record["detail"]

        run(scenario)

    def test_a_session_is_counted_and_written_down_once(self) -> None:
        async def scenario() -> None:
            world = make(None)
            client = await open_session(world)
            assert (world.slot.sessions, world.slot.requests, world.slot.in_progress) == (1, 1, 0)
            await client.send(text("one") + text("two"))
            world.clock.now += 5
            await client.send(close(4000))
            await client.vanish()
            (end,) = world.access.sessions
            assert (end.messages_received, end.messages_sent, end.code, end.seconds) == (2, 2, 4000, 5)
            assert end.received == len(handshake() + text("one") + text("two") + close(4000))
            assert world.slot.sessions == 0
            assert not world.access.lines

        run(scenario)


async def open_session_with_close(world: World, code: int) -> Client:
    """A session that the application closes at once."""
    client = world.connect()
    await client.send(handshake())
    head_of(client)
    assert got(client)[-1].code == code
    return client


class TestDrain:
    def test_sessions_are_closed_and_what_is_on_its_way_still_arrives(self) -> None:
        seen: list[Any] = []

        async def handler(talk: Talk) -> None:
            await talk.accept()
            seen.append(await talk.message())
            with pytest.raises(OSError, match="1012"):
                await talk.say("x")
            seen.append(await talk.receive())

        async def scenario() -> None:
            world = make(handler)
            client = await open_session(world)
            world.service.farewell = (1012, "service restart")
            client.connection = client.transport.protocol  # type: ignore[assignment]
            session: Any = client.transport.protocol
            session.drain()
            (farewell,) = got(client)
            assert (farewell.code, farewell.payload[2:]) == (1012, b"service restart")
            await client.send(text("on its way"), close(1012))
            assert seen == [
                "on its way",
                {"type": "websocket.disconnect", "code": 1012, "reason": "service restart"},
            ]
            assert client.ended
            await client.vanish()

        run(scenario)

    def test_a_session_that_begins_in_a_drain_is_closed_at_once(self) -> None:
        async def scenario() -> None:
            world = make(None)
            world.service.draining = True
            client = world.connect()
            await client.send(handshake())
            head_of(client)
            assert got(client)[0].code == 1001
            await client.send(close(1001))
            await client.vanish()
            assert ends(world) == [(1001, "")]

        run(scenario)
