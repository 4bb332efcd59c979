"""When the head of a response leaves, and how event streams end when their worker stops."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from appserver.asgi.types import Receive, Scope, Send
from tests.unit.engine.world import World, request, run, settle


class Stream:
    """A response that waits behind its head, or behind its first piece, until `go` is set or it hears http.disconnect."""

    def __init__(self, content_type: bytes, *, pieces: int = 0, trailers: bool = False, listens: bool = True) -> None:
        self.content_type = content_type
        self.pieces = pieces
        self.trailers = trailers
        self.listens = listens
        self.go = asyncio.Event()
        self.told = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(b"content-type", self.content_type)]
        await send({"type": "http.response.start", "status": 200, "headers": headers, "trailers": self.trailers})
        for _ in range(self.pieces):
            await send({"type": "http.response.body", "body": b"data: x\n\n", "more_body": True})
        if self.listens:
            listening = asyncio.create_task(self.listen(receive))
            await self.go.wait()
            listening.cancel()
            if self.told:
                return
        await self.go.wait()
        await send({"type": "http.response.body", "body": b"end"})

    async def listen(self, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        self.told += 1
        self.go.set()


class TestHeads:
    @pytest.mark.parametrize("kind", [b"text/event-stream", b"text/event-stream; charset=utf-8"])
    def test_that_of_an_event_stream_leaves_at_once(self, kind: bytes) -> None:
        async def scenario() -> None:
            application = Stream(kind)
            client = World(application).connect()
            await client.send(request())
            assert client.transport.octets.endswith(b"\r\n\r\n")
            application.go.set()
            await settle()
            assert client.response().body == b"end"

        run(scenario)

    def test_any_other_leaves_after_a_moment(self) -> None:
        async def scenario() -> None:
            application = Stream(b"text/plain")
            world = World(application)
            client = world.connect()
            await client.send(request())
            assert not client.transport.octets
            await world.pass_time(1)
            assert client.transport.octets.endswith(b"\r\n\r\n")
            application.go.set()
            await settle()
            assert client.response().body == b"end"

        run(scenario)

    def test_that_of_a_response_with_trailers_leaves_after_a_moment(self) -> None:
        async def scenario() -> None:
            application = Stream(b"text/plain", trailers=True)
            world = World(application)
            client = world.connect()
            await client.send(request("/", "GET", "TE: trailers"))
            await world.pass_time(1)
            assert client.transport.octets.endswith(b"\r\n\r\n")
            await client.vanish()
            await world.pass_time(3)
            application.go.set()
            await settle()

        run(scenario)

    def test_a_usual_response_is_one_write(self) -> None:
        async def application(scope: Scope, receive: Receive, send: Send) -> None:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await asyncio.sleep(0)
            await send({"type": "http.response.body", "body": b"whole"})

        async def scenario() -> None:
            client = World(application).connect()
            await client.send(request())
            assert len(client.transport.writes) == 1
            assert b"content-length: 5" in client.transport.octets

        run(scenario)


class TestDrain:
    async def drain(self, application: Any, method: str = "GET") -> tuple[World, Any]:
        world = World(application)
        client = world.connect()
        await client.send(request("/", method))
        world.service.draining = True
        world.service.keepalive_timeout = 1
        for connection in list(world.service.registry.connections):
            connection.drain()
        await world.pass_time(1)
        return world, client

    def test_an_idle_event_stream_is_asked_to_end_and_ends_well(self) -> None:
        async def scenario() -> None:
            application = Stream(b"text/event-stream", pieces=1)
            world, client = await self.drain(application)
            assert not application.go.is_set(), "it may just have sent something"
            await world.pass_time(1)
            assert application.go.is_set()
            assert client.response().body == b"data: x\n\n", "the response is complete"
            await world.pass_time(2)
            assert not world.service.registry.connections
            assert world.access.lines[0][4] is None, "that is no aborted request"

        run(scenario)

    @pytest.mark.parametrize("sends", [True, False])
    def test_one_that_never_listens_is_asked_by_send_or_cancelled(self, sends: bool) -> None:
        ended: list[BaseException] = []

        async def application(scope: Scope, receive: Receive, send: Send) -> None:
            headers = [(b"content-type", b"text/event-stream")]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            try:
                while True:
                    await send({"type": "http.response.body", "body": b"data: x\n\n", "more_body": True})
                    await event.wait()
            except BaseException as error:
                ended.append(error)
                raise

        event = asyncio.Event()

        async def scenario() -> None:
            world, client = await self.drain(application)
            await world.pass_time(1)
            assert not ended, "it might still listen"
            if sends:
                event.set()
                await settle()
            else:
                await world.pass_time(1)
            assert [isinstance(error, OSError) for error in ended] == [sends]
            assert client.response().body == b"data: x\n\n" * (1 + sends), "nothing that was sent is lost"
            assert client.response().complete
            await world.pass_time(2)
            assert not world.service.registry.connections
            assert world.access.lines[0][4] is None, "that is no aborted request"
            assert not world.log.of("application failed")

        run(scenario)

    def test_one_that_has_announced_its_length_is_broken_off(self) -> None:
        async def application(scope: Scope, receive: Receive, send: Send) -> None:
            headers = [(b"content-type", b"text/event-stream"), (b"content-length", b"100")]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            while (await receive())["type"] != "http.disconnect":
                pass

        async def scenario() -> None:
            world, client = await self.drain(application)
            await world.pass_time(2)
            assert not client.response().complete
            assert client.ended
            assert not world.service.registry.connections
            assert world.access.lines[0][4] == "aborted"

        run(scenario)

    def test_one_that_has_heard_is_left_to_end_as_it_likes(self) -> None:
        heard = asyncio.Event()

        async def application(scope: Scope, receive: Receive, send: Send) -> None:
            headers = [(b"content-type", b"text/event-stream")]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            while (await receive())["type"] != "http.disconnect":
                pass
            heard.set()
            await send({"type": "http.response.body", "body": b"data: bye\n\n", "more_body": True})
            await go.wait()
            await send({"type": "http.response.body", "body": b"data: end\n\n"})

        go = asyncio.Event()

        async def scenario() -> None:
            world, client = await self.drain(application)
            await world.pass_time(5)
            assert heard.is_set()
            go.set()
            await settle()
            assert client.response().body == b"data: bye\n\ndata: end\n\n"

        run(scenario)

    def test_an_answer_that_is_being_worked_on_is_left_alone(self) -> None:
        async def scenario() -> None:
            for application, method in [
                (Stream(b"text/event-stream", pieces=1), "POST"),
                (Stream(b"text/plain", pieces=1), "GET"),
            ]:
                world, client = await self.drain(application, method)
                await world.pass_time(10)
                assert not application.told
                application.go.set()
                await settle()
                assert client.response().body == b"data: x\n\nend"

        run(scenario)

    def test_a_stream_that_sends_is_left_alone(self) -> None:
        stop: list[str] = []

        async def application(scope: Scope, receive: Receive, send: Send) -> None:
            headers = [(b"content-type", b"text/event-stream")]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            while not stop:
                await ticks.get()
                await send({"type": "http.response.body", "body": b"data: x\n\n", "more_body": not stop})

        ticks: asyncio.Queue[None] = asyncio.Queue()

        async def scenario() -> None:
            world, client = await self.drain(application)
            for _ in range(5):
                ticks.put_nowait(None)
                await settle()
                await world.pass_time(1)
            assert not client.transport.closed
            stop.append("now")
            ticks.put_nowait(None)
            await settle()
            assert client.response().body == b"data: x\n\n" * 6

        run(scenario)
