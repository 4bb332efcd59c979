"""A stop completes what is being served, always ends, and leaves nothing behind."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import time
from pathlib import Path

import pytest

from tests.conftest import StartServer
from tests.support import processes
from tests.support.address import Address
from tests.support.server import PYTHONPATH, Server
from tests.support.stream import Stream
from tests.support.waiting import eventually

AT_ONCE = 10.0
"""Seconds for what must not wait for anything: generous, because the machine may be busy."""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_completes_the_request_in_flight_and_exits_0(start_server: StartServer, number: signal.Signals) -> None:
    server = start_server({"workers": {"count": 2}})
    with Stream(server.address, 50) as stream:
        server.signal(number)
        server.log.wait_for("stopping")
        stream.finish()
        assert server.wait_for_exit() == 0
    assert server.log.matching("stopped")
    assert not server.processes()


def test_a_stop_runs_the_lifespan_shutdown_of_every_worker(start_server: StartServer) -> None:
    server = start_server({"workers": {"count": 2}})
    assert server.stop() == 0
    assert len(server.log.matching("lifespan shutdown", process="worker")) == 2


def test_idle_connections_delay_a_stop_by_no_more_than_the_linger(start_server: StartServer) -> None:
    server = start_server({"shutdown": {"linger": 0.5}})
    with server.address.connect():
        began = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - began < AT_ONCE


def test_after_a_stop_nobody_listens(start_server: StartServer) -> None:
    server = start_server()
    assert server.stop() == 0
    with pytest.raises(ConnectionRefusedError):
        server.address.connect()


def test_a_request_that_outlives_graceful_timeout_is_cut(start_server: StartServer) -> None:
    server = start_server({"workers": {"graceful_timeout": 1}})
    with Stream(server.address, 100_000) as stream:
        began = time.monotonic()
        assert server.stop() == 0
        assert 1 <= time.monotonic() - began < 1 + AT_ONCE
        assert stream.is_cut()


@pytest.mark.long
def test_a_blocked_event_loop_does_not_hold_up_a_stop(start_server: StartServer) -> None:
    server = start_server({"workers": {"graceful_timeout": 1, "lifespan_timeout": 1}})
    with server.address.connect() as connection:
        connection.sendall(b"GET /block/600 HTTP/1.1\r\nHost: test\r\n\r\n")
        [worker] = server.workers()
        eventually(lambda: _unread(server.address.port) == 0, "the worker has read the request")
        assert server.stop(timeout=10) == 0
    assert not processes.is_running(worker.pid)


def _unread(port: int) -> int:
    """Octets in the receive queues of the server's connections (proc(5), /proc/net/tcp)."""
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    established = [line for line in lines if line[1].endswith(f":{port:04X}") and line[3] == "01"]
    return sum(int(line[4].split(":")[1], 16) for line in established) if established else -1


def test_a_second_int_stops_at_once(start_server: StartServer) -> None:
    server = start_server()
    with Stream(server.address, 100_000) as stream:
        server.signal(signal.SIGINT)
        server.log.wait_for("stopping")
        server.signal(signal.SIGINT)
        assert server.wait_for_exit(AT_ONCE) == 0
        assert stream.is_cut()
    assert not server.processes()


def test_quit_stops_at_once(start_server: StartServer) -> None:
    server = start_server({"workers": {"count": 2}})
    with Stream(server.address, 100_000) as stream:
        server.signal(signal.SIGQUIT)
        assert server.wait_for_exit(AT_ONCE) == 0
        assert stream.is_cut()
    assert not server.processes()


def test_a_stop_during_the_boot_ends_it(start_server: StartServer, tmp_path: Path) -> None:
    # The reload boots a generation that never becomes ready; the stop comes into the middle of that.
    server = start_server()
    server.write("slow.py", "import time\nopen('importing', 'w').close()\ntime.sleep(600)\n")
    server.configure({"app": {"target": "slow:app"}})
    server.signal(signal.SIGHUP)
    eventually((tmp_path / "importing").exists, "the new generation imports")
    assert server.stop(timeout=AT_ONCE + 2) == 0
    assert not server.processes()


def _kill_with_a_fork_under_way(server: Server) -> None:
    """Kill the master while the zygote has an order whose answer nobody is left to read."""
    [zygote] = server.zygotes()
    os.kill(zygote.pid, signal.SIGSTOP)
    victim = server.workers()[-1]
    os.kill(victim.pid, signal.SIGKILL)
    server.log.wait_for("worker exited", worker_pid=victim.pid)
    server.signal(signal.SIGHUP)
    server.log.wait_for("reload started")  # so the order has been sent
    server.signal(signal.SIGKILL)
    assert server.wait_for_exit() == -signal.SIGKILL
    os.kill(zygote.pid, signal.SIGCONT)


class TestKilledMaster:
    def test_the_workers_complete_what_they_serve_and_go(self, start_server: StartServer) -> None:
        server = start_server({"workers": {"count": 2}})
        with Stream(server.address, 50) as stream:
            server.signal(signal.SIGKILL)
            assert server.wait_for_exit() == -signal.SIGKILL
            stream.finish()
        eventually(lambda: not server.processes(), "no orphan is left", timeout=5)

    def test_its_port_is_free_again(self, start_server: StartServer) -> None:
        server = start_server({"workers": {"count": 2}})
        _kill_with_a_fork_under_way(server)
        eventually(lambda: not server.processes(), "no orphan is left", timeout=5)
        assert "Traceback" not in server.log.text
        with socket.create_server((server.address.host, server.address.port)):
            pass

    @pytest.mark.long
    def test_a_blocked_worker_does_not_outlive_it_for_ever(self, start_server: StartServer) -> None:
        server = start_server({"workers": {"count": 2, "graceful_timeout": 1, "lifespan_timeout": 1}})
        with contextlib.ExitStack() as stack:
            for _ in range(2):  # a worker that is blocked accepts nothing, so each gets one
                connection = stack.enter_context(server.address.connect())
                connection.sendall(b"GET /block/600 HTTP/1.1\r\nHost: test\r\n\r\n")
                eventually(lambda: _unread(server.address.port) == 0, "a worker has read the request")
            _kill_with_a_fork_under_way(server)
            eventually(lambda: not server.processes(), "no orphan is left", timeout=20)

    def test_killed_with_its_zygote_nothing_stays_either(self, start_server: StartServer) -> None:
        server = start_server({"workers": {"count": 2}})
        [zygote] = server.zygotes()
        os.kill(zygote.pid, signal.SIGKILL)
        server.signal(signal.SIGKILL)
        eventually(lambda: not server.processes(), "no orphan is left", timeout=5)


def test_a_repeated_term_does_not_cut_a_graceful_stop_short(start_server: StartServer) -> None:
    server = start_server()
    with Stream(server.address, 50) as stream:
        for _ in range(3):
            server.signal(signal.SIGTERM)
            server.log.wait_for("stopping")
        stream.finish()
        assert server.wait_for_exit() == 0


# Imported at the beginning of each interpreter; that of the master waits before it exits until it may.
EXIT_WHEN_ALLOWED = """
import atexit, os, sys, time

def wait():
    open("exiting", "w").close()
    while not os.path.exists("may exit"):
        time.sleep(0.01)

if "appserver" in sys.orig_argv:
    atexit.register(wait)
"""


@pytest.mark.long
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_that_comes_when_everything_has_ended_changes_nothing(
    start_server: StartServer, tmp_path: Path, number: signal.Signals
) -> None:
    environment = {"PYTHONPATH": f"{tmp_path}:{PYTHONPATH}"}
    server = start_server(files={"sitecustomize.py": EXIT_WHEN_ALLOWED}, environment=environment)
    server.signal(signal.SIGTERM)
    eventually((tmp_path / "exiting").exists, "the program is about to exit")
    server.signal(number)
    (tmp_path / "may exit").touch()
    assert server.wait_for_exit() == 0


def test_a_stop_refuses_connections_while_requests_are_completed(start_server: StartServer) -> None:
    server = start_server({"workers": {"count": 2}})
    with Stream(server.address, 100) as stream:
        server.signal(signal.SIGTERM)
        eventually(lambda: not accepts(server.address), "connections are refused")
        stream.finish()
    assert server.wait_for_exit() == 0


def accepts(address: Address) -> bool:
    try:
        socket.create_connection((address.host, address.port), timeout=30).close()
    except ConnectionRefusedError:
        return False
    return True


class StandardOutputs:
    """What an application may put in the place of `sys.stdout`."""

    NONE = "sys.stdout = None"
    WITHOUT_FLUSH = "sys.stdout = type('Log', (), {'write': lambda self, text: len(text)})()"
    BROKEN = "sys.stdout = type('Log', (), {'write': print, 'flush': lambda self: 1 / 0})()"


@pytest.mark.parametrize("preload", [False, pytest.param(True, marks=pytest.mark.long)])
@pytest.mark.parametrize(
    "output",
    [StandardOutputs.NONE, StandardOutputs.WITHOUT_FLUSH, StandardOutputs.BROKEN],
    ids=["none", "bare", "broken"],
)
def test_neither_a_strange_standard_output_nor_a_thread_holds_up_a_stop_beyond_its_limit(
    start_server: StartServer, output: str, preload: bool
) -> None:
    thread = "threading.Thread(target=time.sleep, args=(600,)).start()"
    source = f"""
import sys, threading, time
from application import app as usual

{output}

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        {thread}
    await usual(scope, receive, send)
"""
    settings = {"app": {"target": "odd:app"}, "workers": {"preload": preload, "graceful_timeout": 1}}
    server = start_server(settings, files={"odd.py": source})
    server.request("/")
    assert server.stop() == 0
    record = server.log.wait_for("worker exited")
    assert (record["reason"], record["exit_code"]) == ("stopped", 0)
