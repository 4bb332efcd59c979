"""Requests that are sent before the earlier ones are answered (RFC 9112 section 9.3.2)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from appserver.asgi.types import Receive, Scope, Send
from appserver.http1.parser import WAIT_LIMIT
from appserver.settings import HTTPSettings
from tests.unit.engine.world import PARSERS, World, echo, read_body, request, respond, run, settle


class TestPipelining:
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

    def test_no_more_is_read_while_many_requests_wait_for_another(self) -> None:
        gate = asyncio.Event()

        async def slow(scope: Scope, receive: Receive, send: Send) -> None:
            await gate.wait()
            await respond(send)

        async def scenario() -> None:
            client = World(slow).connect()
            await client.send(request())
            assert client.transport.reading, "or nobody would notice that the client goes away"
            await client.send(request())
            assert client.transport.reading, "the same"
            few = WAIT_LIMIT // len(request()) - 1
            await client.send(request() * few)
            assert client.transport.reading
            await client.send(request())
            assert [client.transport.reading, len(client.responses())] == [False, 0]
            gate.set()
            await settle(4 * few)
            assert [client.transport.reading, len(client.responses())] == [True, 3 + few]

        run(scenario)

    def test_nothing_more_is_read_before_few_of_them_are_left(self) -> None:
        turns = asyncio.Semaphore(0)

        async def slow(scope: Scope, receive: Receive, send: Send) -> None:
            await turns.acquire()
            await respond(send)

        async def scenario() -> None:
            client = World(slow).connect()
            large = request("/", "GET", "X: " + "x" * 20_000)
            await client.send(large * 50)
            for answered in range(49):
                few = (49 - answered) * len(large) <= WAIT_LIMIT
                assert [client.transport.reading, len(client.responses())] == [few, answered]
                turns.release()
                await settle()
            assert client.transport.reading, "the last one is under way"
            turns.release()
            await settle()
            assert [client.transport.reading, len(client.responses())] == [True, 50]

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
