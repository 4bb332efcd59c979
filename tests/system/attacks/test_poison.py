"""A request that kills its worker, sent once a second: everybody else is served, and the log says which request it is."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conftest import StartServer
from tests.support import processes
from tests.support.load import Load
from tests.support.server import Server
from tests.support.waiting import eventually

CONNECTIONS = 8
"""Clients that send good requests."""


class Poisoner:
    """Sends the request that kills, once a second, from a thread; it does not care what becomes of it."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._ended = threading.Event()
        self._connections: list[socket.socket] = []
        self.sent = 0

    @contextmanager
    def poisoning(self) -> Iterator[None]:
        thread = threading.Thread(target=self._poison, daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._ended.set()
            thread.join()
            for connection in self._connections:
                connection.close()

    def _poison(self) -> None:
        while not self._ended.wait(1.0):
            self._connections.append(connection := self._server.address.connect())
            connection.sendall(b"GET /poison HTTP/1.1\r\nHost: test\r\n\r\n")
            self.sent += 1


def attack(
    start_server: StartServer, *, preload: bool, keep_alive: bool, seconds: float, import_time: float = 0.0
) -> Server:
    """Poison a server with two workers for so long; no good request is lost but with its worker."""
    settings = {
        "app": {"target": "poisoned:app"},
        "workers": {"count": 2, "preload": preload},
        "admin": {"bind": "127.0.0.1:0"},
        "access_log": {"enabled": False},
    }
    source = Path(__file__).with_name("poisoned.py").read_text()
    slow = f"import time\ntime.sleep({import_time})\n"
    server = start_server(settings, files={"poisoned.py": source + slow})
    poisoner = Poisoner(server)
    began, cpu = time.monotonic(), processes.tree_cpu_seconds(server.pid)
    with (
        Load(server.address, connections=CONNECTIONS, pause=(0.02, 0.1), keep_alive=keep_alive) as load,
        poisoner.poisoning(),
    ):
        eventually(lambda: time.monotonic() - began > seconds, "time has passed", timeout=seconds + 5)
    tally = load.tally
    share = tally.requests / (tally.requests + tally.failures.total())
    exits = len(server.log.matching("worker exited", reason="crashed"))
    used = (processes.tree_cpu_seconds(server.pid) - cpu) / (time.monotonic() - began)
    print(
        f"{poisoner.sent} poisonous requests in {seconds:.0f} s, {exits} workers have died; of {tally.requests} good "
        f"requests {100 * share:.2f} % have succeeded; {100 * used:.0f} % of a processor used"
    )
    assert exits >= seconds / 4
    # Nobody is refused, and nobody waits in vain: what is lost was in the hands of a worker that has died, and a connection has
    # one request at a time. The share itself says how many others were served meanwhile, so how fast the machine is.
    assert tally.failures.keys() <= {"closed", "reset"}, tally
    assert tally.failures.total() <= CONNECTIONS * exits
    return server


either_preload = pytest.mark.parametrize(
    "preload", [False, pytest.param(True, marks=pytest.mark.long)], ids=["", "preload"]
)


@either_preload
@pytest.mark.long
def test_a_request_that_kills_its_worker_leaves_the_others_alone_and_is_named(
    start_server: StartServer, preload: bool
) -> None:
    server = attack(start_server, preload=preload, keep_alive=True, seconds=6)
    record = server.log.wait_for("request kills workers")
    assert (record["level"], record["method"], record["path"]) == ("error", "GET", "/poison")
    assert not server.log.matching("worker backs off")


@pytest.mark.long
@pytest.mark.timeout(180)
@pytest.mark.parametrize("keep_alive", [True, False], ids=["kept", "closed"])
@either_preload
def test_twenty_seconds_of_poison(start_server: StartServer, preload: bool, keep_alive: bool) -> None:
    attack(start_server, preload=preload, keep_alive=keep_alive, seconds=20)


@pytest.mark.long
@pytest.mark.timeout(180)
@pytest.mark.parametrize("keep_alive", [True, False], ids=["kept", "closed"])
def test_twenty_seconds_of_poison_while_a_boot_takes_longer_than_the_next_dose(
    start_server: StartServer, keep_alive: bool
) -> None:
    """Both workers are down at times; those who connect then wait in the backlog, and are served."""
    attack(start_server, preload=False, keep_alive=keep_alive, seconds=20, import_time=1.2)
