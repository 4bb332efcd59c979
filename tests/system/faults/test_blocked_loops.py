"""An event loop that is blocked is shown and replaced; what only takes long is left alone."""

from __future__ import annotations

import os
import signal
import time
from contextlib import ExitStack

import pytest

from tests.conftest import StartServer
from tests.support import processes
from tests.support.server import Server
from tests.support.waiting import eventually
from tests.system.faults.scene import FAULTY, Victims, either_preload, faulty, files, measured_load

WATCHED = {"count": 2, "stall_report": 1, "stall_timeout": 3}


def line_of(text: str) -> int:
    """The line of the application in which `text` stands."""
    return next(number for number, line in enumerate(FAULTY.read_text().splitlines(), 1) if text in line)


def wait_for_replacement(server: Server, victim: int, generation: int = 1) -> None:
    """Wait until the log says that the worker with this pid stalled, and that it has gone."""
    server.log.wait_for("worker stalled", worker_pid=victim)
    server.log.wait_for("worker exited", worker_pid=victim, reason="stalled", generation=generation)


@pytest.mark.long
@pytest.mark.parametrize(
    ("action", "culprit"),
    [("doze", "time.sleep(600)  # noqa: ASYNC251"), ("spin", "while True:"), ("hold", "re.match(")],
)
def test_a_blocked_loop_is_shown_with_its_line_and_replaced_while_others_serve(
    start_server: StartServer, action: str, culprit: str
) -> None:
    server = start_server(faulty(WATCHED), files=files())
    with Victims(server) as victims:
        began = time.monotonic()
        victim = victims.send(action)
        with measured_load(server.address, f"a worker blocked in /{action}", connections=8) as load:
            stacks = server.log.wait_for("worker stacks", worker_pid=victim)
            reported = time.monotonic() - began
            wait_for_replacement(server, victim)
            load.wait_for_requests(100)
    print(f"stacks after {reported:.1f} s, replaced after {time.monotonic() - began:.1f} s")
    assert stacks["seconds"] > 0
    lines = {line_of(culprit), line_of(culprit) + 1}
    assert any(f'faulty.py", line {line} in _{action}' in stacks["stacks"] for line in lines), stacks["stacks"]
    assert load.tally.failed == 0
    assert not processes.is_running(victim)
    server.wait_for_workers(2, without=[victim])


@pytest.mark.long
def test_a_stopped_worker_is_replaced_while_others_serve(start_server: StartServer) -> None:
    server = start_server(faulty(WATCHED), files=files())
    victim, other = server.workers()
    os.kill(victim.pid, signal.SIGSTOP)
    with measured_load(server.address, "a worker stopped by SIGSTOP", connections=16) as load:
        wait_for_replacement(server, victim.pid)
        load.wait_for_requests(200)
    assert load.tally.failed == 0
    assert other.pid in {worker.pid for worker in server.wait_for_workers(2, without=[victim.pid])}


@pytest.mark.long
@either_preload
def test_all_workers_blocked_at_once_are_all_replaced(start_server: StartServer, preload: bool) -> None:
    server = start_server(faulty({**WATCHED, "preload": preload}), files=files())
    with Victims(server) as victims:
        blocked = [victims.send("doze"), victims.send("spin")]
        assert set(blocked) == {worker.pid for worker in server.workers()}
        began = time.monotonic()
        assert server.request("/").text == "hello"
        print(f"served again {time.monotonic() - began:.1f} s after all workers were blocked")
        server.wait_for_workers(2, without=blocked)
    for pid in blocked:
        assert len(server.log.matching("worker stacks", worker_pid=pid)) == 1


@pytest.mark.long
def test_a_request_that_waits_longer_than_stall_timeout_is_not_touched(start_server: StartServer) -> None:
    # Not shorter: on a busy machine a worker may stand still for a second.
    server = start_server({"workers": {"count": 1, "stall_report": 3, "stall_timeout": 4}})
    [worker] = server.workers()
    assert server.request("/sleep/5").text == "slept"
    assert [found.pid for found in server.workers()] == [worker.pid]
    assert not server.log.matching("worker blocked")


@pytest.mark.long
@either_preload
def test_an_import_and_a_start_up_that_take_longer_than_stall_timeout_are_no_stall(
    start_server: StartServer, preload: bool
) -> None:
    settings = faulty({"count": 2, "stall_report": 2.5, "stall_timeout": 3, "preload": preload})
    server = start_server(settings, files={**files(), "slow": "4"})
    assert not server.log.matching("worker stalled")
    [first, second] = server.workers()
    with measured_load(server.address, "a reload of an application that takes 8 s") as load:
        assert server.reload()["result"] == "ok"
        server.wait_for_workers(2, without=[first.pid, second.pid], timeout=40)
    assert load.tally.failed == 0
    assert not server.log.matching("worker stalled")
    assert not server.log.matching("worker blocked")


@pytest.mark.long
def test_a_master_that_was_stopped_for_longer_than_stall_timeout_kills_nobody(start_server: StartServer) -> None:
    server = start_server({"workers": WATCHED})
    before = [worker.pid for worker in server.workers()]
    with measured_load(server.address, "the master stopped by SIGSTOP for 6 s", connections=8) as load:
        server.signal(signal.SIGSTOP)
        began = time.monotonic()
        eventually(lambda: time.monotonic() - began >= 6, "six seconds have passed")
        load.wait_for_requests(50)
        server.signal(signal.SIGCONT)
        server.log.wait_for("master was suspended")
        load.wait_for_requests(200)
    assert load.tally.failed == 0
    assert [worker.pid for worker in server.workers()] == before
    assert not server.log.matching("worker stalled")


@pytest.mark.long
def test_a_server_that_was_stopped_as_a_whole_kills_nobody(start_server: StartServer) -> None:
    server = start_server({"workers": WATCHED})
    members = server.processes()
    for process in members:
        os.kill(process.pid, signal.SIGSTOP)
    began = time.monotonic()
    eventually(lambda: time.monotonic() - began >= 6, "six seconds have passed")
    for process in members:
        os.kill(process.pid, signal.SIGCONT)
    server.log.wait_for("master was suspended")
    began = time.monotonic()
    eventually(lambda: time.monotonic() - began >= 3, "the master has looked at them a few times")
    assert {process.pid for process in server.processes()} == {process.pid for process in members}


@pytest.mark.parametrize("reload", [False, True], ids=["", "reload"])
def test_connections_wait_in_the_backlog_while_all_workers_are_blocked(start_server: StartServer, reload: bool) -> None:
    server = start_server(faulty({"count": 2}), files=files())
    with Victims(server) as victims, ExitStack() as stack:
        assert victims.send("nap") != victims.send("nap")
        began = time.monotonic()
        clients = [stack.enter_context(server.address.connect()) for _ in range(20)]
        for client in clients:
            client.sendall(b"GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")
        if reload:
            assert server.reload()["result"] == "ok"
        else:
            server.write("wake", "")
        good = sum(stack.enter_context(client.makefile("rb")).read().endswith(b"hello") for client in clients)
        server.write("wake", "")
        print(f"20 connections to 2 blocked workers: {good} answered, {time.monotonic() - began:.1f} s")
    assert good == 20
