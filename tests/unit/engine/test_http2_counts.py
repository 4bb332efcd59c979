"""What the scoreboard holds of HTTP/2: connections, streams, resets and floods."""

from __future__ import annotations

import asyncio

from appserver.asgi.types import Receive, Scope, Send
from appserver.http2.errors import Code
from appserver.settings import HTTP2Settings
from appserver.telemetry.layout import HTTP2_CODES
from tests.unit.engine.http2_client import GET, HTTP2Client
from tests.unit.engine.world import World, respond, run, settle
from tests.unit.http2.client import CONTINUATION, HEADERS, frame


def resets(world: World) -> dict[tuple[str, str], int]:
    return {labels: count for labels, count in world.board.totals().http2_resets.items() if count}


def floods(world: World) -> dict[str, int]:
    return {kind: count for kind, count in world.board.totals().http2_floods.items() if count}


def test_every_error_code_is_counted_by_its_name() -> None:
    assert [code.name for code in Code] == list(HTTP2_CODES[:-1])


def test_streams_are_open_while_they_are_answered() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/wait":
            await go_on.wait()
        await respond(send)

    async def scenario() -> None:
        world = World(app)
        client, other = await HTTP2Client(world).begin(), await HTTP2Client(world).begin()
        await client.get()
        for _ in range(3):
            await client.request(path="/wait")
        await other.request(path="/wait")
        await client.request([(b"expect", b"x")])  # is refused by the engine
        counts = world.slot.http2
        assert (counts.connections, counts.streams) == (2, 4)
        assert world.board.totals().http2_streams == 6
        go_on.set()
        await client.flush()
        await other.flush()
        assert (counts.connections, counts.streams) == (2, 0)
        client.transport.abort()
        other.transport.abort()
        await settle()
        assert (counts.connections, counts.streams) == (0, 0)
        assert world.board.totals().http2_connections == 2

    go_on = asyncio.Event()
    run(scenario)


def test_those_of_a_lost_connection_are_not_open_any_more() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await receive()

    async def scenario() -> None:
        world = World(app)
        client = await HTTP2Client(world).begin()
        await client.request()
        assert world.slot.http2.streams == 1
        client.transport.abort()
        await settle()
        assert (world.slot.http2.connections, world.slot.http2.streams) == (0, 0)

    run(scenario)


def test_resets_are_counted_by_who_sends_them_and_why() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"x", "more_body": True})
        if scope["path"] == "/fail":
            raise RuntimeError
        await receive()
        await receive()

    async def scenario() -> None:
        world = World(app)
        client = await HTTP2Client(world).begin()
        await client.request(path="/fail")
        await client.reset(await client.request())
        await client.request([(b"connection", b"close")])
        assert resets(world) == {
            ("received", "CANCEL"): 1,
            ("sent", "INTERNAL_ERROR"): 1,
            ("sent", "PROTOCOL_ERROR"): 1,
        }

    run(scenario)


def test_floods_are_counted_by_the_limit_that_they_pass() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await receive()

    async def scenario() -> None:
        world = World(app, http2=HTTP2Settings(max_resets=10, max_control_frames=10))
        resetting = await HTTP2Client(world).begin()
        for stream_id in range(1, 41, 2):
            resetting.h2.send_headers(stream_id, GET, end_stream=True)
            resetting.h2.reset_stream(stream_id)
        await resetting.octets(resetting.h2.data_to_send())
        pinging = await HTTP2Client(world).begin()
        for _ in range(20):
            pinging.h2.ping(b"12345678")
        await pinging.octets(pinging.h2.data_to_send())
        going_on = await HTTP2Client(world).begin()
        await going_on.octets(frame(HEADERS, 0, 1) + frame(CONTINUATION, 0, 1) * 40)
        slow = await HTTP2Client(world).begin()
        await slow.octets(frame(HEADERS, 0, 1))
        await world.pass_time(60)
        assert floods(world) == {"resets": 1, "control_frames": 1, "header_block": 1, "slow": 1}

    run(scenario)
