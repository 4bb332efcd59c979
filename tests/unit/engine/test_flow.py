"""Back-pressure: neither side can make the server hold more than a little of what the other does not take."""

from __future__ import annotations

import asyncio

from appserver.asgi.types import Receive, Scope, Send
from appserver.engine.connection import BUFFER_LIMIT
from tests.unit.engine.world import Client, World, read_body, request, respond, run, settle, silent

READ = 65_536  # what a transport delivers at once


class TestUploads:
    def test_reading_pauses_while_the_application_takes_nothing(self) -> None:
        gate = asyncio.Event()

        async def late(scope: Scope, receive: Receive, send: Send) -> None:
            await gate.wait()
            await respond(send, b"%d" % len(await read_body(receive) or b""))

        async def scenario() -> None:
            client = World(late).connect()
            await client.send(request("/", "POST", f"Content-Length: {20 * READ}"))
            sent = 0
            while client.transport.reading:
                await client.send(b"x" * READ)
                sent += 1
            assert client.connection.exchange is not None
            assert BUFFER_LIMIT < client.connection.exchange.buffered <= BUFFER_LIMIT + READ
            gate.set()
            await settle()
            while sent < 20:
                await client.send(b"x" * READ)
                sent += 1
            assert client.response().body == b"%d" % (20 * READ)

        run(scenario)

    def test_what_is_buffered_is_taken_in_one_message(self) -> None:
        sizes: list[int] = []
        gate = asyncio.Event()

        async def late(scope: Scope, receive: Receive, send: Send) -> None:
            await gate.wait()
            while True:
                message = await receive()
                sizes.append(len(message["body"]))
                if not message["more_body"]:
                    return await respond(send)

        async def scenario() -> None:
            client = World(late).connect()
            await client.send(request("/", "POST", "Content-Length: 30"), b"x" * 10, b"x" * 10)
            gate.set()
            await settle()
            await client.send(b"x" * 10)
            assert client.response().status == 200

        run(scenario)
        assert sizes == [20, 10]

    def test_the_pause_ends_when_the_response_does(self) -> None:
        gate = asyncio.Event()

        async def uninterested(scope: Scope, receive: Receive, send: Send) -> None:
            await gate.wait()
            await respond(send, b"no")

        async def scenario() -> None:
            client = World(uninterested).connect()
            size = 3 * BUFFER_LIMIT
            await client.send(request("/a", "POST", f"Content-Length: {size}"), b"x" * (2 * BUFFER_LIMIT))
            assert not client.transport.reading
            gate.set()
            await settle()
            await client.send(b"x" * BUFFER_LIMIT, request("/b"))
            assert len(client.responses()) == 2

        run(scenario)

    def test_chunks_of_one_octet_do_not_become_messages_of_one_octet(self) -> None:
        sizes: list[int] = []

        async def application(scope: Scope, receive: Receive, send: Send) -> None:
            message = await receive()
            sizes.append(len(message["body"]))
            await respond(send)

        async def scenario() -> None:
            client = World(application).connect()
            await client.send(request("/", "POST", "Transfer-Encoding: chunked") + b"1\r\nx\r\n" * 1000 + b"0\r\n\r\n")
            assert client.response().status == 200

        run(scenario)
        assert sizes == [1000]


class TestDownloads:
    def test_send_waits_while_the_client_does_not_read(self) -> None:
        sent: list[int] = []

        async def application(scope: Scope, receive: Receive, send: Send) -> None:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            for number in range(5):
                await send({"type": "http.response.body", "body": b"x" * 1000, "more_body": True})
                sent.append(number)
                await asyncio.sleep(0)
            await send({"type": "http.response.body"})

        async def scenario() -> None:
            client = World(application).connect()
            client.connection.data_received(request())
            while not sent:
                await asyncio.sleep(0)
            client.transport.congest()
            before = len(sent)
            await settle(50)
            assert len(sent) == before
            assert len(client.transport.writes) <= before + 1, "one message more at most"
            client.transport.relieve()
            await settle(50)
            assert len(client.response().body) == 5000

        run(scenario)

    def test_every_task_of_the_application_that_sends_waits(self) -> None:
        done: list[int] = []

        async def application(scope: Scope, receive: Receive, send: Send) -> None:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"-", "more_body": True})
            await gate.wait()

            async def part(number: int) -> None:
                await send({"type": "http.response.body", "body": b"%d" % number, "more_body": True})
                done.append(number)

            async with asyncio.TaskGroup() as group:
                for number in range(3):
                    group.create_task(part(number))
            await send({"type": "http.response.body"})

        gate = asyncio.Event()

        async def scenario() -> None:
            client = World(application).connect()
            await client.send(request())
            client.transport.congest()
            gate.set()
            await settle()
            assert not done
            client.transport.relieve()
            await settle()
            assert client.response().body == b"-012"

        run(scenario)

    def test_the_last_message_does_not_wait(self) -> None:
        ended = asyncio.Event()

        async def application(scope: Scope, receive: Receive, send: Send) -> None:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"a", "more_body": True})
            congest()
            await send({"type": "http.response.body", "body": b"b"})
            ended.set()

        def congest() -> None:
            clients[0].transport.congest()

        clients: list[Client] = []

        async def scenario() -> None:
            clients.append(World(application).connect())
            await clients[0].send(request())
            assert ended.is_set()
            clients[0].transport.relieve()
            await settle()
            assert clients[0].response().complete

        run(scenario)

    def test_a_congested_connection_takes_no_further_request(self) -> None:
        """Nor does it hold their responses: they would wait behind what the client does not read."""

        async def application(scope: Scope, receive: Receive, send: Send) -> None:
            await respond(send, b"x" * 1000)

        async def scenario() -> None:
            client = World(application).connect()
            client.transport.congest_at = 3
            await client.send(request() * 500)
            await settle(200)
            assert len(client.transport.writes) == 3
            client.transport.relieve()
            await settle(3000)
            assert len(client.responses()) == 500

        run(scenario)

    def test_nor_one_that_arrives_later(self) -> None:
        async def scenario() -> None:
            client = World(silent).connect()
            client.transport.congest_at = 1
            await client.send(request("/a"), request("/b"))
            assert len(client.responses()) == 1
            client.transport.relieve()
            await settle()
            assert (client.transport.reading, len(client.responses())) == (True, 2)
            await client.send(request("/c"))
            assert len(client.responses()) == 3

        run(scenario)
