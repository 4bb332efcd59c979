"""WebSocket sessions of the real program: through reloads and stops, in the status, the log, behind TLS."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import connect as connect_async
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.frames import Close
from websockets.sync.client import ClientConnection, connect

from tests.conftest import StartServer
from tests.support.address import Address
from tests.support.certificates import Authority
from tests.support.server import Server
from tests.support.waiting import eventually
from tests.unit.websocket.frames import MASK, frame, text

AT_ONCE = 10.0
"""Seconds for what must not wait for anything: generous, because the machine may be busy."""

HANDSHAKE = (
    b"GET /session%b HTTP/1.1\r\nHost: test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


def say(session: ClientConnection, message: str | bytes) -> None:
    session.send(message)
    assert session.recv(30) == message


def farewell(session: ClientConnection) -> Close | None:
    """How the server closes the session."""
    with pytest.raises(ConnectionClosed) as caught:
        session.recv(30)
    return caught.value.rcvd


@pytest.mark.parametrize(
    ("how", "settings"),
    [
        pytest.param(lambda server: server.signal(signal.SIGHUP), {}, id="reload"),
        pytest.param(
            lambda server: [server.request("/") for _ in range(30)], {"workers": {"max_requests": 20}}, id="recycle"
        ),
    ],
)
def test_a_worker_that_is_replaced_asks_its_clients_to_come_again(
    start_server: StartServer, how: Callable[[Server], object], settings: dict[str, Any]
) -> None:
    server = start_server(settings)
    with connect(server.address.websocket("/session/linger")) as session:
        say(session, "before")
        old = [worker.pid for worker in server.workers()]
        how(server)
        assert farewell(session) == Close(1012, "service restart")
        with connect(server.address.websocket("/session")) as next_session:
            say(next_session, "after")
        server.log.wait_for("session ended: 1012 service restart")  # the application has had its time to finish
        server.wait_for_workers(1, without=old)


def test_a_stop_says_goodbye(start_server: StartServer) -> None:
    server = start_server({"workers": {"count": 2}})
    with connect(server.address.websocket("/session/linger")) as session:
        say(session, b"before")
        began = time.monotonic()
        server.signal(signal.SIGTERM)
        assert farewell(session) == Close(1001, "server is stopping")
        assert server.wait_for_exit() == 0
        assert time.monotonic() - began < AT_ONCE
    assert server.log.matching("session ended: 1001 server is stopping")


def test_clients_that_do_not_answer_delay_a_stop_by_no_more_than_the_linger(start_server: StartServer) -> None:
    server = start_server({"shutdown": {"linger": 0.5}})
    with server.address.connect() as connection:
        connection.sendall(HANDSHAKE % b"" + text("x"))
        eventually(lambda: connection.recv(65536).endswith(b"\x81\x01x"), "the session is open")
        began = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - began < AT_ONCE
    assert server.output.matching("session")[0]["outcome"] == "timed_out"


def test_a_session_that_outlives_graceful_timeout_is_named_and_cut(start_server: StartServer) -> None:
    server = start_server({"workers": {"graceful_timeout": 1}})
    with connect(server.address.websocket("/session/deaf")) as session:
        server.signal(signal.SIGTERM)
        assert farewell(session) is not None
        assert server.wait_for_exit() == 0
    record = server.log.wait_for("request cancelled")
    assert (record["method"], record["path"]) == ("WEBSOCKET", "/session/deaf")
    assert "_serve_session" in record["stack"]


def test_a_killed_worker_ends_its_sessions_and_the_next_one_takes_them(start_server: StartServer) -> None:
    server = start_server()
    with connect(server.address.websocket("/session")) as session:
        say(session, "x")
        [worker] = server.workers()
        os.kill(worker.pid, signal.SIGKILL)
        assert farewell(session) is None
        server.wait_for_workers(1, without=[worker.pid])
        with connect(server.address.websocket("/session")) as another:
            say(another, "y")


def test_a_session_shows_in_the_status_and_leaves_one_line(start_server: StartServer) -> None:
    server = start_server({"admin": {"bind": "127.0.0.1:0"}})
    admin = Address.parse(server.log.wait_for("admin listening", controls=False)["address"])
    with connect(server.address.websocket("/session?a=b"), user_agent_header="tests") as session:
        say(session, "one")
        say(session, b"two" * 1000)
        [worker] = json.loads(admin.request("GET", "/status").text)["workers"]
        assert (worker["websockets"], worker["in_progress"]) == (1, 0)
        metrics = admin.request("GET", "/metrics").text
        assert "\nappserver_websocket_sessions_open 1" in metrics
        assert '\nappserver_websocket_messages_total{direction="received"} 2' in metrics
        session.close(4000, "enough")
    record = server.output.wait_for("session")
    assert record["duration_ms"] > 0
    assert record["received_bytes"] > 100
    assert record["sent_bytes"] > 100
    known = {name: record[name] for name in ("method", "path", "query", "status", "close_code", "client", "user_agent")}
    assert known == {
        "method": "GET",
        "path": "/session",
        "query": "a=b",
        "status": 101,
        "close_code": 4000,
        "client": "127.0.0.1",
        "user_agent": "tests",
    }
    assert (record["received_messages"], record["sent_messages"]) == (2, 2)
    assert len(record["request_id"]) == 32
    ended = server.log.wait_for("session ended: 4000 enough")
    assert ended["request_id"] == record["request_id"]
    assert not server.output.matching("request", path="/session")


def test_a_session_behind_a_proxy_knows_its_client(start_server: StartServer) -> None:
    server = start_server()
    headers = {"X-Forwarded-For": "192.0.2.7", "X-Forwarded-Proto": "https", "X-Request-ID": "from-the-proxy"}
    with connect(server.address.websocket("/session/scope"), additional_headers=headers) as session:
        scope = json.loads(session.recv(30))
    assert (scope["client"][0], scope["scheme"]) == ("192.0.2.7", "wss")
    record = server.output.wait_for("session")
    assert (record["client"], record["request_id"]) == ("192.0.2.7", "from-the-proxy")


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_a_session_over_tls(start_server: StartServer, tmp_path: Path, loop: str) -> None:
    authority = Authority()
    certificate, key = authority.issue("localhost", "127.0.0.1").write(tmp_path)
    tls = {"certificate": str(certificate), "key": str(key)}
    server = start_server({"listeners": [{"bind": "127.0.0.1:0", "tls": True}], "tls": tls, "workers": {"loop": loop}})
    url = server.address.websocket("/session/scope").replace("ws:", "wss:")

    async def converse() -> (
        Close | None
    ):  # in one thread: two of them may not use one TLS connection of OpenSSL's at once
        async with connect_async(url, ssl=authority.client()) as session:
            scope = json.loads(await session.recv())
            assert scope["scheme"] == "wss"
            assert scope["tls"]["tls_version"]
            for message in ("text", bytes(1_000_000)):
                await session.send(message)
                assert await session.recv() == message
            server.signal(signal.SIGHUP)
            await session.wait_closed()
            return session.protocol.close_rcvd

    assert asyncio.run(converse()) == Close(1012, "service restart")


def test_sessions_can_be_switched_off(start_server: StartServer) -> None:
    server = start_server({"websocket": {"enabled": False}})
    with pytest.raises(InvalidStatus) as caught:
        connect(server.address.websocket("/pid"))
    assert caught.value.response.status_code == 200


def test_the_settings_of_sessions_are_kept_to(start_server: StartServer) -> None:
    server = start_server({"websocket": {"max_message_size": "1KiB", "compression": False}})
    with connect(server.address.websocket("/session")) as session:
        assert session.protocol.extensions == []
        say(session, "x" * 1024)
        session.send("x" * 1025)
        closed = farewell(session)
    assert closed is not None
    assert closed.code == 1009
    assert "websocket.max_message_size" in closed.reason


def test_a_frame_in_pieces_between_pings_arrives(start_server: StartServer) -> None:
    server = start_server({"http": {"parser": "h11"}})
    with server.address.connect() as connection:
        connection.sendall(HANDSHAKE % b"" + frame(1, b"ab", fin=False))
        connection.sendall(frame(9, b"!") + frame(0, b"c", mask=MASK))
        received = b""
        while not received.endswith(b"\x81\x03abc"):
            received += connection.recv(65536)
    assert b"\x8a\x01!" in received
