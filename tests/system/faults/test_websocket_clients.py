"""WebSocket clients that are gone, half there, or greedy cost a bounded time and a bounded memory."""

from __future__ import annotations

import itertools
import socket
import struct
import zlib
from collections.abc import Iterator
from typing import Self

import pytest
from websockets.sync.client import connect

from tests.support.server import Record, Server
from tests.support.waiting import eventually
from tests.system.faults.test_greedy_clients import MIB, ROOM, resident
from tests.system.test_websockets import HANDSHAKE
from tests.unit.websocket.frames import BINARY, CONTINUATION, PING, TEXT, frame

LIMITS = {"ping_interval": 1, "ping_timeout": 4, "message_timeout": 2, "close_timeout": 1}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with one worker, for all of them."""
    settings = {"websocket": LIMITS, "http": {"write_timeout": 1}, "workers": {"count": 1, "graceful_timeout": 1}}
    with Server(tmp_path_factory.mktemp("server"), settings) as server:
        check(server)
        yield server


def check(server: Server) -> None:
    """See that the server serves."""
    with connect(server.address.websocket("/session"), open_timeout=30) as session:
        session.send("still there?" * 100)
        assert session.recv(30) == "still there?" * 100


@pytest.fixture
def server(running: Server) -> Iterator[Server]:
    """The server; at the end of the test its worker has not grown by more than `ROOM`, and still serves."""
    [worker] = running.workers()
    before = resident(worker.pid)
    yield running
    grown = resident(worker.pid) - before
    print(f"the worker has grown by {grown / MIB:.1f} MiB")
    assert grown < ROOM
    check(running)
    assert [found.pid for found in running.workers()] == [worker.pid]


numbers = itertools.count(1)


class Rogue:
    """An open session on a socket, which a test may treat as no client would."""

    def __init__(self, server: Server, path: bytes = b"", *, offer: bytes = b"") -> None:
        self._server = server
        self._query = f"number={next(numbers)}"
        self.socket = server.address.connect()
        handshake = HANDSHAKE % (path + b"?" + self._query.encode())
        self.socket.sendall(handshake.removesuffix(b"\r\n") + offer + b"\r\n")
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += self.socket.recv(1)
        assert head.startswith(b"HTTP/1.1 101 ")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    @property
    def ended(self) -> bool:
        return bool(self._server.output.matching("session", query=self._query))

    def how_it_ended(self) -> Record:
        """The access line of the session."""
        return self._server.output.wait_for("session", query=self._query, timeout=40)


def push(connection: socket.socket, piece: bytes, limit: int) -> int:
    """Send a piece again and again until so many octets are sent or the server takes no more; returns how many."""
    connection.settimeout(1.5)
    sent = 0
    try:
        while sent < limit:
            connection.sendall(piece)
            sent += len(piece)
    except OSError:
        pass
    return sent


def test_a_client_that_is_gone_without_a_word(server: Server) -> None:
    rogue = Rogue(server)
    rogue.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    rogue.socket.close()
    record = rogue.how_it_ended()
    assert (record["close_code"], record["outcome"]) == (1006, "aborted")


def test_a_client_that_has_only_half_closed(server: Server) -> None:
    with Rogue(server) as rogue:
        rogue.socket.shutdown(socket.SHUT_WR)
        assert rogue.how_it_ended()["close_code"] == 1006
        while rogue.socket.recv(100):  # a ping, on a busy machine
            pass


def test_a_client_that_is_still_connected_but_answers_nothing(server: Server) -> None:
    with Rogue(server) as rogue:
        record = rogue.how_it_ended()
    assert (record["close_code"], record["outcome"]) == (1006, "timed_out")
    server.log.wait_for("session ended", reason="ping_timeout")


def test_a_client_that_never_reads(server: Server) -> None:
    with Rogue(server, b"/flood") as rogue:
        record = rogue.how_it_ended()
    assert record["outcome"] in ("aborted", "timed_out")
    server.log.wait_for("flood ended: ClientDisconnected")


def test_a_client_that_sends_more_than_the_application_takes(server: Server) -> None:
    with Rogue(server, b"/deaf") as rogue:
        sent = push(rogue.socket, frame(BINARY, bytes(65536)), 256 * MIB)
    print(f"{sent / MIB:.1f} MiB were taken of an application that reads none")
    assert sent < 64 * MIB


def test_a_client_that_sends_small_messages_without_end(server: Server) -> None:
    with Rogue(server, b"/deaf") as rogue:
        sent = push(rogue.socket, frame(TEXT) * 10_000, 256 * MIB)
    assert sent < 64 * MIB


@pytest.mark.long
def test_a_flood_of_pings_whose_answers_nobody_reads(server: Server) -> None:
    with Rogue(server) as rogue:
        sent = push(rogue.socket, frame(PING, b"x" * 125) * 1000, 256 * MIB)
        assert sent < 64 * MIB
        eventually(lambda: rogue.ended, "it has been let go", timeout=40)


def test_fragments_without_end(server: Server) -> None:
    with Rogue(server) as rogue:
        rogue.socket.sendall(frame(TEXT, b"x", fin=False))
        push(rogue.socket, frame(CONTINUATION, b"x", fin=False) * 100, MIB)
        assert rogue.how_it_ended()["close_code"] == 1002


@pytest.mark.long
def test_fragments_without_end_and_without_haste(server: Server) -> None:
    with Rogue(server) as rogue:
        rogue.socket.settimeout(0.2)
        rogue.socket.sendall(frame(BINARY, b"x", fin=False))
        while not rogue.ended:
            try:
                rogue.socket.sendall(frame(CONTINUATION, b"x", fin=False))
                rogue.socket.recv(1000)
            except TimeoutError:
                pass
            except OSError:
                break
        assert rogue.how_it_ended()["close_code"] == 1008


def test_a_message_without_end(server: Server) -> None:
    with Rogue(server) as rogue:
        push(
            rogue.socket, frame(BINARY, bytes(MIB), fin=False)[:1] + b"\xff" + (2**40).to_bytes(8) + bytes(MIB), 2 * MIB
        )
        assert rogue.how_it_ended()["close_code"] == 1009


def test_bombs(server: Server) -> None:
    compressor = zlib.compressobj(wbits=-12)
    bomb = (compressor.compress(bytes(64 * MIB)) + compressor.flush(zlib.Z_SYNC_FLUSH))[:-4]
    with Rogue(server, offer=b"Sec-WebSocket-Extensions: permessage-deflate\r\n") as rogue:
        rogue.socket.sendall(frame(BINARY, bomb, rsv=4) * 4)
        assert rogue.how_it_ended()["close_code"] == 1009
