"""WSGI applications on the real program: threads, those who wait for one, and calls that take too long."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.support.address import Address
from tests.support.server import Server
from tests.support.waiting import eventually

SITE = """
import os, sys, time

def app(environ, start_response):
    path = environ["PATH_INFO"]
    if path.startswith("/fork/"):
        return fork(path, start_response)
    with open("journal", "a") as journal:
        print(path, file=journal)
    if path.startswith("/block"):
        block()
    if path == "/block/fail":
        raise ValueError("later than anybody wants to know")
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"done"]

def fork(path, start_response):
    pid = os.fork()
    if pid == 0 and path == "/fork/sys.exit":
        sys.exit(3)
    if pid == 0 and path == "/fork/raise":
        raise ValueError("only the child's")
    start_response("200 OK", [("Content-Type", "text/plain")])
    if pid == 0:
        return [b"x" * 100_000] * 2
    return [b"%d" % os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])]

def block():
    while not os.path.exists("open"):
        time.sleep(0.01)
"""


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Server]:
    def make(threads: int, **sections: Any) -> Server:
        settings = {
            "app": {"target": "site_of_wsgi:app", "threads": threads},
            "admin": {"control": str(tmp_path / "control.sock")},
            **sections,
        }
        return Server(tmp_path, settings, files={"site_of_wsgi.py": SITE})

    return make


def use(server: Server) -> dict[str, int]:
    """How the threads of the only worker are used, as the control socket says it."""
    status = json.loads(Address(path=str(server.directory / "control.sock")).request("GET", "/status").body)
    found: dict[str, int] = status["workers"][0]["threads"]
    return found


def metrics(server: Server) -> dict[str, float]:
    page = Address(path=str(server.directory / "control.sock")).request("GET", "/metrics").text
    return {name: float(value) for name, value in re.findall(r"^(appserver_wsgi_\S+) (\S+)$", page, re.MULTILINE)}


def called(server: Server) -> list[str]:
    journal = server.directory / "journal"
    return journal.read_text().split() if journal.exists() else []


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_a_forked_child_ends_where_it_leaves_the_application(make: Callable[..., Server], loop: str) -> None:
    with make(2, workers={"loop": loop}) as server:
        codes = {how: server.request(f"/fork/{how}").text for how in ("sys.exit", "raise", "return")}
        assert codes == {"sys.exit": "3", "raise": "1", "return": "1"}
        assert "ValueError: only the child's" in server.log.text
        assert "end it with os._exit" in server.log.text
        assert use(server)["busy"] == 0


@pytest.mark.long
@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_those_who_wait_for_a_thread_are_seen_and_those_who_leave_are_not_served(
    make: Callable[..., Server], loop: str
) -> None:
    with make(1, workers={"loop": loop}) as server, ThreadPoolExecutor() as clients:
        first = clients.submit(server.request, "/block")
        eventually(lambda: called(server) == ["/block"], "the first request runs")
        second = clients.submit(server.request, "/second")
        with server.address.connect() as third:
            third.sendall(b"GET /third HTTP/1.1\r\nHost: x\r\n\r\n")
            eventually(lambda: use(server) == {"size": 1, "busy": 1, "waiting": 2}, "two requests wait")
            found = metrics(server)
            assert found["appserver_wsgi_threads"] == found["appserver_wsgi_threads_busy"] == 1
            assert found["appserver_wsgi_requests_waiting"] == 2
            shown = subprocess.run(
                [sys.executable, "-m", "appserver", "top", "--once", "--interval", "0.1", "--control", "control.sock"],
                cwd=server.directory,
                capture_output=True,
                text=True,
                check=True,
            ).stdout
            assert "THREADS" in shown
            assert "1/1+2" in shown
        eventually(lambda: use(server)["waiting"] == 1, "the third is gone")
        (server.directory / "open").touch()
        assert [future.result().text for future in (first, second)] == ["done", "done"]
        assert called(server) == ["/block", "/second"]
        eventually(lambda: use(server) == {"size": 1, "busy": 0, "waiting": 0}, "nothing runs")
        found = metrics(server)
        assert found["appserver_wsgi_thread_wait_seconds_count"] == 2
        assert found["appserver_wsgi_thread_wait_seconds_sum"] > 0


def test_a_call_that_takes_too_long_is_shown_where_it_stands_and_leaves_no_error_behind(
    make: Callable[..., Server],
) -> None:
    with make(1, http={"request_timeout": 2}) as server:
        assert server.request("/block/fail").status == 504
        record = server.log.wait_for("request timed out")
        assert "in block" in record["stack"]
        assert use(server)["busy"] == 1, "a thread cannot be stopped"
        (server.directory / "open").touch()
        eventually(lambda: use(server)["busy"] == 0, "it has come to its end")
        assert server.request("/").text == "done"
        assert server.stop() == 0
        assert [record for record in server.log.records if record["level"] in {"error", "critical"}] == []


def test_a_stop_waits_for_a_thread(make: Callable[..., Server]) -> None:
    with make(1) as server, ThreadPoolExecutor() as clients:
        running = clients.submit(server.request, "/block")
        eventually(lambda: called(server) == ["/block"], "the request runs")
        server.signal(signal.SIGTERM)
        server.log.wait_for("worker draining")
        (server.directory / "open").touch()
        assert running.result().text == "done"
        assert server.wait_for_exit() == 0


def test_a_stop_waits_for_the_thread_of_a_request_that_has_timed_out(make: Callable[..., Server]) -> None:
    with make(1, http={"request_timeout": 0.5}) as server:
        assert server.request("/block").status == 504
        server.signal(signal.SIGTERM)
        server.log.wait_for("worker draining")
        assert server.workers(), "it is still there"
        (server.directory / "open").touch()
        assert server.wait_for_exit() == 0
        assert server.log.matching("lifespan shutdown cut off") == []


def test_a_stop_does_not_wait_for_ever(make: Callable[..., Server]) -> None:
    workers = {"graceful_timeout": 0.5, "lifespan_timeout": 0.5}
    with make(1, workers=workers) as server, ThreadPoolExecutor() as clients:
        running = clients.submit(server.request, "/block")
        eventually(lambda: called(server) == ["/block"], "the request runs")
        assert server.stop() == 0
        assert running.result().status == 503
        assert "in block" in server.log.matching("request cancelled")[0]["stack"]
        assert server.log.matching("lifespan shutdown cut off")
