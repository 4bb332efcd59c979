"""appserver.engine.connection: one request after the other, and what ends a connection."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from typing import Any

import pytest

from appserver.asgi.types import Receive, Scope, Send
from appserver.settings import HTTPSettings
from tests.unit.engine.world import CLIENT, PARSERS, World, echo, read_body, request, respond, run, settle, silent


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
                "asgi": {"version": "3.0", "spec_version": "2.5"},
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
                "extensions": {},
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


class TestPipelining:
    """RFC 9112 section 9.3.2."""

    @pytest.mark.parametrize("parser", PARSERS)
    def test_requests_are_answered_in_their_order(self, parser: Any) -> None:
        async def shuffled(scope: Scope, receive: Receive, send: Send) -> None:
            body = await read_body(receive)
            for _ in range(3 - int(scope["path"][1:]) % 4):
                await asyncio.sleep(0)
            await respond(send, scope["path"].encode() + (body or b""))

        pieces = b"".join(
            request(f"/{n}", "POST", "Transfer-Encoding: chunked", body=b"2\r\n%02d\r\n0\r\n\r\n" % n)
            if n % 2
            else request(f"/{n}", "POST", body=b"%02d" % n)
            for n in range(12)
        )

        async def scenario() -> None:
            for size in (len(pieces), 7, 1):
                client = World(shuffled, HTTPSettings(parser=parser)).connect()
                waiting = [pieces[at : at + size] for at in range(0, len(pieces), size)]
                while waiting:
                    if client.transport.reading:
                        await client.send(waiting.pop(0))
                    else:
                        await settle()
                await settle(200)
                assert [response.body for response in client.responses()] == [b"/%d%02d" % (n, n) for n in range(12)]

        run(scenario)

    def test_no_more_is_read_while_a_request_waits_for_another(self) -> None:
        gate = asyncio.Event()

        async def slow(scope: Scope, receive: Receive, send: Send) -> None:
            await gate.wait()
            await respond(send)

        async def scenario() -> None:
            client = World(slow).connect()
            await client.send(request())
            assert client.transport.reading, "or nobody would notice that the client goes away"
            await client.send(request())
            assert [client.transport.reading, len(client.responses())] == [False, 0]
            gate.set()
            await settle()
            assert [client.transport.reading, len(client.responses())] == [True, 2]

        run(scenario)

    def test_garbage_behind_a_request_does_not_cost_it_its_response(self) -> None:
        async def scenario() -> None:
            client = World(echo).connect()
            await client.send(request("/good") + b"\x01garbage\r\n\r\n")
            assert [response.status for response in client.responses()] == [200, 400]
            assert client.ended

        run(scenario)

    def test_one_of_many_connections_does_not_keep_the_others_waiting(self) -> None:
        order: list[str] = []

        async def application(scope: Scope, receive: Receive, send: Send) -> None:
            order.append(scope["path"])
            await respond(send)

        async def scenario() -> None:
            world = World(application)
            greedy, modest = world.connect(), world.connect()
            greedy.connection.data_received(request("/greedy") * 5)
            modest.connection.data_received(request("/modest"))
            await settle(50)
            assert order.index("/modest") <= 1

        run(scenario)


class TestUnreadBodies:
    """RFC 9112 section 9.3: a server has to read a request's body, or to close the connection."""

    def test_a_small_body_that_nobody_reads_is_discarded(self) -> None:
        async def scenario() -> None:
            client = World(silent).connect()
            await client.send(request("/a", "POST", "Content-Length: 10", body=b"01234"))
            assert client.response().body == b"ok"
            await client.send(b"56789" + request("/b"))
            assert len(client.responses()) == 2
            assert not client.ended

        run(scenario)

    def test_a_large_body_that_nobody_reads_ends_the_connection(self) -> None:
        async def scenario() -> None:
            client = World(silent).connect()
            await client.send(request("/a", "POST", "Content-Length: 10000000", body=b"01234"))
            assert client.response().headers[b"connection"] == b"close"
            assert client.transport.half_closed
            assert not client.transport.closed, "closing while it sends would reset the connection under the response"
            await client.send(b"x" * 65536)
            await client.half_close()
            assert client.transport.closed

        run(scenario)

    def test_a_chunked_body_that_nobody_reads_is_discarded_up_to_a_limit(self) -> None:
        async def scenario() -> None:
            client = World(silent).connect()
            await client.send(request("/a", "POST", "Transfer-Encoding: chunked"))
            for _ in range(4):
                await client.send(b"10000\r\n" + b"x" * 65536 + b"\r\n")
                assert not client.ended
            await client.send(b"10000\r\n" + b"x" * 65536 + b"\r\n")
            assert client.ended
            assert len(client.responses()) == 1

        run(scenario)

    def test_garbage_in_a_body_that_nobody_reads_is_not_answered_twice(self) -> None:
        async def scenario() -> None:
            client = World(silent).connect()
            await client.send(request("/a", "POST", "Transfer-Encoding: chunked"), b"no chunk\r\n")
            assert client.response().status == 200
            assert client.ended

        run(scenario)

    def test_an_application_that_stopped_reading_half_way_leaves_the_connection_in_step(self) -> None:
        async def impatient(scope: Scope, receive: Receive, send: Send) -> None:
            await receive()
            await respond(send, b"enough")

        async def scenario() -> None:
            client = World(impatient).connect()
            await client.send(request("/a", "POST", "Content-Length: 200000", body=b"x" * 100_000))
            await client.send(b"x" * 100_000)
            await client.send(request("/b"))
            assert [response.body for response in client.responses()] == [b"enough", b"enough"]

        run(scenario)


class TestExpectContinue:
    """RFC 9110 section 10.1.1."""

    HEAD = request("/", "POST", "Content-Length: 5", "Expect: 100-continue")

    def test_the_client_is_asked_for_its_body_when_the_application_is(self) -> None:
        gate = asyncio.Event()

        async def slow(scope: Scope, receive: Receive, send: Send) -> None:
            await gate.wait()
            await echo(scope, receive, send)

        async def scenario() -> None:
            client = World(slow).connect()
            await client.send(self.HEAD)
            assert client.transport.octets == b""
            gate.set()
            await settle()
            assert client.transport.octets == b"HTTP/1.1 100 Continue\r\n\r\n"
            await client.send(b"hello")
            assert [response.status for response in client.responses()] == [100, 200]
            assert not client.ended

        run(scenario)

    def test_a_client_that_does_not_wait_is_not_asked(self) -> None:
        async def scenario() -> None:
            client = World(echo).connect()
            await client.send(self.HEAD + b"hello")
            assert client.response().body == b"POST / hello"

        run(scenario)

    def test_it_is_asked_once(self) -> None:
        async def scenario() -> None:
            client = World(echo).connect()
            await client.send(self.HEAD, b"he", b"llo")
            assert [response.status for response in client.responses()] == [100, 200]

        run(scenario)

    def test_an_application_that_wants_no_body_ends_the_connection(self) -> None:
        async def scenario() -> None:
            client = World(silent).connect()
            await client.send(self.HEAD)
            assert client.response().headers[b"connection"] == b"close"
            assert client.ended

        run(scenario)

    def test_an_interim_response_does_not_get_into_a_response(self) -> None:
        async def late(scope: Scope, receive: Receive, send: Send) -> None:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"a", "more_body": True})
            await receive()
            await send({"type": "http.response.body", "body": b"b"})

        async def scenario() -> None:
            client = World(late).connect()
            await client.send(self.HEAD)
            await client.send(b"hello")
            assert client.response().body == b"ab"

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
            assert len(world.service.background) == 2
            await client.vanish()
            assert len(world.service.background) == 3
            gate.set()
            await settle()
            assert sorted(done) == ["/a", "/b", "/c"]
            assert not world.service.background

        run(scenario)

    def test_an_idle_connection_holds_nothing_of_its_last_request(self) -> None:
        async def scenario() -> None:
            client = World(echo).connect()
            await client.send(request("/", "POST", body=b"x" * 1000))
            connection = client.connection
            assert connection.exchange is None
            assert connection._finishing is None
            assert connection._receiving is None

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
