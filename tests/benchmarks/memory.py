"""What connections cost in memory: `python -m tests.benchmarks.memory`.

One worker, and the growth of the memory (PSS, proc(5)) of the whole process tree from when it has answered some requests:

- *idle*: KB for each of 5,000 keep-alive connections that have had one answer each and now wait;
- *idle h2*: the same for connections of HTTP/2 in clear text, and how many of HTTP/1.1 one of them costs;
- *session*: the same for WebSocket sessions, with compression agreed on, that have had one message each way;
- *unread*: MB for a client that asks for 1 GiB and reads nothing of it;
- *unheard*: MB for a client that uploads 1 GiB to an application that does not read it.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.benchmarks import http2_client, websocket_load
from tests.benchmarks.measurement import free_port
from tests.benchmarks.servers import APPSERVER, PEERS, ROOT, Run, Server, install
from tests.benchmarks.trees import memory, running, wait_for_answer, wait_until
from tests.benchmarks.workloads import Workload
from tests.support.address import Address

WORKLOAD = Workload(
    "memory", "connections that cost", application="tests.benchmarks.applications:burden", message_size=len("hello")
)
HTTP2_WORKLOAD = dataclasses.replace(WORKLOAD, streams=1)
HANDSHAKE = websocket_load.HANDSHAKE.format(websocket_load.OFFER).encode()
MESSAGE = b"\x81\x85" + bytes(4) + b"hello"
REQUEST = b"GET / HTTP/1.1\r\nHost: test\r\n\r\n"
UPLOAD = b"POST /ignore HTTP/1.1\r\nHost: test\r\nContent-Length: 1073741824\r\n\r\n"
FLOOD = b"GET /flood HTTP/1.1\r\nHost: test\r\n\r\n"
WARM_UP = 200
"""Connections before the first look, so that what is needed once is not counted."""
SETTLED = 1.0
"""Seconds after which the memory of a tree is looked at."""
PATIENCE = 3.0
"""Seconds without progress after which a server is taken to read, or to write, no more."""
LAYOUT = "{:<12}{:>14}{:>8}{:>13}{:>8}{:>10}{:>13}{:>8}{:>12}{:>13}"


def main() -> int:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.memory", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--connections", type=int, default=5000, metavar="N", help="that are idle (default: 5000)")
    parser.add_argument("--peers", default=",".join(peer.name for peer in PEERS), metavar="NAME,...")
    parser.add_argument("--cache", type=Path, default=ROOT / ".cache" / "benchmarks", metavar="DIR")
    options = parser.parse_args()
    needed = options.connections + 1000
    resource.setrlimit(resource.RLIMIT_NOFILE, (needed, max(needed, resource.getrlimit(resource.RLIMIT_NOFILE)[1])))
    servers = [APPSERVER, *(peer for peer in PEERS if peer.name in options.peers.split(","))]
    figures: dict[str, list[list[float]]] = {server.name: [] for server in servers}
    for _ in range(options.rounds):
        for server in servers:
            figures[server.name].append(_measure(server, install(server, options.cache), options.connections))
    titles = (
        "idle, KB each",
        "ratio",
        "idle h2, KB",
        "ratio",
        "to idle",
        "session, KB",
        "ratio",
        "unread, MB",
        "unheard, MB",
    )
    print(LAYOUT.format("server", *titles))
    own_idle, own_http2, own_session, *_ = _medians(figures[APPSERVER.name])
    for name, rounds in figures.items():
        idle, http2, session, unread, unheard = _medians(rounds)
        each = [f"{idle / 1e3:.1f}", f"{own_idle / idle:.2f}"]
        each += [f"{http2 / 1e3:.1f}", f"{own_http2 / http2:.2f}", f"{http2 / idle:.2f}"]
        each += [f"{session / 1e3:.1f}", f"{own_session / session:.2f}"]
        print(LAYOUT.format(name, *each, f"{unread / 1e6:.1f}", f"{unheard / 1e6:.1f}"))
    return 0


def _medians(rounds: list[list[float]]) -> list[float]:
    return [statistics.median(column) for column in zip(*rounds, strict=True)]


def _measure(server: Server, python: str, connections: int) -> list[float]:
    """Octets for each idle connection and session, for the client that does not read, and for the one that is not read."""
    return [
        _growth(server, python, lambda address: _idle(address, connections)) / connections,
        _growth_http2(server, python, connections) / connections,
        _growth(server, python, lambda address: _sessions(address, connections)) / connections,
        _growth(server, python, _unread),
        _growth(server, python, _unheard),
    ]


Burden = Callable[[Address], contextlib.AbstractContextManager[None]]


def _growth(server: Server, python: str, burden: Burden) -> int:
    """By how many octets a fresh server grows under a burden."""
    with tempfile.TemporaryDirectory() as directory:
        run = Run(python, free_port(), WORKLOAD, Path(directory))
        address = Address("127.0.0.1", run.port)
        with running(server.command(run)) as session:
            wait_for_answer(address, server.name)
            with _idle(address, WARM_UP):
                pass
            with _sessions(address, 1):  # what it imports for them
                pass
            time.sleep(SETTLED)
            before = memory(session)
            with burden(address):
                time.sleep(SETTLED)
                return memory(session) - before


def _growth_http2(server: Server, python: str, connections: int) -> int:
    """By how many octets a fresh server grows under connections of HTTP/2."""
    with tempfile.TemporaryDirectory() as directory:
        run = Run(python, free_port(), HTTP2_WORKLOAD, Path(directory))
        address = Address("127.0.0.1", run.port)
        with running(server.command(run)) as session:
            wait_until(lambda: _speaks_http2(address), server.name)
            with _idle_http2(address, WARM_UP):
                pass
            time.sleep(SETTLED)
            before = memory(session)
            with _idle_http2(address, connections):
                time.sleep(SETTLED)
                return memory(session) - before


def _speaks_http2(address: Address) -> bool:
    with address.connect() as connection:
        return http2_client.request(connection) == "200"


@contextlib.contextmanager
def _idle_http2(address: Address, count: int) -> Iterator[None]:
    """So many connections of HTTP/2 that have had one answer each."""
    with contextlib.ExitStack() as open_ones:
        for _ in range(count):
            http2_client.request(open_ones.enter_context(address.connect()))
        yield


@contextlib.contextmanager
def _idle(address: Address, count: int) -> Iterator[None]:
    """So many connections that have had one answer each."""
    with contextlib.ExitStack() as open_ones:
        for _ in range(count):
            connection = open_ones.enter_context(address.connect())
            connection.sendall(REQUEST)
            connection.recv(65536)
        yield


@contextlib.contextmanager
def _sessions(address: Address, count: int) -> Iterator[None]:
    """So many WebSocket sessions that have had one message each way."""
    with contextlib.ExitStack() as open_ones:
        for _ in range(count):
            connection = open_ones.enter_context(address.connect())
            connection.sendall(HANDSHAKE)
            received = b""
            while b"\r\n\r\n" not in received:
                received += connection.recv(65536)
            connection.sendall(MESSAGE)  # not at once with the handshake: some lose it then
            connection.recv(65536)
        yield


@contextlib.contextmanager
def _unread(address: Address) -> Iterator[None]:
    """A client that asks for 1 GiB, and reads nothing."""
    with address.connect() as connection:
        connection.sendall(FLOOD)
        time.sleep(PATIENCE)
        yield


@contextlib.contextmanager
def _unheard(address: Address) -> Iterator[None]:
    """A client that sends 1 GiB as far as the server takes it."""
    with address.connect() as connection:
        connection.sendall(UPLOAD)
        connection.settimeout(PATIENCE)
        left = 1 << 30
        piece = bytes(1 << 20)
        with contextlib.suppress(TimeoutError, ConnectionError):
            while left:
                left -= connection.send(piece[:left])
        yield


if __name__ == "__main__":
    sys.exit(main())
