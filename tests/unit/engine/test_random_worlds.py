"""Random clients against random applications: whatever they do, and in whatever order, certain things hold.

Each seed is a world of its own, and always the same one.
"""

from __future__ import annotations

import asyncio
import random

import pytest

from appserver.asgi.types import Receive, Scope, Send
from appserver.engine.admission import Admission
from appserver.settings import HTTPSettings
from tests.unit.engine.world import PARSERS, Client, World, parse, request, run, settle

LIMITS = {
    "header_timeout": 10, "body_timeout": 10, "keepalive_timeout": 20, "write_timeout": 15, "request_timeout": 60,
    "max_body_size": 300_000,
}  # fmt: skip


class Moody:
    """An application that does something else at every call, well or badly."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.calls = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.calls += 1
        chance = self.chance
        body = b""
        if chance.random() < 0.6:
            body = await self.read(receive)
        for _ in range(chance.choice([0, 0, 1, 3])):
            await asyncio.sleep(0)
        match chance.choice(["whole", "whole", "pieces", "pieces", "raise", "short", "nothing", "wait", "stuck"]):
            case "whole":
                await send(
                    {"type": "http.response.start", "status": chance.choice([200, 204, 304, 404]), "headers": []}
                )
                await send({"type": "http.response.body", "body": body[:1000] or b"whole"})
            case "pieces":
                await self.stream(send, [b"x" * chance.randrange(3000) for _ in range(chance.randrange(6))])
            case "raise":
                raise RuntimeError
            case "short":
                await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"9")]})
                await send({"type": "http.response.body", "body": b"1234", "more_body": True})
            case "nothing":
                return
            case "wait":
                while (await receive())["type"] != "http.disconnect":
                    pass
                await send({"type": "http.response.start", "status": 200, "headers": []})
                await send({"type": "http.response.body", "body": b"bye"})
            case "stuck":
                await asyncio.get_running_loop().create_future()
        if chance.random() < 0.2:
            await receive()

    async def read(self, receive: Receive) -> bytes:
        body = b""
        for _ in range(self.chance.choice([1, 2, 1000])):
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        return body

    async def stream(self, send: Send, pieces: list[bytes]) -> None:
        headers = []
        if self.chance.random() < 0.5:
            headers.append((b"content-length", b"%d" % sum(map(len, pieces))))
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        for piece in pieces:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
            if self.chance.random() < 0.3:
                await asyncio.sleep(0)
        await send({"type": "http.response.body"})


def draw_request(chance: random.Random) -> tuple[str, bytes]:
    """A request, and its method; sometimes one that is nonsense."""
    if chance.random() < 0.05:
        return "GET", b"\x00nonsense\r\n\r\n"
    method = chance.choice(["GET", "GET", "HEAD", "POST", "POST"])
    headers = [header for header in ("Expect: 100-continue", "Connection: close") if chance.random() < 0.1]
    body = b""
    if method == "POST":
        body = bytes(chance.choice([0, 10, 5000, 100_000, 400_000]))
        if chance.random() < 0.5:
            size = max(1, len(body) // 3)
            pieces = [body[at : at + size] for at in range(0, len(body), size)]
            body = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
            headers.append("Transfer-Encoding: chunked")
    return method, request("/", method, *headers, body=body, version=chance.choice(["1.1", "1.1", "1.1", "1.0"]))


async def misbehave(world: World, client: Client, octets: bytes, chance: random.Random) -> None:
    """Send all that in pieces, as far as the server reads, with breaks, stalls and sudden ends."""
    transport = client.transport
    while octets and not transport.is_closing():
        match chance.choices(["send", "settle", "time", "stall", "half-close", "vanish"], [80, 10, 3, 4, 1, 1])[0]:
            case "send" if transport.reading:
                size = chance.choice([1, 7, 100, 5000, 65536])
                client.connection.data_received(octets[:size])
                octets = octets[size:]
            case "time":
                await world.pass_time(chance.choice([1, 5, 12]))
            case "stall" if not client.connection.congested:
                transport.congest()
            case "stall":
                transport.relieve()
            case "half-close":
                await client.half_close()
                return
            case "vanish":
                await client.vanish()
                return
        if chance.random() < 0.5:
            await settle(chance.choice([1, 3, 12]))


@pytest.mark.parametrize("parser", PARSERS)
@pytest.mark.parametrize("seed", range(60))
def test_whatever_happens(seed: int, parser: str) -> None:
    async def scenario() -> None:
        chance = random.Random(seed)  # not for secrets
        application = Moody(chance)
        admission = Admission(2, 2, None) if chance.random() < 0.3 else None
        settings = HTTPSettings.model_validate({"parser": parser, "server_header": "", "date_header": False, **LIMITS})
        world = World(application, settings, admission=admission)
        clients = []
        for _ in range(3):
            requests = [draw_request(chance) for _ in range(chance.randrange(1, 6))]
            clients.append((world.connect(), requests))
        await asyncio.gather(
            *(
                misbehave(world, client, b"".join(octets for _, octets in requests), chance)
                for client, requests in clients
            )
        )
        await world.pass_time(300)
        # Nothing is left: no connection, no request, no task.
        assert not world.service.registry.connections
        assert world.slot.connections == 0
        assert world.slot.in_progress == 0
        for exchange in list(world.service.registry.background):
            if exchange.task is not None:
                exchange.task.cancel()
        await settle()
        assert not world.service.registry.background
        # What each client got is a sequence of responses, at most one for each request and one more for an error.
        for client, requests in clients:
            methods = " ".join(method for method, _ in requests)
            responses = [r for r in parse(client.transport.octets, methods) if r.status >= 200]
            assert all(response.complete for response in responses[:-1])
            assert len(responses) <= len(requests) + 1
            assert client.transport.closed
        answers = sum(1 for _ in world.access.lines)
        assert answers == world.slot.requests >= application.calls - 1

    run(scenario)
