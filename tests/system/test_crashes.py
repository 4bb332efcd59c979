"""What dies is replaced, and the others do not notice."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path

import pytest

from tests.conftest import StartServer
from tests.support import processes
from tests.support.address import Address
from tests.support.load import Load
from tests.support.server import Server
from tests.support.waiting import eventually


def test_a_killed_worker_is_replaced_while_the_other_serves_on(start_server: StartServer) -> None:
    server = start_server({"workers": {"count": 2}})
    victim, other = server.workers()
    with Load(server.address, connections=16) as load:
        load.wait_for_requests(100)
        mark = len(server.log.records)
        os.kill(victim.pid, signal.SIGKILL)
        server.log.wait_for("worker ready", since=mark)
        load.wait_for_requests(500)
    # A connection has one request at a time, so it can lose one.
    assert load.tally.failed <= 16
    assert set(load.tally.statuses) == {200}
    workers = server.workers()
    assert {worker.worker for worker in workers} == {(1, 1), (2, 1)}
    assert other.pid in {worker.pid for worker in workers}
    assert victim.pid not in {worker.pid for worker in workers}


def test_the_log_says_which_signal_ended_a_worker(start_server: StartServer) -> None:
    server = start_server()
    [victim] = server.workers()
    os.kill(victim.pid, signal.SIGKILL)
    record = server.log.wait_for("worker exited")
    assert record["signal"] in (signal.SIGKILL, "SIGKILL")
    server.wait_for_workers(1, without=[victim.pid])


@pytest.mark.parametrize("code", [0, 1, 3, 4, 5, 7])
def test_no_exit_code_of_the_application_stops_the_server(start_server: StartServer, code: int) -> None:
    server = start_server()
    [victim] = server.workers()
    with server.address.connect() as connection:
        connection.sendall(b"GET /exit/%d HTTP/1.1\r\nHost: test\r\n\r\n" % code)
        server.log.wait_for("worker exited", exit_code=code)
    server.wait_for_workers(1, without=[victim.pid])
    assert server.request("/").text == "hello"


def test_a_worker_that_dies_again_and_again_is_replaced_again_and_again(start_server: StartServer) -> None:
    server = start_server({"workers": {"count": 2}})
    for ready in (3, 4, 5):
        os.kill(server.workers()[0].pid, signal.SIGKILL)
        server.log.wait_for("worker ready", count=ready)
    server.wait_for_workers(2)
    assert server.request("/").text == "hello"


def test_a_killed_zygote_is_replaced_while_its_workers_serve_on(start_server: StartServer) -> None:
    server = start_server({"workers": {"count": 2}})
    [old] = server.zygotes()
    before = {worker.pid for worker in server.workers()}
    with Load(server.address, connections=16) as load:
        load.wait_for_requests(100)
        os.kill(old.pid, signal.SIGKILL)
        eventually(lambda: [new for new in server.zygotes() if new.pid != old.pid], "a new zygote")
        load.wait_for_requests(200)
    assert load.tally.failed == 0
    assert {worker.pid for worker in server.workers()} == before
    # And the new zygote does what the old one did.
    victim = server.workers()[0]
    os.kill(victim.pid, signal.SIGKILL)
    server.wait_for_workers(2, without=[victim.pid])


def test_a_worker_that_dies_together_with_the_zygote_is_replaced(start_server: StartServer) -> None:
    server = start_server({"workers": {"count": 2}})
    victim = server.workers()[0]
    os.kill(server.zygotes()[0].pid, signal.SIGKILL)
    os.kill(victim.pid, signal.SIGKILL)
    server.wait_for_workers(2, without=[victim.pid])
    _serves_on_every_connection(server, server.address)


def _serves_on_every_connection(server: Server, address: Address) -> None:
    assert {address.request().status for _ in range(10)} == {200}
    assert processes.is_running(server.pid)


class TestAKilledMaster:
    """Its workers finish what they serve, which may take as long as `workers.graceful_timeout`."""

    @pytest.mark.parametrize("bind", ["127.0.0.1:0", "unix:app.sock"])
    def test_clients_are_refused_and_the_next_start_works_while_a_request_is_finished(
        self, start_server: StartServer, tmp_path: Path, bind: str
    ) -> None:
        bind = bind.replace("app.sock", str(tmp_path / "app.sock"))
        server = start_server({"listeners": [{"bind": bind}], "workers": {"count": 2}})
        with begin_echo(server.address) as kept:
            server.signal(signal.SIGKILL)
            eventually(lambda: not accepts(server.address), "connections are refused")
            (tmp_path / "next").mkdir()
            with Server(tmp_path / "next", {"listeners": [{"bind": str(server.address)}]}) as successor:
                assert successor.request("/").text == "hello"
            assert end_echo(kept)

    def test_a_socket_that_was_passed_to_it_goes_on_listening_for_its_owner(self, start_server: StartServer) -> None:
        with socket.create_server(("127.0.0.1", 0)) as passed:
            server = start_server({"listeners": [{"bind": f"fd://{passed.fileno()}"}]}, pass_fds=[passed.fileno()])
            server.signal(signal.SIGKILL)
            server.log.wait_for("master is gone")
            eventually(lambda: not server.processes(), "its processes have gone")
            with server.address.connect():
                passed.settimeout(10)
                passed.accept()[0].close()


def begin_echo(address: Address) -> socket.socket:
    """A connection whose request is under way until `end_echo`; some of the answer is there."""
    kept = address.connect()
    kept.sendall(
        b"POST /echo HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n"
    )
    answer = b""
    while b"one" not in answer:
        answer += kept.recv(1000)
    return kept


def end_echo(kept: socket.socket) -> bool:
    """Whether the request can be completed, and the answer comes to its end."""
    kept.sendall(b"3\r\ntwo\r\n0\r\n\r\n")
    with kept.makefile("rb") as rest:
        return rest.read().endswith(b"3\r\ntwo\r\n0\r\n\r\n")


def accepts(address: Address) -> bool:
    try:
        address.connect().close()
    except ConnectionRefusedError:
        return False
    return True


class TestCount:
    def test_ttin_adds_a_worker_and_ttou_takes_one_away_but_never_the_last(self, start_server: StartServer) -> None:
        server = start_server()
        server.signal(signal.SIGTTIN)
        grown = server.wait_for_workers(2)
        assert [worker.worker for worker in grown] == [(1, 1), (2, 1)]
        server.signal(signal.SIGTTOU)
        server.wait_for_workers(1)
        mark = len(server.log.records)
        server.signal(signal.SIGTTOU)
        server.log.wait_for(
            "scaled", since=mark, asked=0
        )  # of two signals that wait, the kernel delivers the smaller number first
        server.signal(signal.SIGTTIN)
        server.log.wait_for("worker ready", since=mark)
        server.wait_for_workers(2)

    def test_no_request_is_lost_when_the_count_changes(self, start_server: StartServer) -> None:
        server = start_server({"shutdown": {"linger": 5}, "reload": {"linger": 5}})
        with Load(server.address, connections=16) as load:
            for number, count in ((signal.SIGTTIN, 2), (signal.SIGTTOU, 1), (signal.SIGTTIN, 2)):
                server.signal(number)
                server.wait_for_workers(count)
                load.wait_for_requests(100)
        assert load.tally.failed == 0
