"""appserver.engine: requests that a proxy passes on."""

from __future__ import annotations

import json
from typing import Any

import pytest

from appserver.asgi.types import Receive, Scope, Send
from appserver.engine.connection import Connection
from appserver.engine.scope import scope_template
from appserver.settings import ProxySettings
from tests.unit.engine.world import CLIENT, Client, FakeTransport, World, request, respond, run

TRUSTING = ProxySettings(trusted=("192.0.2.0/24",))


async def describe(scope: Scope, receive: Receive, send: Send) -> None:
    names = ("client", "server", "scheme", "root_path", "path")
    hosts = [value.decode() for name, value in scope["headers"] if name == b"host"]
    await respond(send, json.dumps([*(scope[name] for name in names), hosts]).encode())


def described(client: Client, index: int = -1) -> list[Any]:
    content: list[Any] = json.loads(client.responses()[index].body)
    return content


UNTOUCHED = [list(CLIENT), ["192.0.2.2", 80], "http", "", "/x", ["example.org"]]
FIELDS = (
    "X-Forwarded-For: 203.0.113.7",
    "X-Forwarded-Proto: https",
    "X-Forwarded-Host: public.example",
    "X-Forwarded-Port: 8443",
    "X-Forwarded-Prefix: /api",
)
FORWARDED = 'Forwarded: for="[2001:db8::1]:99";proto=https;host=public.example'


def test_a_trusted_peer_is_believed() -> None:
    async def scenario() -> None:
        client = World(describe, proxy=TRUSTING).connect()
        await client.send(request("/x", "GET", *FIELDS))
        assert described(client) == [
            ["203.0.113.7", 0], ["public.example", 8443], "https", "/api", "/api/x", ["public.example:8443"]
        ]  # fmt: skip

    run(scenario)


def test_no_more_than_a_little_is_kept_of_what_it_says() -> None:
    async def scenario() -> None:
        client = World(describe, proxy=TRUSTING).connect()
        for number in range(100):
            await client.send(request("/x", "GET", f"X-Forwarded-Host: host-{number}"))
            assert described(client)[-1] == [f"host-{number}"]
        long = "x" * 30_000
        await client.send(request("/x", "GET", f"X-Forwarded-Host: {long}", f"X-Forwarded-Prefix: /{long}"))
        assert described(client)[-3:] == [f"/{long}", f"/{long}/x", [long]]
        seen = client.connection.peer._seen
        assert 0 < len(seen) <= 16
        assert max(len(repr(said)) for said in seen) < 1000

    run(scenario)


def test_another_peer_is_not() -> None:
    async def scenario() -> None:
        client = World(describe, proxy=ProxySettings()).connect()
        await client.send(request("/x", "GET", *FIELDS, FORWARDED))
        assert described(client) == UNTOUCHED
        assert not client.connection.peer.trusted

    run(scenario)


@pytest.mark.parametrize(
    ("headers", "client", "host"),
    [
        ("x-forwarded", "203.0.113.7", "public.example:8443"),
        ("forwarded", "2001:db8::1", "public.example"),
        ("none", CLIENT[0], "example.org"),
    ],
)
def test_one_kind_of_header_counts(headers: Any, client: str, host: str) -> None:
    async def scenario() -> None:
        peer = World(describe, proxy=TRUSTING.model_copy(update={"headers": headers})).connect()
        await peer.send(request("/x", "GET", *FIELDS, FORWARDED))
        found = described(peer)
        assert (found[0][0], found[-1]) == (client, [host])

    run(scenario)


def test_each_request_of_a_connection_has_its_own_client_also_in_the_access_log() -> None:
    async def scenario() -> None:
        world = World(describe, proxy=TRUSTING)
        client = world.connect()
        await client.send(request("/x", "GET", "X-Forwarded-For: 203.0.113.7"))
        await client.send(request("/x"))
        await client.send(request("/x", "GET", "X-Forwarded-For: unknown"))
        await client.send(request("/x", "GET", "X-Forwarded-Proto: https"))
        clients = [("203.0.113.7", 0), CLIENT, None, CLIENT]
        assert world.access.clients == clients
        assert [json.loads(answer.body)[0] for answer in client.responses()] == [c and list(c) for c in clients]

    run(scenario)


def test_the_prefix_is_put_in_front_whatever_the_path_begins_with() -> None:
    async def scenario() -> None:
        world = World(describe, proxy=TRUSTING, root_path="/configured")
        client = world.connect()
        await client.send(request("/x", "GET", "X-Forwarded-Prefix: /api"))
        assert described(client)[3:5] == ["/api", "/api/x"]
        await client.send(request("/api/x", "GET", "X-Forwarded-Prefix: /api"))
        assert described(client)[3:5] == ["/api", "/api/api/x"]
        await client.send(request("/configured/x"))
        assert described(client)[3:5] == ["/configured", "/configured/configured/x"]
        await client.send(request("*", "OPTIONS", "X-Forwarded-Prefix: /api"))
        assert described(client)[3:5] == ["/api", "*"]

    run(scenario)


def test_a_prefix_that_the_proxy_leaves_has_to_be_there() -> None:
    async def scenario() -> None:
        proxy = TRUSTING.model_copy(update={"strips_prefix": False})
        client = World(describe, proxy=proxy, root_path="/configured").connect()
        for target, prefix in [("/api/x", "/api"), ("/api", "/api"), ("/configured/x", None), ("/x", "/")]:
            await client.send(request(target, "GET", *([] if prefix is None else [f"X-Forwarded-Prefix: {prefix}"])))
            assert described(client)[4] == target
        for target, prefix in [("/x", "/api"), ("/apix", "/api"), ("/configured/x", "/api"), ("/api/x", None)]:
            await client.send(request(target, "GET", *([] if prefix is None else [f"X-Forwarded-Prefix: {prefix}"])))
            assert client.responses()[-1].status == 404
        await client.send(request("*", "OPTIONS"))
        assert described(client)[3:5] == ["/configured", "*"]

    run(scenario)


def test_a_session_outside_of_the_prefix_is_not_found() -> None:
    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        raise AssertionError("called for a path outside of the prefix")

    async def scenario() -> None:
        proxy = TRUSTING.model_copy(update={"strips_prefix": False})
        client = World(application, proxy=proxy, root_path="/api").connect()
        upgrade = ("Connection: upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13")
        await client.send(request("/x", "GET", *upgrade, "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="))
        assert client.response().status == 404

    run(scenario)


def test_a_host_is_there_also_for_a_client_that_sends_none() -> None:
    async def scenario() -> None:
        client = World(describe, proxy=TRUSTING).connect()
        await client.send(b"GET /x HTTP/1.0\r\nX-Forwarded-Host: public.example\r\n\r\n")
        assert described(client)[-1] == ["public.example"]

    run(scenario)


@pytest.mark.parametrize(("trusted", "believed"), [(("unix",), True), (("127.0.0.1",), False)])
def test_the_peer_of_a_unix_socket_is_trusted_by_that_name(trusted: tuple[str, ...], believed: bool) -> None:
    async def scenario() -> None:
        world = World(describe, proxy=ProxySettings(trusted=trusted))
        template = scope_template(scheme="http", server=("/run/app.sock", None), root_path="")
        transport = FakeTransport(world.service.loop)
        connection = Connection(world.service, world.service.peer(None, template))
        transport.protocol = connection
        world.slot.connection_opened()
        connection.connection_made(transport)
        client = Client(connection, transport)
        await client.send(request("/x", "GET", "X-Forwarded-For: 203.0.113.7", "X-Forwarded-Proto: https"))
        found = described(client)
        if believed:
            assert found[:3] == [["203.0.113.7", 0], ["/run/app.sock", None], "https"]
        else:
            assert found[:3] == [None, ["/run/app.sock", None], "http"]

    run(scenario)
