"""Clients that want to fill the server's memory get a clear answer, or none, and little of it."""

from __future__ import annotations

import select
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import StartServer
from tests.support.server import Server
from tests.support.waiting import eventually
from tests.system.faults.scene import faulty, files

MIB = 1024 * 1024
ROOM = 40 * MIB
"""What the worker may grow by, whatever a client does."""


def resident(pid: int) -> int:
    """The peak of the resident memory of a process (proc(5)), in octets."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


@pytest.fixture
def server(start_server: StartServer) -> Iterator[Server]:
    """A server with one worker, which has not grown by more than `ROOM`, and still serves, at the end of the test."""
    server = start_server(faulty({"count": 1}, http={"write_timeout": 1, "body_timeout": 2}), files=files())
    assert server.request("/").text == "hello"
    [worker] = server.workers()
    before = resident(worker.pid)
    yield server
    grown = resident(worker.pid) - before
    print(f"the worker has grown by {grown / MIB:.1f} MiB")
    assert grown < ROOM
    assert server.request("/").text == "hello"
    assert [found.pid for found in server.workers()] == [worker.pid]


def test_a_client_that_never_reads_its_answer_is_let_go(server: Server) -> None:
    with server.address.connect() as connection:
        connection.sendall(b"GET /flood HTTP/1.1\r\nHost: test\r\n\r\n")
        eventually(lambda: server.output.matching("request", path="/flood"), "it has been given up")
    assert server.output.matching("request", path="/flood")[0]["outcome"] in ("timed_out", "aborted")


@pytest.mark.parametrize(
    ("head", "piece"),
    [
        pytest.param(b"GET / HTTP/1.1\r\nHost: test\r\nX: ", b"a" * 65536, id="a header without end"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: test\r\n", b"x: y\r\n" * 5000, id="20,000 headers"),
        pytest.param(b"GET /", b"a" * 65536, id="a target without end"),
    ],
)
def test_a_head_without_end_is_refused(server: Server, head: bytes, piece: bytes) -> None:
    answer, sent, end = b"", 0, time.monotonic() + 30
    with server.address.connect() as connection:
        connection.sendall(head)
        with pytest.raises((BrokenPipeError, ConnectionResetError)):  # noqa: PT012 - the connection has been closed
            while time.monotonic() < end:
                if not answer and select.select([connection], [], [], 0)[0]:
                    answer = connection.recv(65536)
                assert answer or sent < 64 * MIB, "it is taken without end"
                connection.sendall(piece)
                sent += len(piece)
    # A reset may overtake the answer.
    assert answer == b"" or answer.split(b" ", 2)[1] in (b"400", b"414", b"431")


def test_a_body_without_end_is_taken_no_faster_than_the_application_reads(server: Server) -> None:
    with server.address.connect(timeout=1.0) as connection:
        connection.sendall(b"POST /sleep/2 HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n")
        chunk = b"10000\r\n" + b"y" * 65536 + b"\r\n"
        sent = 0
        try:
            while sent < 256 * MIB:
                connection.sendall(chunk)
                sent += 65536
        except OSError:  # nobody takes it any more, or the request has ended
            pass
    print(f"{sent / MIB:.1f} MiB were taken of an application that reads none")
    assert sent < 64 * MIB
