"""What the admin address says about a server in each part of its life."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import StartServer
from tests.support.address import Address, Response
from tests.support.load import Load
from tests.support.server import Server
from tests.support.waiting import eventually

ADMIN: dict[str, Any] = {"admin": {"bind": "127.0.0.1:0"}}

WAITING_START = """
import asyncio, os
from application import app as plain

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while not os.path.exists("go"):
            await asyncio.sleep(0.01)
    await plain(scope, receive, send)
"""


def ask(server: Server, target: str, method: str = "GET") -> Response:
    [address] = [record["address"] for record in server.log.matching("admin listening", controls=False)]
    return Address.parse(address).request(method, target)


def readiness(server: Server) -> tuple[int, str]:
    answer = ask(server, "/readyz")
    return answer.status, answer.text.strip()


def test_it_is_ready_when_all_wanted_workers_serve_and_not_before(tmp_path: Path) -> None:
    files = {"waiting.py": WAITING_START}
    server = Server(tmp_path, {**ADMIN, "app": {"target": "waiting:app"}, "workers": {"count": 2}}, files=files).start()
    try:
        server.log.wait_for("admin listening", controls=False)
        assert readiness(server) == (503, "booting: 0 of 2 serve")
        assert ask(server, "/livez").status == 200
        server.write("go", "")
        server.log.wait_for("serving")
        assert readiness(server) == (200, "ready")
    finally:
        server.close()


def test_it_stays_ready_through_a_reload(start_server: StartServer) -> None:
    server = start_server({**ADMIN, "workers": {"count": 2}})
    [address] = [record["address"] for record in server.log.matching("admin listening", controls=False)]
    with Load(Address.parse(address), connections=2, path="/readyz", pause=(0, 0.01)) as load:
        load.wait_for_requests(20)
        assert server.reload()["result"] == "ok"
        load.wait_for_requests(20)
    assert set(load.tally.bodies) == {b"ready\n"}


def test_it_is_not_ready_while_it_is_short_of_workers(start_server: StartServer) -> None:
    server = start_server(
        {**ADMIN, "app": {"target": "waiting:app"}, "workers": {"count": 2}},
        files={"waiting.py": WAITING_START, "go": ""},
    )
    (server.directory / "go").unlink()
    [victim, _] = server.workers()
    os.kill(victim.pid, signal.SIGKILL)
    server.log.wait_for("worker exited", reason="crashed")
    assert readiness(server) == (503, "short of workers: 1 of 2 serve")
    server.write("go", "")
    eventually(lambda: readiness(server) == (200, "ready"), "it is ready again")


def test_it_is_not_ready_while_it_serves_on_before_a_stop(start_server: StartServer) -> None:
    server = start_server({**ADMIN, "shutdown": {"delay": 30}})
    server.signal(signal.SIGTERM)
    eventually(lambda: readiness(server) == (503, "stopping"), "it reports that it stops")
    assert server.request("/").text == "hello"
    server.signal(signal.SIGQUIT)
    assert server.wait_for_exit() == 0


@pytest.mark.long
def test_it_answers_while_every_worker_is_blocked(start_server: StartServer) -> None:
    server = start_server({**ADMIN, "workers": {"count": 2, "stall_report": 1, "stall_timeout": 0}})
    connections = []

    def both_are_blocked() -> bool:
        # Another one each time: a worker that is not blocked takes it, while one that is may have taken many before.
        connections.append(connection := server.address.connect())
        connection.sendall(b"GET /block/40 HTTP/1.1\r\nHost: x\r\n\r\n")
        return len(blocked_workers(server)) == 2

    eventually(both_are_blocked, "both workers are blocked", interval=0.1)
    assert ask(server, "/livez").status == 200
    assert json.loads(ask(server, "/status").text)["pid"] == server.pid
    for connection in connections:
        connection.close()
    server.signal(signal.SIGQUIT)
    assert server.wait_for_exit() == 0


def blocked_workers(server: Server) -> list[Any]:
    workers = json.loads(ask(server, "/status").text)["workers"]
    return [worker for worker in workers if (worker["heartbeat_age_seconds"] or 0) > 1]


def test_whatever_changes_the_server_is_refused_there(start_server: StartServer) -> None:
    server = start_server(ADMIN)
    for path in ("/reload", "/scale", "/stop", "/reopen-logs", "/upgrade"):
        answer = ask(server, path, "POST")
        assert answer.status == 403
        assert "control socket (admin.control)" in answer.text
    assert ask(server, "/stacks").status == 403
    assert ask(server, "/reload/").status == 404
    assert server.request("/").text == "hello"


def test_the_page_shows_the_workers_and_a_reload_switches_it_off(start_server: StartServer) -> None:
    server = start_server(ADMIN)
    [worker] = server.workers()
    page = ask(server, "/")
    assert page.status == 200
    assert f"<td>{worker.pid}</td>" in page.text
    assert "<title>appserver: ready</title>" in page.text
    server.configure({"admin": {**ADMIN["admin"], "page": False}})
    assert server.reload()["result"] == "ok"
    assert ask(server, "/").status == 404
    assert ask(server, "/status").status == 200


@pytest.mark.long
def test_it_knows_no_lines_of_the_access_log_and_counts_no_requests(start_server: StartServer) -> None:
    server = start_server(ADMIN)
    for _ in range(3):
        ask(server, "/livez")
    [worker] = json.loads(ask(server, "/status").text)["workers"]
    assert worker["requests"] == 0
    assert server.stop() == 0
    assert "livez" not in server.output.text + server.log.text


def test_an_address_in_use_ends_the_start_with_3(start_server: StartServer, tmp_path: Path) -> None:
    server = start_server(ADMIN)
    address = server.log.matching("admin listening", controls=False)[0]["address"]
    other = Server(tmp_path / "other", {"admin": {"bind": address}}).start()
    assert other.wait_for_exit() == 3
    other.close()
    assert f"cannot listen on {address}: the port is in use" in other.log.text
