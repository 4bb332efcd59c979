"""Clients that take slowly what they are sent: as long as they take something, they are there."""

from __future__ import annotations

import socket
import time

import pytest

from tests.conftest import StartServer
from tests.support.server import Server

SIZE = 6_000_000
PORTION = 120_000

APPLICATION = f"""
import asyncio

async def app(scope, receive, send):
    assert scope["type"] in ("http", "websocket")
    if scope["type"] == "http":
        await send({{"type": "http.response.start", "status": 200, "headers": []}})
        await send({{"type": "http.response.body", "body": b"x" * {SIZE}}})
        return
    await receive()
    await send({{"type": "websocket.accept"}})
    await send({{"type": "websocket.send", "bytes": b"x" * {SIZE}}})
    if scope["path"] == "/close":
        await send({{"type": "websocket.close"}})
    while (await receive())["type"] != "websocket.disconnect":
        pass
"""


@pytest.fixture
def server(start_server: StartServer, request: pytest.FixtureRequest) -> Server:
    settings = {
        "app": {"target": "slow:app"},
        "workers": {"count": 1},
        "http": {"max_requests_per_connection": 1},
        "websocket": {"ping_interval": 2, "ping_timeout": 2, "close_timeout": 2},
    }
    return start_server(settings, files={"slow.py": APPLICATION})


def take(server: Server, request: bytes, seconds: float) -> int:
    """Take a portion now and then for so many seconds, and then the rest; returns how much there was behind the head."""
    with server.address.connect() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        connection.sendall(request)
        received = b""
        while b"\r\n\r\n" not in received:
            received += connection.recv(1000)
        taken = len(received.partition(b"\r\n\r\n")[2])
        until = time.monotonic() + seconds
        while taken < SIZE:
            piece = connection.recv(PORTION)
            if not piece:
                break
            taken += len(piece)
            if time.monotonic() < until:
                time.sleep(PORTION / SIZE * seconds)  # that is what makes it slow
    return taken


HANDSHAKE = b"\r\n".join(
    [
        b"GET %b HTTP/1.1",
        b"Host: test",
        b"Upgrade: websocket",
        b"Connection: Upgrade",
        b"Sec-WebSocket-Version: 13",
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        b"\r\n",
    ]
)


@pytest.mark.long
@pytest.mark.parametrize("path", [b"/", b"/close"])
def test_a_session_lives_as_long_as_its_client_takes_something_of_a_message(server: Server, path: bytes) -> None:
    assert take(server, HANDSHAKE % path, 6) >= SIZE
    assert not [line for line in server.log.records if line["event"] == "session ended"]


@pytest.mark.slow
@pytest.mark.long
def test_the_last_response_of_a_connection_arrives_whole(server: Server) -> None:
    assert take(server, b"GET / HTTP/1.1\r\nHost: test\r\n\r\n", 6) == SIZE
