"""appserver.engine.admission: requests that wait, and requests that are turned away."""

from __future__ import annotations

import asyncio

import pytest

from appserver.asgi.types import Receive, Scope, Send
from appserver.engine.admission import Admission
from appserver.settings import HTTPSettings
from tests.unit.engine.world import Client, World, rejected, request, respond, run, settle


class Gated:
    """An application that answers when it is told to."""

    def __init__(self) -> None:
        self.running: list[str] = []
        self.gates: dict[str, asyncio.Event] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"]
        self.running.append(path)
        await self.gates.setdefault(path, asyncio.Event()).wait()
        await respond(send, path.encode())
        self.running.remove(path)

    async def finish(self, path: str) -> None:
        self.gates[path].set()
        await settle()


async def ask(world: World, *paths: str) -> list[Client]:
    clients = [world.connect() for _ in paths]
    for client, path in zip(clients, paths, strict=True):
        await client.send(request(path))
    return clients


def test_as_many_run_as_may_and_the_others_wait_in_their_order() -> None:
    async def scenario() -> None:
        application = Gated()
        world = World(application, admission=Admission(2, 10, None))
        clients = await ask(world, "/1", "/2", "/3", "/4")
        assert application.running == ["/1", "/2"]
        await application.finish("/2")
        assert application.running == ["/1", "/3"]
        await application.finish("/1")
        assert application.running == ["/3", "/4"]
        await application.finish("/3")
        await application.finish("/4")
        assert [client.response().body for client in clients] == [b"/1", b"/2", b"/3", b"/4"]

    run(scenario)


def test_beyond_the_queue_they_are_turned_away_at_once_and_keep_their_connection() -> None:
    async def scenario() -> None:
        application = Gated()
        world = World(application, admission=Admission(1, 1, None))
        first, second, third = await ask(world, "/1", "/2", "/3")
        response = third.response()
        assert response.status == 503
        assert response.headers[b"retry-after"] == b"1"
        assert (
            b"1 requests are running (workers.max_concurrency), and 1 are waiting (workers.queue_size)" in response.body
        )
        [record] = world.log.of("request refused")
        assert (record["status"], record["reason"], record["path"]) == (503, "overload", "/3")
        assert record["detail"].encode() in response.body
        assert not third.ended
        assert rejected(world) == {"overload": 1}
        assert world.access.lines[0][:2] == ("GET /3", 503)
        await application.finish("/1")
        await third.send(request("/3"))
        await application.finish("/2")
        await application.finish("/3")
        assert [response.status for response in third.responses()] == [503, 200]
        assert first.response().status == second.response().status == 200
        assert not world.log.of("application failed")

    run(scenario)


def test_without_a_queue_nobody_waits() -> None:
    async def scenario() -> None:
        application = Gated()
        first, second = await ask(World(application, admission=Admission(1, 0, 1)), "/1", "/2")
        assert second.response().status == 503
        await application.finish("/1")
        assert first.response().status == 200

    run(scenario)


def test_nobody_waits_for_longer_than_the_queue_timeout() -> None:
    async def scenario() -> None:
        application = Gated()
        world = World(application, admission=Admission(1, 5, 0.5))
        first, second = await ask(world, "/1", "/2")
        while not second.transport.writes:
            await asyncio.sleep(0.001)
        assert second.response().status == 503
        assert b"waited for 0.5 s (workers.queue_timeout)" in second.response().body
        third = (await ask(world, "/3"))[0]
        await application.finish("/1")
        await application.finish("/3")
        assert third.response().status == first.response().status == 200

    run(scenario)


def test_a_body_that_nobody_will_read_ends_the_connection() -> None:
    async def scenario() -> None:
        application = Gated()
        world = World(application, admission=Admission(1, 0, None))
        (first,) = await ask(world, "/1")
        second = world.connect()
        await second.send(request("/2", "POST", "Content-Length: 1000", body=b"x"))
        assert second.response().status == 503
        assert second.ended
        await application.finish("/1")
        assert first.response().status == 200

    run(scenario)


@pytest.mark.parametrize("politely", [False, True], ids=["reset", "closed"])
def test_who_has_gone_does_not_get_a_place_nor_keep_others_from_waiting(politely: bool) -> None:
    async def scenario() -> None:
        application = Gated()
        world = World(application, admission=Admission(1, 1, None))
        first, second = await ask(world, "/1", "/2")
        await (second.half_close() if politely else second.vanish())
        (third,) = await ask(world, "/3")
        await application.finish("/1")
        assert application.running == ["/3"]
        await application.finish("/3")
        assert first.response().status == third.response().status == 200

    run(scenario)


def test_a_place_is_given_back_whatever_the_application_does() -> None:
    async def failing(scope: Scope, receive: Receive, send: Send) -> None:
        raise RuntimeError

    async def scenario() -> None:
        world = World(failing, admission=Admission(1, 0, None))
        clients = await ask(world, "/1", "/2", "/3")
        assert [client.response().status for client in clients] == [500, 500, 500]

    run(scenario)


def test_a_request_that_is_cancelled_while_it_waits_gives_its_place_in_the_queue_up() -> None:
    async def scenario() -> None:
        application = Gated()
        world = World(application, HTTPSettings(request_timeout=5), admission=Admission(1, 1, None))
        first, second = await ask(world, "/1", "/2")
        first.connection.deadline = first.connection._finish_by = float("inf")
        await world.pass_time(6)
        assert second.response().status == 504
        (third,) = await ask(world, "/3")
        await application.finish("/1")
        await application.finish("/3")
        assert third.response().status == 200

    run(scenario)


def test_a_request_that_is_cancelled_when_its_turn_comes_passes_it_on() -> None:
    async def scenario() -> None:
        application = Gated()
        world = World(application, admission=Admission(1, 5, None))
        first, second, third = await ask(world, "/1", "/2", "/3")
        assert second.connection.exchange is not None
        waiting = second.connection.exchange.task
        assert waiting is not None
        application.gates["/1"].set()
        while first.connection.exchange is not None:
            await asyncio.sleep(0)
        world.service.draining = True  # the server cancels nothing else
        waiting.cancel()
        await settle()
        assert second.response().status == 503
        assert application.running == ["/3"]
        await application.finish("/3")
        assert third.response().status == 200

    run(scenario)
