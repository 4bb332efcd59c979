"""Clients that send requests without waiting for, or without reading, the answers."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conftest import StartServer
from tests.support.address import Address
from tests.support.processes import look_at, memory_peak, reset_memory_peak

MIB = 1024 * 1024
REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"

GREEDY = 20
WANTED = 16 * MIB
"""What each greedy client would like to send."""

PER_CONNECTION = MIB
"""One read and what is written up to the high-water mark, several times over."""


def push(connections: list[socket.socket]) -> int:
    """Send what the server takes, until it takes no more for a while, or all that there is; returns how much that is."""
    block = REQUEST * (64 * 1024 // len(REQUEST))
    sent = dict.fromkeys(connections, 0)
    last = time.monotonic()
    while time.monotonic() - last < 1 and any(taken < WANTED for taken in sent.values()):
        for connection in connections:
            # From where the last one was cut, so that what the server gets are requests one behind the other.
            begun = sent[connection] % len(REQUEST)
            try:
                taken = connection.send(block[begun:])
            except BlockingIOError:
                continue
            sent[connection] += taken
            last = time.monotonic()
        time.sleep(0.001)
    return sum(sent.values())


@contextmanager
def greedy_clients(address: Address) -> Iterator[list[socket.socket]]:
    connections = []
    try:
        for _ in range(GREEDY):
            connection = address.connect()
            connection.setblocking(False)
            connections.append(connection)
        yield connections
    finally:
        for connection in connections:
            connection.close()


def grown_by_greed(address: Address, pid: int) -> float:
    """How much memory (bytes) a process needs more while clients send requests and read nothing."""
    reset_memory_peak(pid)
    before = memory_peak(pid)
    with greedy_clients(address) as connections:
        taken = push(connections)
        begun = time.monotonic()
        assert address.request(timeout=30).status in (200, 404)
        seconds = time.monotonic() - begun
        grown = memory_peak(pid) - before
    print(
        f"{GREEDY} clients: {taken / MIB:.0f} MiB of requests taken, memory {before / MIB:.0f} MiB"
        f" and {grown / MIB:.0f} MiB more, another client's request meanwhile {seconds * 1000:.0f} ms"
    )
    return grown


def test_clients_that_pipeline_and_read_nothing_cost_about_one_read_each(start_server: StartServer) -> None:
    server = start_server()
    (worker,) = server.workers()
    assert grown_by_greed(server.address, worker.pid) < GREEDY * PER_CONNECTION


@pytest.mark.long
def test_nor_do_they_on_the_admin_listener(start_server: StartServer, tmp_path: Path) -> None:
    server = start_server({"admin": {"bind": "127.0.0.1:0", "control": str(tmp_path / "control")}})
    admin = Address.parse(server.log.wait_for("admin listening", controls=False)["address"])
    assert grown_by_greed(admin, server.pid) < GREEDY * PER_CONNECTION


COUNT = 100_000
FEWER = 20_000


def cpu_seconds(pid: int) -> float:
    process = look_at(pid)
    assert process is not None
    return process.cpu_seconds


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.long
def test_pipelined_requests_are_served_at_no_less_than_a_third_of_the_usual_speed(start_server: StartServer) -> None:
    """By the time that the worker's CPU needs for each, as a busy machine is no defect."""
    server = start_server({"http": {"max_requests_per_connection": 0}, "workers": {"count": 1, "max_requests": 0}})
    (worker,) = server.workers()
    with server.address.connect(120) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sendall(REQUEST)
        size = len(connection.recv(65536))
        before = cpu_seconds(worker.pid)
        for _ in range(FEWER):
            connection.sendall(REQUEST)
            left = size
            while left:
                left -= len(connection.recv(left))
        usual = (cpu_seconds(worker.pid) - before) / FEWER
    with server.address.connect(120) as connection:
        before = cpu_seconds(worker.pid)
        sender = threading.Thread(target=connection.sendall, args=(REQUEST * COUNT,))
        sender.start()
        left = size * COUNT
        while left:
            piece = connection.recv(min(left, 1 << 20))
            assert piece, f"the connection ended {left / size:.0f} responses before the last"
            left -= len(piece)
        sender.join()
        pipelined = (cpu_seconds(worker.pid) - before) / COUNT
    print(f"{usual * 1e6:.0f} µs of CPU for a request on keep-alive, {pipelined * 1e6:.0f} µs for a pipelined one")
    assert pipelined <= 3 * usual
