"""Frameworks as they are, on the real program, with the application imported by each worker and preloaded.

Each has a route, a stream, an upload, a WebSocket session and a lifespan, where the framework knows such a thing. Those that are
not in the extra `test` are in the extra `frameworks`.
"""

from __future__ import annotations

import asyncio
import json
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.sync.client import connect
from websockets.typing import Subprotocol

from tests.support.server import Server
from tests.support.waiting import eventually

pytestmark = pytest.mark.long

APPLICATIONS = Path(__file__).parent / "applications"
UPLOAD = b"0123456789abcdef" * 65536


class Case:
    """One framework: its module, the package that has to be installed, what it has not."""

    def __init__(self, target: str, package: str, *without: str) -> None:
        self.target = target
        self.package = package
        self.without = without


FRAMEWORKS = {
    "starlette": Case("on_starlette:app", "starlette"),
    "fastapi": Case("on_fastapi:app", "fastapi"),
    "litestar": Case("on_litestar:app", "litestar"),
    "quart": Case("on_quart:app", "quart"),
    "sanic": Case("on_sanic:app", "sanic"),
    "blacksheep": Case("on_blacksheep:app", "blacksheep"),
    "falcon": Case("on_falcon:app", "falcon"),
    "channels": Case("on_django_channels:app", "channels", "lifespan"),
    "django": Case("on_django:wsgi", "django", "lifespan", "websocket"),
    "flask": Case("on_flask:app", "flask", "lifespan", "websocket"),
}


def start(case: Case, directory: Path, *, preload: bool) -> Server:
    if find_spec(case.package) is None:
        pytest.skip(f"{case.package} is not installed: pip install --editable '.[frameworks]'")
    settings: dict[str, Any] = {
        "app": {"target": case.target, "directory": str(APPLICATIONS)},
        "workers": {"count": 1, "preload": preload},
    }
    return Server(directory, settings)


def has_stopped_without_an_error(server: Server, *, preload: bool) -> None:
    assert server.stop() == 0
    bad = [record for record in server.log.records if record["level"] in {"warning", "error", "critical"}]
    assert [record for record in bad if record["event"] != "Not Found: /nowhere"] == []  # Django's own, asked for here
    assert server.log.matching("zygote ready")[0]["preloaded"] is preload


@pytest.mark.parametrize("preload", [False, True], ids=["imported", "preloaded"])
@pytest.mark.parametrize("name", FRAMEWORKS)
def test_a_framework(tmp_path: Path, name: str, preload: bool) -> None:
    case = FRAMEWORKS[name]
    with start(case, tmp_path, preload=preload) as server:
        with httpx.Client(base_url=f"http://{server.address}", trust_env=False, timeout=30) as client:
            assert client.get("/hello").text == "started"
            stream = client.get("/stream")
            assert stream.text == "piece 0\npiece 1\npiece 2\n"
            assert stream.headers["transfer-encoding"] == "chunked"
            uploaded = client.post("/upload", files={"file": ("file", UPLOAD)})
            assert (uploaded.status_code, uploaded.text) == (200, str(len(UPLOAD)))
            assert client.get("/nowhere").status_code == 404
        if "websocket" not in case.without:
            with connect(server.address.websocket("/echo")) as session:
                session.send("hello")
                assert session.recv(30) == "hello"
        has_stopped_without_an_error(server, preload=preload)
        assert (tmp_path / "stopped").exists() == ("lifespan" not in case.without)


@pytest.mark.parametrize("preload", [False, True], ids=["imported", "preloaded"])
class TestProtocolsOnTop:
    def test_socketio_by_polling_and_over_websocket(self, tmp_path: Path, preload: bool) -> None:
        with start(Case("on_socketio:app", "socketio"), tmp_path, preload=preload) as server:
            polled = httpx.get(
                f"http://{server.address}/socket.io/?EIO=4&transport=polling", trust_env=False, timeout=30
            ).text
            assert "websocket" in json.loads(polled[1:])["upgrades"]
            with connect(server.address.websocket("/socket.io/?EIO=4&transport=websocket")) as session:
                assert str(session.recv(30)).startswith("0{")  # engine.io: open
                session.send("40")  # a message of engine.io; of socket.io: connect
                assert str(session.recv(30)).startswith("40{")
                session.send('42["say","hello"]')
                assert session.recv(30) == '42["said","hello"]'
            has_stopped_without_an_error(server, preload=preload)

    def test_a_subscription_of_strawberry(self, tmp_path: Path, preload: bool) -> None:
        with start(Case("on_strawberry:app", "strawberry"), tmp_path, preload=preload) as server:
            query = {"query": "{ hello }"}
            answer = httpx.post(f"http://{server.address}/graphql", json=query, trust_env=False, timeout=30)
            assert answer.json()["data"] == {"hello": "started"}
            protocol = Subprotocol("graphql-transport-ws")
            with connect(server.address.websocket("/graphql"), subprotocols=[protocol]) as session:
                session.send(json.dumps({"type": "connection_init"}))
                assert json.loads(session.recv(30))["type"] == "connection_ack"
                payload = {"query": "subscription { count(target: 3) }"}
                session.send(json.dumps({"type": "subscribe", "id": "1", "payload": payload}))
                said = [json.loads(session.recv(30)) for _ in range(4)]
                counts = [one["payload"]["data"]["count"] for one in said[:3]]
                assert (counts, said[3]["type"]) == ([0, 1, 2], "complete")
            has_stopped_without_an_error(server, preload=preload)

    def test_the_streamable_http_of_mcp(self, tmp_path: Path, preload: bool) -> None:
        with start(Case("on_mcp:app", "mcp"), tmp_path, preload=preload) as server:
            mcp: Any = import_module("mcp")

            async def talk() -> tuple[list[str], Any]:
                async with mcp.Client(f"http://{server.address}/mcp") as client:
                    tools = await client.list_tools()
                    result = await client.call_tool("add", {"one": 40, "other": 2})
                    return [tool.name for tool in tools.tools], result.content[0].text

            assert asyncio.run(asyncio.wait_for(talk(), 30)) == (["add"], "42")
            has_stopped_without_an_error(server, preload=preload)

    def test_an_event_stream_ends_when_its_client_leaves(self, tmp_path: Path, preload: bool) -> None:
        with start(Case("on_sse:app", "sse_starlette"), tmp_path, preload=preload) as server:
            url = f"http://{server.address}/events"
            with httpx.stream("GET", url, trust_env=False, timeout=30) as response:
                assert response.headers["content-type"].startswith("text/event-stream")
                lines = (line for line in response.iter_lines() if line)
                assert [next(lines) for _ in range(3)] == ["data: 0", "data: 1", "data: 2"]
            eventually((tmp_path / "left").exists, "the stream has ended")
            has_stopped_without_an_error(server, preload=preload)
