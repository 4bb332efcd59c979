"""appserver.engine.connection: one request after the other, and what ends a connection."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar

import pytest

from appserver.asgi.types import Receive, Scope, Send
from appserver.engine.connection_states import IDLE
from appserver.settings import HTTPSettings
from tests.unit.engine.world import CLIENT, World, echo, request, respond, run, settle, silent


class TestOneRequest:
    def test_head_and_body_leave_in_one_write(self) -> None:
        async def scenario() -> None:
            client = World(silent).connect()
            await client.send(request())
            assert len(client.transport.writes) == 1
            assert client.response().body == b"ok"
            assert not client.ended

        run(scenario)

    def test_a_large_body_is_not_copied_behind_its_head_but_still_leaves_in_one_call(self) -> None:
        async def large(scope: Scope, receive: Receive, send: Send) -> None:
            await respond(send, b"x" * 100_000)

        async def scenario() -> None:
            client = World(large).connect()
            await client.send(request())
            assert len(client.transport.writes) == 1
            assert len(client.response().body) == 100_000

        run(scenario)

    def test_nothing_is_sent_before_the_first_body_message(self) -> None:
        async def slow(scope: Scope, receive: Receive, send: Send) -> None:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await gate.wait()
            await send({"type": "http.response.body", "body": b"a", "more_body": True})
            await send({"type": "http.response.body", "body": b"b"})

        gate = asyncio.Event()

        async def scenario() -> None:
            client = World(slow).connect()
            await client.send(request())
            assert client.transport.octets == b""
            gate.set()
            await settle()
            assert client.response().body == b"ab"

        run(scenario)

    def test_the_application_starts_when_everything_that_came_has_been_parsed(self) -> None:
        async def application(scope: Scope, receive: Receive, send: Send) -> None:
            message = await receive()
            await respond(send, b"%d %d" % (len(message["body"]), message["more_body"]))

        async def scenario() -> None:
            client = World(application).connect()
            await client.send(request("/", "POST", body=b"12345"))
            assert client.response().body == b"5 0"

        run(scenario)

    def test_the_application_sees_the_request(self) -> None:
        seen: list[Scope] = []

        async def application(scope: Scope, receive: Receive, send: Send) -> None:
            seen.append(scope)
            await respond(send)

        async def scenario() -> None:
            client = World(application, state={"db": 1}).connect()
            await client.send(request("/caf%C3%A9?a=b", "PUT", "X-A: 1", "x-b: 2"))

        run(scenario)
        assert seen == [
            {
                "type": "http",
                "asgi": {"version": "3.0", "spec_version": "2.3"},
                "http_version": "1.1",
                "method": "PUT",
                "scheme": "http",
                "path": "/café",
                "raw_path": b"/caf%C3%A9",
                "query_string": b"a=b",
                "root_path": "",
                "headers": [(b"host", b"example.org"), (b"x-a", b"1"), (b"x-b", b"2")],
                "client": CLIENT,
                "server": ("192.0.2.2", 80),
                "state": {"db": 1},
                "extensions": {
                    "http.response.early_hint": {},
                    "http.response.pathsend": {},
                    "http.response.zerocopysend": {},
                },
            }
        ]

    def test_requests_do_not_share_what_they_may_change(self) -> None:
        async def careless(scope: Scope, receive: Receive, send: Send) -> None:
            for name in ("state", "extensions", "asgi"):
                assert "mine" not in scope[name]
                scope[name]["mine"] = True
            await respond(send)

        async def scenario() -> None:
            client = World(careless).connect()
            await client.send(request(), request())
            assert [response.status for response in client.responses()] == [200, 200]

        run(scenario)

    def test_requests_do_not_share_context_variables(self) -> None:
        variable: ContextVar[str] = ContextVar("variable", default="unset")

        async def application(scope: Scope, receive: Receive, send: Send) -> None:
            before = variable.get()
            variable.set(scope["path"])
            await asyncio.sleep(0)
            await respond(send, f"{before} {variable.get()}".encode())

        async def scenario() -> None:
            client = World(application).connect()
            await client.send(request("/a") + request("/b"), request("/c"))
            assert [response.body for response in client.responses()] == [b"unset /a", b"unset /b", b"unset /c"]

        run(scenario)


class TestPersistence:
    """RFC 9112 section 9."""

    def test_a_connection_serves_one_request_after_the_other(self) -> None:
        async def scenario() -> None:
            client = World(echo).connect()
            for number in range(3):
                await client.send(request(f"/{number}"))
            assert [response.body for response in client.responses()] == [b"GET /0 ", b"GET /1 ", b"GET /2 "]
            assert not client.ended

        run(scenario)

    @pytest.mark.parametrize("version", ["1.0", "1.1"])
    def test_a_client_that_asks_for_the_end_gets_it(self, version: str) -> None:
        async def scenario() -> None:
            client = World(echo).connect()
            await client.send(request("/", "GET", "Connection: close", version=version) + request("/ignored"))
            assert client.response().headers[b"connection"] == b"close"
            assert client.transport.closed

        run(scenario)

    def test_http_1_0_ends_with_the_response_unless_asked_to_stay(self) -> None:
        async def scenario() -> None:
            world = World(echo)
            client = world.connect()
            await client.send(request(version="1.0"))
            assert client.transport.closed
            client = world.connect()
            await client.send(request("/", "GET", "Connection: keep-alive", version="1.0"))
            assert client.response().headers[b"connection"] == b"keep-alive"
            assert not client.ended

        run(scenario)

    def test_the_application_may_end_the_connection(self) -> None:
        async def closing(scope: Scope, receive: Receive, send: Send) -> None:
            await respond(send, b"bye", 200, (b"connection", b"close"))

        async def scenario() -> None:
            client = World(closing).connect()
            await client.send(request())
            assert client.response().headers[b"connection"] == b"close"
            assert client.transport.half_closed, "the client may still be sending a request"

        run(scenario)

    def test_a_connection_ends_after_max_requests_per_connection(self) -> None:
        async def scenario() -> None:
            client = World(echo, HTTPSettings(max_requests_per_connection=2)).connect()
            await client.send(request(), request())
            first, second = client.responses()
            assert b"connection" not in first.headers
            assert second.headers[b"connection"] == b"close"
            assert client.ended

        run(scenario)

    def test_responses_without_a_body_keep_the_connection_in_step(self) -> None:
        async def wordy(scope: Scope, receive: Receive, send: Send) -> None:
            await respond(send, b"never to be seen", int(scope["path"][1:]))

        async def scenario() -> None:
            client = World(wordy).connect()
            await client.send(request("/200", "HEAD") + request("/204") + request("/304") + request("/200"))
            responses = client.responses("HEAD")
            assert [response.status for response in responses] == [200, 204, 304, 200]
            assert [response.body for response in responses] == [b"", b"", b"", b"never to be seen"]

        run(scenario)


class TestBackground:
    """An application may go on after its response."""

    def test_the_next_request_does_not_wait_for_what_the_application_does_afterwards(self) -> None:
        gate = asyncio.Event()
        done: list[str] = []

        async def application(scope: Scope, receive: Receive, send: Send) -> None:
            await respond(send)
            await gate.wait()
            done.append(scope["path"])

        async def scenario() -> None:
            world = World(application)
            client = world.connect()
            await client.send(request("/a"), request("/b"), request("/c"))
            assert len(client.responses()) == 3
            await client.vanish()
            assert len(world.service.registry.background) == 3
            gate.set()
            await settle()
            assert sorted(done) == ["/a", "/b", "/c"]
            assert not world.service.registry.background

        run(scenario)

    def test_an_idle_connection_holds_nothing_of_its_last_request(self) -> None:
        async def scenario() -> None:
            world = World(echo)
            client = world.connect()
            await client.send(request("/", "POST", body=b"x" * 1000))
            connection = client.connection
            assert connection.exchange is None
            assert connection.state == IDLE
            assert not world.service.registry.background

        run(scenario)


class TestTelemetry:
    def test_what_happened_is_counted(self) -> None:
        async def scenario() -> None:
            world = World(echo)
            client = world.connect()
            first, second = request("/a"), request("/b", "POST", body=b"12345")
            await client.send(first, second)
            assert (world.slot.requests, world.slot.in_progress, world.slot.connections) == (2, 0, 1)
            sizes = [len(write) for write in client.transport.writes]
            assert world.access.lines == [
                ("GET /a", 200, len(first), sizes[0], None),
                ("POST /b", 200, len(second), sizes[1], None),
            ]
            await client.vanish()
            assert world.slot.connections == 0

        run(scenario)

    def test_a_running_request_is_in_progress(self) -> None:
        gate = asyncio.Event()

        async def slow(scope: Scope, receive: Receive, send: Send) -> None:
            await gate.wait()
            await respond(send)

        async def scenario() -> None:
            world = World(slow)
            client = world.connect()
            await client.send(request())
            assert world.slot.in_progress == 1
            gate.set()
            await settle()
            assert world.slot.in_progress == 0
            assert client.response().status == 200

        run(scenario)
