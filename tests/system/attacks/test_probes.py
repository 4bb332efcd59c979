"""Connections that say nothing, or not enough, to the addresses that an orchestrator asks whether the server lives."""

from __future__ import annotations

import socket
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.conftest import StartServer
from tests.support.address import Address
from tests.support.processes import resident_memory

CONNECTIONS = 400
PROBES = 20
PATIENCE = 20.0
"""Seconds that an orchestrator waits for an answer; a busy machine is no defect."""

KINDS = {
    "silent": b"",
    "half a head": b"GET /livez HTTP/1.1\r\nHost: x\r\nX-Half: ",
    "kept alive": b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n",
    "half a body": b"POST /reload HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{",
}
MIB = 1024 * 1024


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "control", [pytest.param(False, id="admin.bind"), pytest.param(True, id="admin.control", marks=pytest.mark.long)]
)
def test_probes_get_an_answer_whoever_else_is_connected(
    start_server: StartServer, tmp_path: Path, kind: str, control: bool
) -> None:
    server = start_server({"admin": {"bind": "127.0.0.1:0", "control": str(tmp_path / "control")}})
    names = [record["address"] for record in server.log.matching("admin listening", controls=control)]
    address = Address.parse(names[0])
    before = resident_memory(server.pid)
    slowest = 0.0
    with ExitStack() as clients:
        for _ in range(CONNECTIONS):
            client = clients.enter_context(address.connect(timeout=PATIENCE))
            # Earlier ones have to give way to this one already.
            client.sendall(KINDS[kind])
            if kind == "kept alive":
                assert client.recv(4096).startswith(b"HTTP/1.1 200")
        for number in range(PROBES):
            begun = time.monotonic()
            answer = address.request("GET", "/readyz" if number % 2 else "/livez", timeout=PATIENCE)
            slowest = max(slowest, time.monotonic() - begun)
            assert answer.status == 200
        grown = resident_memory(server.pid) - before
    print(
        f"{CONNECTIONS} connections ({kind}), {PROBES} probes, the slowest {slowest * 1000:.0f} ms, {grown / MIB:.0f} MiB"
    )


def test_a_master_with_few_descriptors_keeps_some_for_its_work(start_server: StartServer) -> None:
    server = start_server({"admin": {"bind": "127.0.0.1:0"}}, limits="ulimit -n 64")
    address = Address.parse(server.log.matching("admin listening")[0]["address"])
    with ExitStack() as clients:
        for _ in range(100):
            client = clients.enter_context(address.connect(timeout=PATIENCE))
            client.sendall(KINDS["kept alive"])
            assert client.recv(4096).startswith(b"HTTP/1.1 200")
        assert address.request("GET", "/readyz", timeout=PATIENCE).status == 200
        assert server.reload()["result"] == "ok"
    assert not server.log.matching("cannot accept")


def test_the_one_that_has_been_idle_the_longest_gives_way(start_server: StartServer) -> None:
    server = start_server({"admin": {"bind": "127.0.0.1:0"}})
    address = Address.parse(server.log.matching("admin listening")[0]["address"])

    def ask(client: socket.socket) -> bool:
        """Whether the connection still answers."""
        try:
            client.sendall(KINDS["kept alive"])
            return client.recv(4096).startswith(b"HTTP/1.1 200")
        except ConnectionError:
            return False

    with ExitStack() as clients:
        busy, idle = (clients.enter_context(address.connect()) for _ in range(2))
        assert ask(busy)
        assert ask(idle)
        for _ in range(150):
            assert ask(clients.enter_context(address.connect()))
            assert ask(busy), "it has just been asked, others have not"
        assert not ask(idle)
