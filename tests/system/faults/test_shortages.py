"""Descriptors that run out: the server says so quietly, and serves again when there are some."""

from __future__ import annotations

import socket
import time

import pytest

from tests.conftest import StartServer
from tests.support import processes
from tests.support.waiting import eventually

LIMIT, CLIENTS = 64, 150


@pytest.mark.long
def test_without_descriptors_it_waits_quietly_and_then_serves_all(start_server: StartServer) -> None:
    server = start_server({"workers": {"count": 1, "max_open_files": LIMIT}})
    clients: list[socket.socket] = []
    try:
        clients += [server.address.connect() for _ in range(CLIENTS)]
        server.log.wait_for("cannot accept")
        used, began = processes.tree_cpu_seconds(server.pid), time.monotonic()
        eventually(lambda: time.monotonic() - began >= 2, "two seconds have passed")
        used = (processes.tree_cpu_seconds(server.pid) - used) / (time.monotonic() - began)
        lines = len(server.log.matching("cannot accept"))
        print(f"{CLIENTS} connections, {LIMIT} descriptors: {lines} lines, {100 * used:.0f} % of a processor")
        assert lines == 1
        assert used < 0.2
        for client in clients:
            client.sendall(b"GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")
        answered = sum(_answer(client).endswith(b"hello") for client in clients)
        print(f"{answered} of {CLIENTS} answered")
    finally:
        for client in clients:
            client.close()
    assert answered == CLIENTS
    assert server.request("/").text == "hello"


def _answer(client: socket.socket) -> bytes:
    client.settimeout(20)
    received = b""
    while piece := client.recv(65536):
        received += piece
    return received
