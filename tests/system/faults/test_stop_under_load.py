"""A stop comes to its end, on time, whatever the application does, and says what it had to cut off."""

from __future__ import annotations

import signal
import time
from datetime import datetime
from pathlib import Path

import pytest

from tests.conftest import StartServer
from tests.support import application
from tests.support.load import Load
from tests.support.waiting import eventually
from tests.system.faults.scene import Victims, either_preload, faulty, files, measured_load

SHORT = {"count": 1, "graceful_timeout": 1, "lifespan_timeout": 1}


@either_preload
def test_a_request_longer_than_graceful_timeout_is_cut_and_blamed(start_server: StartServer, preload: bool) -> None:
    server = start_server({"workers": {**SHORT, "preload": preload}})
    with server.address.connect() as connection:
        connection.sendall(b"GET /sleep/600 HTTP/1.1\r\nHost: test\r\n\r\n")
        assert server.request("/").text == "hello"  # on the only worker, behind the other request
        began = time.monotonic()
        assert server.stop(timeout=10) == 0
        seconds = time.monotonic() - began
    [blame] = server.log.matching("request cancelled")
    [draining] = server.log.matching("worker draining")
    moments = [datetime.fromisoformat(record["timestamp"]) for record in (draining, blame)]
    cut = (moments[1] - moments[0]).total_seconds()
    print(f"cut after {cut:.1f} s, stopped after {seconds:.1f} s, graceful_timeout 1 s")
    assert 0.9 <= cut < 8
    assert (blame["method"], blame["path"]) == ("GET", "/sleep/600")
    assert blame["age_seconds"] >= 1
    source = Path(application.__file__).read_text().splitlines()
    line = next(number for number, text in enumerate(source, 1) if "asyncio.sleep(float" in text)
    assert f'application.py", line {line}' in blame["stack"], blame["stack"]


@pytest.mark.long
def test_an_application_that_ignores_its_cancellation_does_not_hold_up_the_stop(start_server: StartServer) -> None:
    server = start_server(faulty(SHORT), files=files())
    with Victims(server) as victims:
        victims.send("stubborn")
        began = time.monotonic()
        assert server.stop(timeout=15) == 0
        print(f"stopped after {time.monotonic() - began:.1f} s, graceful_timeout 1 s")
    [blame] = server.log.matching("request cancelled")
    assert blame["path"] == "/stubborn"
    # It was cancelled, then left behind: the worker ended in time, without being killed.
    assert server.log.matching("worker exited", exit_code=0)


def test_threads_that_nobody_can_stop_do_not_hold_up_the_stop(start_server: StartServer) -> None:
    server = start_server(faulty({**SHORT, "count": 2}), files=files())
    for _ in range(10):
        assert server.request("/threads").text == "hello"
    began = time.monotonic()
    assert server.stop(timeout=10) == 0
    print(f"stopped after {time.monotonic() - began:.1f} s, with leaked threads")
    assert {record["exit_code"] for record in server.log.matching("worker exited")} == {0}


@pytest.mark.long
def test_threads_that_nobody_can_stop_do_not_hold_up_a_reload(start_server: StartServer) -> None:
    server = start_server(faulty({**SHORT, "count": 2}, reload={"linger": 0.2}), files=files())
    old = [worker.pid for worker in server.workers()]
    for _ in range(10):
        assert server.request("/threads").text == "hello"
    assert server.reload()["result"] == "ok"
    server.wait_for_workers(2, without=old)


@pytest.mark.long
@either_preload
def test_a_stop_with_a_delay_serves_on_and_loses_nothing_that_was_sent_before_it(
    start_server: StartServer, preload: bool
) -> None:
    server = start_server({"workers": {"count": 2, "preload": preload}, "shutdown": {"delay": 2, "linger": 5}})
    with measured_load(server.address, "TERM with shutdown.delay = 2", connections=64, pause=(0, 0.06)) as load:
        load.wait_for_requests(500)
        server.signal(signal.SIGTERM)
        server.log.wait_for("stopping")
        before = load.tally.requests
        server.log.wait_for("worker draining")
        served = load.tally.requests - before
    # Leaving the block has every connection finish its request: those are among what was sent while the server drained.
    print(f"{served} requests served during the delay")
    assert served >= 50
    _assert_only_refused(load)
    assert server.wait_for_exit() == 0


def _assert_only_refused(load: Load) -> None:
    """Once nobody listens any more, connecting fails; that is no request that was sent."""
    assert load.tally.failed == load.tally.failures["connect"], load.tally


@pytest.mark.long
def test_a_reload_waits_for_nobody_who_hangs_in_the_drain(start_server: StartServer) -> None:
    server = start_server(faulty({**SHORT, "graceful_timeout": 10}, reload={"linger": 0.2}), files=files())
    with Victims(server) as victims:
        old = victims.send("stubborn")
        began = time.monotonic()
        assert server.reload()["result"] == "ok"
        assert server.request("/").text == "hello"
        print(f"the new generation serves after {time.monotonic() - began:.1f} s, graceful_timeout 10 s")
        assert time.monotonic() - began < 10
        eventually(lambda: old not in {process.pid for process in server.processes()}, "it is gone", timeout=30)
