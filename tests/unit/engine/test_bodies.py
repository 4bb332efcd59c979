"""Bodies that nobody reads, and bodies that wait to be asked for."""

from __future__ import annotations

import asyncio

from appserver.asgi.types import Receive, Scope, Send
from tests.unit.engine.world import World, echo, request, respond, run, settle, silent


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
