"""Clients that leave in the middle of a stream, for every framework: it ends soon, and takes no place of others."""

from __future__ import annotations

import itertools
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.server import Server
from tests.support.waiting import eventually

ROOT = Path(__file__).parents[3]
APPLICATIONS = "tests.integration.frameworks.applications.leaving"

PLACES = 3

FRAMEWORKS = ["starlette", "fastapi", "sse_starlette", "django", "quart", "litestar", "nothing"]
FLOODS = [name for name in FRAMEWORKS if name != "sse_starlette"]
COMPUTES = ["starlette", "fastapi", "nothing"]
"""Django and Quart cancel a view whose client has left by themselves."""
BACKGROUNDS = ["starlette", "fastapi", "sse_starlette", "litestar"]


def _combinations() -> Iterator[Any]:
    """Every framework on every loop; each framework on one of them in every run, and Starlette on both."""
    for (number, framework), (other, loop) in itertools.product(
        enumerate(FRAMEWORKS), enumerate(["uvloop", "asyncio"])
    ):
        now = framework == "starlette" or number % 2 == other
        yield pytest.param((framework, loop), marks=[] if now else [pytest.mark.long])


@pytest.fixture(scope="module", params=list(_combinations()), ids="-".join)
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    framework, loop = request.param
    settings = {
        "app": {"target": f"{APPLICATIONS}.on_{framework}:app", "directory": str(ROOT)},
        "workers": {"loop": loop, "count": 1, "max_concurrency": PLACES, "graceful_timeout": 20},
    }
    with Server(tmp_path_factory.mktemp("server"), settings) as server:
        yield server
    # The stop itself is part of what is tested: nothing that has been left may hold it up.
    assert not [line for line in server.log.records if line["event"] == "still running"]
    assert not [line for line in server.log.records if line["level"] in {"error", "critical"}]


@pytest.fixture
def framework(request: pytest.FixtureRequest, server: Server) -> str:
    name: str = request.node.callspec.params["server"][0]
    return name


def record(server: Server) -> dict[str, Any]:
    def look() -> dict[str, Any]:
        response = server.address.request(target="/record")
        return json.loads(response.body) if response.status == 200 else {}

    return eventually(look, "there is a place for the question")


def begin(server: Server, path: str, until: bytes = b"") -> socket.socket:
    """Send a request, and read the beginning of its response, as soon as there is a place for it.

    A client has its answer before the call of the application is over, and the place free.
    """

    def look() -> socket.socket | None:
        connection = server.address.connect()
        try:
            connection.sendall(f"GET {path} HTTP/1.1\r\nHost: test\r\n\r\n".encode())
            received = b""
            while until and until not in received and b" 503 " not in received:
                piece = connection.recv(65536)
                assert piece, received
                received += piece
        except BaseException:
            connection.close()
            raise
        if b" 503 " in received:
            connection.close()
            return None
        return connection

    connection = eventually(look, f"there is a place for {path}")
    assert connection is not None
    return connection


def leave(connection: socket.socket, how: str) -> None:
    if how == "reset":
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
    connection.close()


@pytest.mark.parametrize("how", ["close", "reset"])
def test_a_stream_that_waits_for_its_next_event_ends(server: Server, framework: str, how: str) -> None:
    if framework == "nothing" and how == "close":
        return  # it looks like one that has closed one side only, and nothing tells an application that does not ask
    before = record(server)["notes"].count("background")
    for connection in [begin(server, "/feed", b"data: hello") for _ in range(PLACES)]:
        leave(connection, how)
    eventually(lambda: record(server)["open"] == 0, "no stream is open")
    if framework in BACKGROUNDS:
        done = before + PLACES
        eventually(lambda: record(server)["notes"].count("background") == done, "the work behind the streams is done")


@pytest.mark.parametrize("how", ["close", "reset"])
def test_a_stream_that_waits_for_its_client_ends(server: Server, framework: str, how: str) -> None:
    if framework not in FLOODS:
        return
    for connection in [begin(server, "/flood", b"xxx") for _ in range(PLACES)]:
        leave(connection, how)
    eventually(lambda: record(server)["open"] == 0, "no stream is open")


def test_a_response_that_is_being_computed_is_not_cut_off(server: Server, framework: str) -> None:
    if framework not in COMPUTES:
        return
    before = record(server)["notes"]
    connection = begin(server, "/compute")
    eventually(lambda: record(server)["notes"].count("computing") > before.count("computing"), "it has begun")
    leave(connection, "reset")
    eventually(lambda: record(server)["notes"].count("computed") > before.count("computed"), "it is computed")
    assert record(server)["notes"].count("cut off") == before.count("cut off")
    if framework != "nothing":
        done = before.count("background") + 1
        eventually(lambda: record(server)["notes"].count("background") == done, "the work behind it is done")
