"""Frameworks that run under trio, each on either event loop."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from websockets.sync.client import connect

from tests.support.server import Server
from tests.support.waiting import eventually

APPLICATIONS = Path(__file__).parent / "applications"


@pytest.fixture(
    scope="module",
    params=itertools.product(["starlette", "fastapi", "quart"], ["uvloop", "asyncio"]),
    ids="-".join,
)
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    framework, loop = request.param
    settings = {
        "app": {
            "target": f"trio_sites:on_{framework}",
            "directory": str(APPLICATIONS),
            "async_library": "trio",
            "lifespan": "on",
        },
        "workers": {"loop": loop, "graceful_timeout": 5},
    }
    with Server(tmp_path_factory.mktemp("server"), settings) as server:
        yield server
        assert server.stop() == 0
    errors = [record for record in server.log.records if record["level"] in {"error", "critical"}]
    assert [record for record in errors if "on purpose" not in json.dumps(record)] == []
    assert not server.log.matching("request cancelled")


@pytest.fixture
def client(server: Server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"http://{server.address}", trust_env=False, timeout=30) as client:
        yield client


def journal(client: httpx.Client) -> list[str]:
    entries: list[str] = client.get("/journal").json()
    return entries


def test_work_in_tasks_and_threads_and_behind_the_response(server: Server, client: httpx.Client) -> None:
    assert journal(client)[0] == "started under trio"
    with ThreadPoolExecutor(8) as clients:
        answers = clients.map(lambda _: json.loads(server.request("/work").body), range(32))
        assert set(answers) == {"30 under trio"}
    eventually(lambda: journal(client).count("background") >= 32, "the work behind the responses is done")


def test_uploads_and_streams(client: httpx.Client) -> None:
    content = b"x" * 3_000_000
    assert client.post("/upload", content=content).json() == len(content)
    assert client.post("/upload", content=itertools.repeat(b"x" * 65536, 30)).json() == 30 * 65536
    body = client.get("/parts").content
    assert (len(body), body[-3:]) == (100 * 65536 + 3, b"end")


def test_a_stream_ends_with_its_client(client: httpx.Client) -> None:
    before = journal(client).count("ticks over")
    with client.stream("GET", "/ticks") as response:
        assert next(response.iter_lines()) == "data: tick"
    eventually(lambda: journal(client).count("ticks over") == before + 1, "the stream has ended")


def test_sessions(server: Server, client: httpx.Client) -> None:
    before = journal(client).count("session over")
    with connect(server.address.websocket("/echo")) as session:
        for text in ("one", "two"):
            session.send(text)
            assert session.recv(30) == text.upper()
    eventually(lambda: journal(client).count("session over") == before + 1, "the session has heard of its end")


def test_a_failure_is_that_of_its_request(client: httpx.Client) -> None:
    assert client.get("/fail").status_code == 500
    assert client.get("/work").status_code == 200
