"""The log says of a worker that has died what ended it, what it was serving, and where it was."""

from __future__ import annotations

import os
import signal
import time

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from tests.conftest import StartServer
from tests.support.server import Server
from tests.support.waiting import eventually
from tests.system.faults.scene import Victims, either_preload, faulty, files

HEARTBEAT = 0.5
"""Seconds between two looks of a worker at what it is serving."""


def die_while_serving(server: Server, number: signal.Signals) -> int:
    """End the only worker while it serves two requests that it has been serving for some time; returns its pid."""
    [worker] = server.workers()
    with server.address.connect() as first, server.address.connect() as second:
        first.sendall(b"GET /sleep/600 HTTP/1.1\r\nHost: test\r\n\r\n")
        for _ in range(3):  # each takes two turns of the worker's loop: more than it needs to begin with the first one
            assert server.request("/").text == "hello"
        second.sendall(b"GET /sleep/601?x HTTP/1.1\r\nHost: test\r\n\r\n")
        assert server.request("/").text == "hello"
        due = time.monotonic() + 2.5 * HEARTBEAT
        eventually(lambda: time.monotonic() >= due, "the heart of the worker has beaten")
        os.kill(worker.pid, number)
        server.log.wait_for("worker exited")
    return worker.pid


@either_preload
def test_a_killed_worker_is_reported_with_what_it_was_serving(start_server: StartServer, preload: bool) -> None:
    server = start_server({"workers": {"preload": preload}})
    pid = die_while_serving(server, signal.SIGKILL)
    [record] = server.log.matching("worker exited")
    assert (record["worker_pid"], record["reason"], record["signal"]) == (pid, "crashed", "SIGKILL")
    assert "possibly out of memory" in record["hint"]
    assert [(found["method"], found["path"]) for found in record["serving"]] == [
        ("GET", "/sleep/600"),
        ("GET", "/sleep/601"),
    ]
    assert record["serving"][0]["age_seconds"] >= HEARTBEAT


def test_a_worker_that_has_crashed_is_reported_with_its_stacks_too(start_server: StartServer) -> None:
    server = start_server()
    die_while_serving(server, signal.SIGSEGV)
    [record] = server.log.matching("worker exited")
    assert record["signal"] == "SIGSEGV"
    assert len(record["serving"]) == 2
    assert "Segmentation fault" in server.log.matching("worker crashed")[0]["stacks"]


def test_a_request_that_kills_its_worker_at_once_is_named(start_server: StartServer) -> None:
    server = start_server(faulty({"count": 1}), files=files())
    with server.address.connect() as bystander, server.address.connect() as killer:
        bystander.sendall(b"GET /sleep/600 HTTP/1.1\r\nHost: test\r\n\r\n")
        assert server.request("/").text == "hello"
        killer.sendall(b"GET /die HTTP/1.1\r\nHost: test\r\n\r\n")
        record = server.log.wait_for("worker exited")
    assert [found["path"] for found in record["serving"]] == ["/sleep/600", "/die"]
    assert all(len(found["request_id"]) == 32 for found in record["serving"])
    assert "in_progress" not in record


def test_a_session_that_kills_its_worker_at_once_is_named(start_server: StartServer) -> None:
    server = start_server(faulty({"count": 1}), files=files())
    with connect(server.address.websocket("/die")) as session, pytest.raises(ConnectionClosed):
        session.recv()
    record = server.log.wait_for("worker exited")
    assert [(found["method"], found["path"]) for found in record["serving"]] == [("WEBSOCKET", "/die")]


@pytest.mark.long
def test_a_worker_that_has_served_all_has_nothing_to_report(start_server: StartServer) -> None:
    server = start_server()
    assert server.request("/sleep/1").text == "slept"
    assert server.stop() == 0
    assert "serving" not in server.log.matching("worker exited")[0]


@pytest.mark.long
def test_a_blocked_worker_is_reported_with_what_it_was_serving(start_server: StartServer) -> None:
    settings = faulty({"count": 1, "stall_report": 1, "stall_timeout": 2})
    server = start_server(settings, files=files())
    with server.address.connect() as connection, Victims(server) as victims:
        connection.sendall(b"GET /sleep/600 HTTP/1.1\r\nHost: test\r\n\r\n")
        due = time.monotonic() + 2.5 * HEARTBEAT
        eventually(lambda: time.monotonic() >= due, "the heart of the worker has beaten")
        mark = len(server.log.records)
        victims.send("doze")
        stacks = server.log.wait_for("worker stacks", since=mark)
        exited = server.log.wait_for("worker exited", reason="stalled")
    for record in (stacks, exited):
        assert "/sleep/600" in [found["path"] for found in record["serving"]]


@pytest.mark.long
@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
@pytest.mark.parametrize("deed", ["resign", "halt"])
def test_an_application_that_ends_the_event_loop_does_not_take_requests_with_it(
    start_server: StartServer, deed: str, loop: str
) -> None:
    server = start_server(faulty({"loop": loop}), files=files())
    [old] = server.workers()
    with server.address.connect() as connection:
        connection.sendall(b"GET /sleep/1 HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")
        assert server.request(f"/{deed}").text == "hello"
        server.log.wait_for("application ended the worker")
        assert connection.makefile("rb").read().endswith(b"slept")
    server.wait_for_workers(1, without=[old.pid])
    assert server.request("/").text == "hello"


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_an_application_that_cancels_all_tasks_cancels_its_own_only(start_server: StartServer, loop: str) -> None:
    server = start_server(faulty({"loop": loop}), files=files())
    [worker] = server.workers()
    assert server.request("/sweep").text == "hello"
    server.log.wait_for("lifespan broken")  # which sweeps once more when it ends
    assert server.request("/").text == "hello"
    assert [found.pid for found in server.workers()] == [worker.pid]
    assert server.reload()["result"] == "ok"  # and from now on in its shutdown
    assert server.log.wait_for("worker exited", reason="reloaded")["exit_code"] == 0
    [worker] = server.workers()
    assert server.stop() == 0
    assert server.log.wait_for("worker exited", worker_pid=worker.pid)["exit_code"] == 0
