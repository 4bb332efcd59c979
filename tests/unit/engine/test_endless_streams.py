"""Applications that send and send, and wait for nothing else: the event loop has to get its turn, whatever the client does."""

from __future__ import annotations

import asyncio
import select
import socket
import threading
from pathlib import Path
from typing import Any

import pytest

from appserver.asgi.types import Message, Receive, Scope, Send
from appserver.engine.link import RESET
from tests.unit.engine.serving import Served, serving
from tests.unit.engine.world import LOOPS, request, respond, run

LARGE = bytes(256 * 1024)
PIECE: Message = {"type": "http.response.body", "body": LARGE, "more_body": True}
LAST: Message = {"type": "http.response.body", "body": LARGE}
MANY = 50_000

HANDSHAKE = request(
    "/", "GET", "Connection: upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
)  # fmt: skip

each_loop = pytest.mark.parametrize("loop", LOOPS)


class Leaving:
    """A client that resets its connection while the application is at work, without a turn of the loop in between."""

    def __init__(self) -> None:
        self._begun = threading.Event()

    def run(self, address: tuple[str, int], octets: bytes) -> None:
        with socket.create_connection(address) as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            client.sendall(octets)
            self._begun.wait(20)

    def leave(self, served: Served) -> None:
        self._begun.set()
        while not served.link.connected() & select.POLLERR:
            pass


@each_loop
@pytest.mark.parametrize("turns", range(4))
class TestClientsThatLeave:
    """The transport is our own for the first turns of a connection, and then the event loop's: both are told of it only later."""

    def played(self, octets: bytes, application: Any, loop: str) -> None:
        async def scenario() -> None:
            async with serving(lambda scope, receive, send: application(served, leaving, send)) as served:
                await asyncio.to_thread(leaving.run, served.listener.socket.getsockname(), octets)
                await served.accepted(0)

        leaving = Leaving()
        run(scenario, loop)

    @pytest.mark.parametrize("pieces", [1, 2, MANY])
    def test_a_response_ends_and_is_not_complete(self, loop: str, turns: int, pieces: int) -> None:
        ended: list[Exception | None] = []

        async def application(served: Served, leaving: Leaving, send: Send) -> None:
            for _ in range(turns):
                await asyncio.sleep(0)
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({**PIECE, "body": b"x"})
            leaving.leave(served)
            try:
                for _ in range(pieces):
                    await send(PIECE)
                await send(LAST)
                await send(LAST)  # an error behind a response that is complete
            except Exception as error:
                ended.append(error)
                raise
            ended.append(None)

        self.played(request(), application, loop)
        assert len(ended) == 1
        assert (ended[0] is None) == (pieces < MANY)
        assert ended[0] is None or isinstance(ended[0], OSError)

    def test_a_session_ends(self, loop: str, turns: int) -> None:
        sent: list[int] = []

        async def application(served: Served, leaving: Leaving, send: Send) -> None:
            for _ in range(turns):
                await asyncio.sleep(0)
            await send({"type": "websocket.accept"})
            leaving.leave(served)
            for number in range(MANY):
                sent.append(number)
                await send({"type": "websocket.send", "bytes": LARGE})

        self.played(HANDSHAKE, application, loop)
        assert 0 < len(sent) < MANY


@each_loop
@pytest.mark.parametrize("kind", ["body", "trailers", "file"])
def test_an_answer_to_head_leaves_others_their_turns(loop: str, kind: str, tmp_path: Path) -> None:
    """Nothing of its body is written, so no client holds it back."""
    ended: list[None] = []
    path = tmp_path / "file"
    path.write_bytes(LARGE)

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] != "HEAD":
            await respond(send, b"other")
            return
        await send({"type": "http.response.start", "status": 200, "headers": [], "trailers": kind == "trailers"})
        with path.open("rb") as file:
            part = {"type": "http.response.zerocopysend", "file": file, "offset": 0, "more_body": True}
            for _ in range(MANY):
                await send(part if kind == "file" else PIECE)
        ended.append(None)

    async def scenario() -> None:
        async with serving(application) as served:
            head, other = await served.connect(), await served.connect()
            head.send(request("/", "HEAD"))
            await head.reader.readuntil(b"\r\n\r\n")
            other.send(request())
            assert (await other.response()).body == b"other"
            assert not ended
            head.writer.transport.abort()
            await other.close()

    run(scenario, loop)


@each_loop
def test_early_hints_wait_for_their_client(loop: str) -> None:
    sent: list[int] = []

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        for number in range(MANY):
            sent.append(number)
            await send({"type": "http.response.early_hint", "links": [LARGE[:1000].replace(b"\0", b"a")]})

    async def scenario() -> None:
        async with serving(application) as served:
            peer = await served.connect(limit=1000)
            peer.send(request())
            async with asyncio.timeout(20):
                while not (served.server._service.registry.connections and served.link.congested):
                    await asyncio.sleep(0.001)
            assert 0 < len(sent) < MANY
            peer.writer.transport.abort()

    run(scenario, loop)


@each_loop
@pytest.mark.parametrize("next_request", [True, False], ids=["a next request", "the client's end"])
@pytest.mark.parametrize("trailers", [True, False], ids=["with trailers", "without"])
def test_an_answer_to_head_ends_when_its_client_goes_on(loop: str, next_request: bool, trailers: bool) -> None:
    """The client has all of it with the head. A proxy in front uses the connection for somebody else then."""
    ended = asyncio.Event()

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] != "HEAD":
            await respond(send, b"other")
            return
        await send({"type": "http.response.start", "status": 200, "headers": [], "trailers": trailers})
        try:
            while True:
                await send(PIECE)
                await asyncio.sleep(0.01)
        finally:
            ended.set()

    async def scenario() -> None:
        async with serving(application) as served, asyncio.timeout(20):
            peer = await served.connect()
            peer.send(request("/", "HEAD"))
            await peer.reader.readuntil(b"\r\n\r\n")
            if next_request:
                peer.send(request())
                assert (await peer.response()).body == b"other"
            else:
                peer.writer.write_eof()
                assert await peer.rest() == b""
            await ended.wait()
            await peer.close()
            assert not served.log.of("application failed")

    run(scenario, loop)
