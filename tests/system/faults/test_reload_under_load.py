"""A reload costs no request, whatever is under way, however often it is asked for, and whatever comes into the middle."""

from __future__ import annotations

import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.frames import Close
from websockets.sync.client import connect

from tests.conftest import StartServer
from tests.support.server import Server
from tests.support.stream import Stream
from tests.support.waiting import eventually
from tests.system.faults.scene import either_preload, faulty, files, measured_load

TWO = {"count": 2}


def wait_until_settled(server: Server, workers: int, *, timeout: float = 40.0) -> None:
    """Wait until one generation is left, with so many workers and its zygote."""

    def settled() -> bool:
        zygotes = [process.zygote for process in server.zygotes()]
        found = [process.worker[1] for process in server.workers() if process.worker]
        return len(zygotes) == 1 and found == zygotes * workers and len(server.processes()) == workers + 2

    eventually(settled, f"one generation with {workers} workers is left", timeout=timeout)


@pytest.mark.long
@either_preload
def test_five_reloads_under_two_hundred_connections_that_pause(start_server: StartServer, preload: bool) -> None:
    server = start_server({"workers": {"count": 2, "preload": preload}})
    with measured_load(server.address, "5 x HUP", connections=200, pause=(0, 0.06)) as load:
        load.wait_for_requests(1000)
        for _ in range(5):
            assert server.reload()["result"] == "ok"
            load.wait_for_requests(500)
    assert load.tally.failed == 0
    wait_until_settled(server, 2)


@either_preload
def test_what_is_under_way_during_a_reload_is_completed(start_server: StartServer, preload: bool) -> None:
    server = start_server({"workers": {"count": 2, "preload": preload}, "reload": {"linger": 5}})
    old = [worker.pid for worker in server.workers()]
    uploaded = threading.Event()
    with ThreadPoolExecutor(2) as clients, Stream(server.address, 150) as stream:
        upload = clients.submit(_upload_slowly, server, uploaded)
        slow = clients.submit(lambda: server.request("/sleep/2").text)
        assert server.reload()["result"] == "ok"
        stream.finish()
        uploaded.set()
        assert upload.result(40) == 200_000
        assert slow.result(40) == "slept"
        server.wait_for_workers(2, without=old)


def _upload_slowly(server: Server, finish: threading.Event) -> int:
    """Send a body half of which waits for `finish`; returns how much of it came back."""
    with server.address.connect() as connection:
        connection.sendall(
            b"POST /echo HTTP/1.1\r\nHost: test\r\nContent-Length: 200000\r\nConnection: close\r\n\r\n" + b"y" * 100_000
        )
        assert finish.wait(40)
        connection.sendall(b"y" * 100_000)
        received = b""
        while piece := connection.recv(65536):
            received += piece
    assert received.startswith(b"HTTP/1.1 200")
    return received.count(b"y")


@pytest.mark.long
@either_preload
def test_ten_reloads_in_two_seconds_leak_nothing(start_server: StartServer, preload: bool) -> None:
    server = start_server({"workers": {"count": 2, "preload": preload}, "reload": {"linger": 5}})
    assert server.reload()["result"] == "ok"
    wait_until_settled(server, 2)
    before = len(os.listdir(f"/proc/{server.pid}/fd"))
    with measured_load(server.address, "10 x HUP in 2 s", connections=16, path="/version") as load:
        began = time.monotonic()
        for number in range(10):
            eventually(lambda due=began + number * 0.2: time.monotonic() >= due, "the next fifth of a second")  # type: ignore[misc]
            server.deploy_version(f"{number}")
            server.signal(signal.SIGHUP)
        eventually(lambda: server.request("/version").text == "9", "the last code serves", timeout=30)
        wait_until_settled(server, 2)
        load.wait_for_requests(100)
    assert load.tally.failed == 0
    assert server.request("/version").text == "9"
    # The log's and the timer's own descriptors are there before; what a reload opens is closed.
    eventually(lambda: len(os.listdir(f"/proc/{server.pid}/fd")) <= before, "the master holds no more than before")


@pytest.mark.long
def test_a_reload_during_a_reload_comes_after_it(start_server: StartServer) -> None:
    server = start_server(faulty(TWO, reload={"linger": 0.5}), files=files())
    server.write("slow", "0.3")
    server.signal(signal.SIGHUP)
    server.log.wait_for("reload started")
    server.configure(faulty({"count": 3}, reload={"linger": 0.5}))
    server.signal(signal.SIGHUP)
    server.log.wait_for("reload finished", count=2, timeout=30)
    wait_until_settled(server, 3)
    assert [process.zygote for process in server.zygotes()] == [3]


def test_a_stop_during_a_reload_under_load_loses_no_request_that_was_sent(start_server: StartServer) -> None:
    server = start_server(faulty(TWO), files=files())
    server.write("slow", "60")
    with Stream(server.address, 100) as stream:
        server.signal(signal.SIGHUP)
        server.log.wait_for("reload started")
        server.signal(signal.SIGTERM)
        stream.finish()
        assert server.wait_for_exit() == 0
    eventually(lambda: not server.processes(), "nothing is left")


@pytest.mark.long
@either_preload
def test_a_surge_boots_several_workers_at_once_behind_a_soaking_canary(
    start_server: StartServer, preload: bool
) -> None:
    settings = {"workers": {"count": 3, "preload": preload}, "reload": {"surge": 3, "soak": 2, "linger": 5}}
    server = start_server(settings)
    most = 0
    began = time.monotonic()
    with measured_load(server.address, "a reload with surge 3 and soak 2 s", connections=32) as load:
        mark = len(server.log.records)
        server.signal(signal.SIGHUP)
        while not server.log.matching("reload finished", since=mark):
            most = max(most, len(server.workers()))
            assert time.monotonic() - began < 30
        load.wait_for_requests(200)
    assert load.tally.failed == 0
    assert time.monotonic() - began >= 2
    assert 4 <= most <= 6
    wait_until_settled(server, 3)


def test_a_canary_that_dies_while_it_soaks_undoes_the_reload(start_server: StartServer) -> None:
    server = start_server(faulty(TWO, reload={"soak": 5}), files=files())
    before = [worker.pid for worker in server.workers()]
    server.write("crash-late", "")
    finished = server.reload()
    assert finished["result"] == "rolled_back"
    eventually(lambda: [worker.pid for worker in server.workers()] == before, "the old ones are left")
    assert server.request("/").text == "hello"


@pytest.mark.long
def test_five_reloads_with_an_open_session_and_an_open_stream(start_server: StartServer) -> None:
    server = start_server({"workers": TWO, "reload": {"linger": 5}})
    with measured_load(server.address, "5 x HUP, sessions and streams open", connections=32, pause=(0, 0.06)) as load:
        load.wait_for_requests(200)
        for _ in range(5):
            with connect(server.address.websocket("/session")) as session, Stream(server.address, 200) as stream:
                session.send("before")
                assert session.recv(30) == "before"
                assert server.reload()["result"] == "ok"
                with pytest.raises(ConnectionClosed) as caught:
                    session.recv(30)
                assert caught.value.rcvd == Close(1012, "service restart")
                stream.finish()
    assert load.tally.failed == 0
    wait_until_settled(server, 2)
