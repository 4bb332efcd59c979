"""appserver.engine.first_transport: a connection before it has a transport of the event loop, and the change to that."""

from __future__ import annotations

import asyncio
import errno
import gc
import os
import socket
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import uvloop

from appserver.asgi.types import Receive, Scope, Send
from appserver.engine.first_transport import HIGH_WATER, FirstTransport
from appserver.engine.link import Link
from tests.unit.engine.serving import Served, serving
from tests.unit.engine.world import LOOPS, echo, parse, request, respond, run, settle

CLOSE = b"GET /path HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
LARGE = bytes(range(256)) * 4096 * 8
"""More than the buffers of a socket hold whose client does not read."""


class Watch:
    """Sees, and decides, what the event loop of a test does when it is to make a transport."""

    def __init__(self) -> None:
        self.made = 0
        self.before: Callable[[], None] = lambda: None
        self.error: OSError | None = None

    def loop(self, name: str) -> Callable[[], asyncio.AbstractEventLoop]:
        watch = self
        base: Any = uvloop.Loop if name == "uvloop" else asyncio.SelectorEventLoop

        class Watched(base):  # type: ignore[misc]  # one of two classes
            async def connect_accepted_socket(self, *arguments: Any, **options: Any) -> Any:
                watch.made += 1
                watch.before()
                if watch.error is not None:
                    raise watch.error
                return await super().connect_accepted_socket(*arguments, **options)

        return Watched


@pytest.fixture(params=["asyncio", "uvloop"])
def loop(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def watch(loop: str, monkeypatch: pytest.MonkeyPatch) -> Watch:
    watch = Watch()
    monkeypatch.setitem(LOOPS, loop, watch.loop(loop))
    return watch


def connected(served: Served, octets: bytes = b"") -> socket.socket:
    """A client whose connection, with these octets, is there before the server accepts it."""
    client = socket.create_connection(served.listener.socket.getsockname())
    client.sendall(octets)
    client.setblocking(False)
    return client


async def everything(client: socket.socket) -> bytes:
    """Read until the connection ends; returns all that the client gets."""
    loop = asyncio.get_running_loop()
    found = b""
    while octets := await loop.sock_recv(client, 65536):
        found += octets
    client.close()
    return found


def reset(client: socket.socket) -> None:
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


def end(link: Link, way: str) -> None:
    """End a connection in one of the ways that it has."""
    getattr(link, way)()


def transports() -> list[FirstTransport]:
    """All that are in memory."""
    return [found for found in gc.get_objects() if isinstance(found, FirstTransport)]


class TestWithoutTheLoop:
    def test_a_request_that_is_answered_at_once_and_the_last_one(self, loop: str, watch: Watch) -> None:
        async def scenario() -> None:
            async with serving(echo) as served:
                for _ in range(3):
                    (response,) = parse(await everything(connected(served, CLOSE)))
                    assert (response.status, response.body) == (200, b"GET /path ")
                await served.accepted(0)
                assert watch.made == 0

        run(scenario, loop)

    def test_a_file_for_a_client_that_does_not_read_holds_nobody_up(
        self, loop: str, watch: Watch, tmp_path: Path
    ) -> None:
        """It is copied past the transport, and sendfile(2) waits on a socket that has not been told otherwise."""
        (tmp_path / "file").write_bytes(LARGE)
        servers: list[Served] = []
        waits: list[bool] = []

        async def application(scope: Scope, receive: Receive, send: Send) -> None:
            assert watch.made == 0
            waits.append(os.get_blocking(servers[0].link.descriptor))
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.pathsend", "path": str(tmp_path / "file")})

        async def scenario() -> None:
            async with serving(application) as served:
                servers.append(served)
                (response,) = parse(await everything(connected(served, CLOSE)))
                assert response.body == LARGE
                assert waits == [False]

        run(scenario, loop)

    def test_it_is_not_left_to_the_garbage_collector(self, loop: str, watch: Watch) -> None:
        async def scenario() -> None:
            async with serving(echo) as served:
                gc.collect()
                before = transports()
                gc.disable()
                try:
                    for octets in (CLOSE, request()):
                        client = connected(served, octets)
                        await asyncio.get_running_loop().sock_recv(client, 65536)
                        client.close()
                        await served.accepted(0)
                    await settle()
                    assert transports() == before
                finally:
                    gc.enable()

        run(scenario, loop)

    def test_what_is_no_request_is_refused_in_full(self, loop: str, watch: Watch) -> None:
        async def scenario() -> None:
            async with serving(echo) as served:
                client = connected(served, b"nonsense\r\n\r\n" + b"x" * 5000)
                answer = await asyncio.get_running_loop().sock_recv(client, 65536)
                assert parse(answer)[0].status == 400
                client.shutdown(socket.SHUT_WR)
                assert await everything(client) == b""
                await served.accepted(0)

        run(scenario, loop)

    def test_a_client_that_has_reset_the_connection_already(self, loop: str, watch: Watch) -> None:
        async def scenario() -> None:
            async with serving(echo) as served:
                client = connected(served, CLOSE)
                reset(client)
                peer = await served.connect()
                peer.send(request())
                assert (await peer.response()).status == 200, "it goes on"
                await served.accepted(1)
                await peer.close()

        run(scenario, loop)

    def test_a_client_that_is_gone_before_it_has_its_response(self, loop: str, watch: Watch) -> None:
        client: socket.socket
        outcome: list[object] = []

        async def application(scope: Scope, receive: Receive, send: Send) -> None:
            reset(client)
            await send({"type": "http.response.start", "status": 200, "headers": []})
            try:
                for _ in range(20):
                    await send({"type": "http.response.body", "body": b"x", "more_body": True})
                    await asyncio.sleep(0.001)
            except OSError as error:
                outcome.append(error)
            await receive()
            outcome.append((await receive())["type"])

        async def scenario() -> None:
            nonlocal client
            async with serving(application) as served:
                client = connected(served, CLOSE)
                while not outcome or outcome[-1] != "http.disconnect":
                    await asyncio.sleep(0.001)
                await served.accepted(0)

        run(scenario, loop)

    def test_a_connection_that_is_lost_can_be_ended_once_more(self, loop: str, watch: Watch) -> None:
        client: socket.socket
        served: Served
        ended: list[str] = []

        async def application(scope: Scope, receive: Receive, send: Send) -> None:
            reset(client)
            await respond(send, b"here")
            for way in ("linger", "close", "reset", "abort"):
                end(served.link, way)
                assert served.link.descriptor >= 0, "nobody else has it before the connection is forgotten"
                ended.append(way)

        async def scenario() -> None:
            nonlocal client, served
            async with serving(application) as served:
                client = connected(served, request())
                async with asyncio.timeout(10):
                    while ended != ["linger", "close", "reset", "abort"]:
                        await asyncio.sleep(0.001)
                await served.accepted(0)

        run(scenario, loop)


class TestTheChange:
    def test_a_connection_that_stays(self, loop: str, watch: Watch) -> None:
        async def scenario() -> None:
            async with serving(echo) as served:
                client = connected(served, request("/1"))
                for number in range(1, 4):
                    (response,) = parse(await asyncio.get_running_loop().sock_recv(client, 65536))
                    assert response.body == f"GET /{number} ".encode()
                    client.send(request(f"/{number + 1}"))
                assert watch.made == 1
                client.close()

        run(scenario, loop)

    def test_an_application_that_waits(self, loop: str, watch: Watch) -> None:
        async def application(scope: Scope, receive: Receive, send: Send) -> None:
            while not watch.made:
                await asyncio.sleep(0)
            await respond(send, b"late")

        async def scenario() -> None:
            async with serving(application) as served:
                (response,) = parse(await everything(connected(served, CLOSE)))
                assert response.body == b"late"
                await served.accepted(0)

        run(scenario, loop)

    def test_an_application_that_waits_learns_that_the_client_leaves(self, loop: str, watch: Watch) -> None:
        seen: list[str] = []

        async def application(scope: Scope, receive: Receive, send: Send) -> None:
            await receive()
            seen.append("called")
            seen.append((await receive())["type"])

        async def scenario() -> None:
            async with serving(application) as served:
                client = connected(served, CLOSE)
                while not seen:
                    await asyncio.sleep(0.001)
                reset(client)
                while seen != ["called", "http.disconnect"]:
                    await asyncio.sleep(0.001)
                await served.accepted(0)

        run(scenario, loop)

    @pytest.mark.parametrize("pieces", [1, 4, 64])
    @pytest.mark.parametrize("head", [CLOSE, request("/path")], ids=["close", "keep"])
    def test_what_the_kernel_does_not_take_at_once_comes_in_order(
        self, loop: str, watch: Watch, head: bytes, pieces: int
    ) -> None:
        size = len(LARGE) // pieces

        async def application(scope: Scope, receive: Receive, send: Send) -> None:
            headers = [(b"content-length", str(len(LARGE)).encode())]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            for number in range(pieces):
                body = LARGE[number * size : (number + 1) * size]
                await send({"type": "http.response.body", "body": body, "more_body": number + 1 < pieces})

        async def scenario() -> None:
            async with serving(application, keepalive_timeout=0.2) as served:
                client = connected(served, head)
                while not watch.made:
                    await asyncio.sleep(0.001)
                await asyncio.sleep(0.02)  # the client does not read yet
                if pieces > 1:
                    assert served.link._transport.get_write_buffer_size() <= HIGH_WATER + size + 512
                (response,) = parse(await everything(client))
                assert response.body == LARGE

        run(scenario, loop)

    def test_a_file_is_sent(self, loop: str, watch: Watch, tmp_path: Path) -> None:
        file = tmp_path / "file"
        file.write_bytes(LARGE)

        async def application(scope: Scope, receive: Receive, send: Send) -> None:
            headers = [(b"content-length", str(len(LARGE)).encode())]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.pathsend", "path": str(file)})

        async def scenario() -> None:
            async with serving(application) as served:
                (response,) = parse(await everything(connected(served, CLOSE)))
                assert response.body == LARGE
                await served.accepted(0)

        run(scenario, loop)

    def test_a_body_that_is_larger_than_what_is_read_at_first(self, loop: str, watch: Watch) -> None:
        async def application(scope: Scope, receive: Receive, send: Send) -> None:
            body, more = b"", True
            while more:
                message = await receive()
                body += message["body"]
                more = message["more_body"]
            await respond(send, str(body == LARGE).encode())

        async def scenario() -> None:
            async with serving(application, max_body_size=len(LARGE)) as served:
                head = b"POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(LARGE)
                client = connected(served, head + LARGE[:30_000])
                await asyncio.get_running_loop().sock_sendall(client, LARGE[30_000:])
                (response,) = parse(await everything(client))
                assert response.body == b"True"

        run(scenario, loop)

    def test_a_client_that_has_closed_its_side_already(self, loop: str, watch: Watch) -> None:
        async def application(scope: Scope, receive: Receive, send: Send) -> None:
            await asyncio.sleep(0.01)
            await respond(send, b"here")

        async def scenario() -> None:
            async with serving(application) as served:
                client = connected(served, request())
                client.shutdown(socket.SHUT_WR)
                (response,) = parse(await everything(client))
                assert response.body == b"here"
                await served.accepted(0)

        run(scenario, loop)

    def test_pipelined_requests(self, loop: str, watch: Watch) -> None:
        async def scenario() -> None:
            async with serving(echo) as served:
                octets = b"".join(request(f"/{number}") for number in range(20)) + CLOSE
                responses = parse(await everything(connected(served, octets)))
                assert [response.body for response in responses] == [
                    *(f"GET /{number} ".encode() for number in range(20)),
                    b"GET /path ",
                ]

        run(scenario, loop)

    def test_nothing_more_is_read_for_a_request_that_waits(self, loop: str, watch: Watch) -> None:
        release = asyncio.Event()

        async def application(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["path"] == "/slow":
                await release.wait()
            await respond(send, b"here")

        async def scenario() -> None:
            async with serving(application) as served:
                client = connected(served, request("/slow") + request())
                client.setblocking(False)
                sent = 0
                try:
                    for _ in range(100):
                        await settle()
                        async with asyncio.timeout(0.3):
                            await asyncio.get_running_loop().sock_sendall(client, request() * 10_000)
                        sent += 1
                except TimeoutError:
                    pass
                assert sent < 100, "the client has to wait"
                assert served.link.received < 1_000_000
                client.close()
                release.set()

        release = asyncio.Event()
        run(scenario, loop)


class TestWhileTheLoopIsAtIt:
    """The connection ends, or more is written, when the loop's transport is being made."""

    @pytest.mark.parametrize("way", ["close", "abort", "reset", "linger"])
    def test_an_end(self, loop: str, watch: Watch, way: str) -> None:
        async def scenario() -> None:
            async with serving(echo) as served:
                watch.before = lambda: end(served.link, way)
                client = connected(served)
                try:
                    assert await everything(client) == b""
                except ConnectionResetError:
                    assert way == "reset"
                else:
                    assert way != "reset"
                client.close()
                await served.accepted(0)
                assert watch.made == 1

        run(scenario, loop)

    @pytest.mark.parametrize("way", ["close", "linger"])
    @pytest.mark.parametrize("octets", [b"farewell", LARGE], ids=["small", "large"])
    def test_an_end_behind_what_is_written(self, loop: str, watch: Watch, way: str, octets: bytes) -> None:
        async def scenario() -> None:
            async with serving(echo) as served:

                def write() -> None:
                    served.link.write_pieces([octets[:100], octets[100:]])
                    end(served.link, way)

                watch.before = write
                assert await everything(connected(served)) == octets
                await served.accepted(0)

        run(scenario, loop)

    def test_a_client_that_leaves(self, loop: str, watch: Watch) -> None:
        async def scenario() -> None:
            async with serving(echo) as served:

                def leave() -> None:
                    reset(client)
                    for _ in range(3):
                        served.link.write(LARGE)

                watch.before = leave
                client = connected(served)
                while not watch.made:
                    await asyncio.sleep(0.001)
                await served.accepted(0)

        run(scenario, loop)

    def test_the_loop_cannot(self, loop: str, watch: Watch) -> None:
        async def scenario() -> None:
            async with serving(echo) as served:
                watch.error = OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))
                assert await everything(connected(served)) == b""
                await served.accepted(0)
                watch.error = None
                peer = await served.connect()
                peer.send(request())
                assert (await peer.response()).status == 200
                await peer.close()

        run(scenario, loop)

    def test_the_server_closes(self, loop: str, watch: Watch) -> None:
        async def scenario() -> None:
            async with serving(echo) as served:
                watch.before = served.server.close
                assert await everything(connected(served)) == b""
                await served.accepted(0)

        run(scenario, loop)
