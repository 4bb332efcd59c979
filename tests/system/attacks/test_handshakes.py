"""TLS handshakes that clients begin, and never complete: what they cost, and what of that is given back."""

from __future__ import annotations

import ssl
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.conftest import StartServer
from tests.support.address import Address
from tests.support.certificates import Authority
from tests.support.processes import resident_memory
from tests.support.server import Server
from tests.support.waiting import eventually

AUTHORITY = Authority()
MIB = 1024 * 1024

CLIENTS = 700
BURSTS = 4
LEFT = 12 * MIB
"""What a worker may have more, when they have left, than before the first of them came."""


def greeting() -> bytes:
    """A ClientHello."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    session = AUTHORITY.client().wrap_bio(incoming, outgoing, server_hostname="localhost")
    with pytest.raises(ssl.SSLWantReadError):
        session.do_handshake()
    return outgoing.read()


def accepted(server: Server) -> int:
    """How many connections are open, as the server counts them."""
    page = Address.parse(server.log.matching("admin listening")[0]["address"]).request("GET", "/metrics").text
    (line,) = (line for line in page.splitlines() if line.startswith("appserver_connections_open "))
    return int(float(line.split()[1]))


@pytest.mark.long
@pytest.mark.parametrize(("part", "each"), [(0.5, 12 * 1024), (1.0, 80 * 1024)], ids=["half a greeting", "a greeting"])
def test_their_memory_is_bounded_and_given_back(
    start_server: StartServer, tmp_path: Path, part: float, each: int
) -> None:
    certificate, key = AUTHORITY.issue("localhost").write(tmp_path)
    server = start_server(
        {
            "listeners": [{"bind": "127.0.0.1:0", "tls": True, "backlog": CLIENTS}],
            "admin": {"bind": "127.0.0.1:0"},
            "tls": {"certificate": str(certificate), "key": str(key)},
            "http": {"header_timeout": 0},
        }
    )
    (worker,) = server.workers()
    hello = greeting()
    sent = hello[: int(len(hello) * part)]
    before = resident_memory(worker.pid)
    figures = [f"{before / MIB:.0f} MiB before"]
    for _ in range(BURSTS):
        with ExitStack() as clients:
            for _ in range(CLIENTS):
                client = clients.enter_context(server.address.connect())
                client.sendall(sent)
            eventually(lambda: accepted(server) == CLIENTS, f"{CLIENTS} connections")
            during = resident_memory(worker.pid)
            assert during - before < CLIENTS * each
        eventually(lambda: accepted(server) == 0, "the end of all connections")
        eventually(lambda: resident_memory(worker.pid) < before + LEFT, "their memory to be given back", timeout=20)
        figures.append(f"{during / MIB:.0f} with {CLIENTS}, {resident_memory(worker.pid) / MIB:.0f} without")
    print("; ".join(figures))
