"""The load client tells a failed request from a connection that the server was free to close."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from tests.support.address import Address
from tests.support.load import Load, Tally
from tests.support.waiting import eventually

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
Conversation = Callable[[socket.socket, int], None]


@contextmanager
def peer(conversation: Conversation) -> Iterator[Address]:
    """A server that has `conversation(connection, number)` with each connection and then closes it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            number = 0
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection, contextlib.suppress(OSError):  # the client may hang up at any moment
                    conversation(connection, number)
                number += 1

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield Address(*listener.getsockname())
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(5)


def run_until(
    address: Address, done: Callable[[Tally], bool], pause: tuple[float, float] = (0.0, 0.0), timeout: float = 30.0
) -> Tally:
    with Load(address, connections=1, pause=pause, timeout=timeout) as load:
        eventually(lambda: done(load.tally), "the tally")
    return load.tally


def test_answers_are_counted_by_status_and_body() -> None:
    def answer_for_ever(connection: socket.socket, number: int) -> None:
        while connection.recv(1000):
            connection.sendall(ANSWER)

    with peer(answer_for_ever) as address:
        tally = run_until(address, lambda tally: tally.requests >= 3)
    assert tally.failed == 0
    assert set(tally.statuses) == {200}
    assert set(tally.bodies) == {b"hello"}
    assert tally.connections == 1


def test_a_chunked_answer_is_complete_with_its_last_chunk() -> None:
    def answer_in_chunks(connection: socket.socket, number: int) -> None:
        while connection.recv(1000):
            connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n")

    with peer(answer_in_chunks) as address:
        tally = run_until(address, lambda tally: tally.requests >= 2)
    assert tally.failed == 0
    assert set(tally.bodies) == {b"abc"}


def test_a_connection_closed_between_two_requests_is_no_failure() -> None:
    def answer_once(connection: socket.socket, number: int) -> None:
        connection.recv(1000)
        connection.sendall(ANSWER, socket.MSG_MORE)  # it leaves together with the close

    with peer(answer_once) as address:
        tally = run_until(address, lambda tally: tally.closed_idle >= 2, pause=(0.5, 0.5))
    assert tally.failed == 0


def test_an_announced_close_is_no_failure() -> None:
    def answer_and_close(connection: socket.socket, number: int) -> None:
        connection.recv(1000)
        connection.sendall(ANSWER.replace(b"Content", b"Connection: close\r\nContent"))

    with peer(answer_and_close) as address:
        tally = run_until(address, lambda tally: tally.closed_by_announcement >= 2)
    assert tally.failed == 0
    assert tally.connections >= 2


def silent(connection: socket.socket, number: int) -> None:
    """Take the request and hang up."""
    connection.recv(1000)


def half(connection: socket.socket, number: int) -> None:
    """Hang up in the middle of the body."""
    connection.recv(1000)
    connection.sendall(ANSWER[:-2])


def rude(connection: socket.socket, number: int) -> None:
    """Reset: closing with unread data makes the kernel send RST."""
    connection.recv(1)


def dumb(connection: socket.socket, number: int) -> None:
    """Say nothing until the client gives up."""
    while connection.recv(1000):
        pass


def nonsense(connection: socket.socket, number: int) -> None:
    """Answer without framing."""
    connection.recv(1000)
    connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")


@pytest.mark.parametrize(
    ("conversation", "kind"),
    [(silent, "closed"), (half, "closed"), (rude, "reset"), (dumb, "timeout"), (nonsense, "malformed")],
)
def test_a_request_without_a_complete_answer_failed(conversation: Conversation, kind: str) -> None:
    with peer(conversation) as address:
        tally = run_until(address, lambda tally: tally.failed >= 1, timeout=1.0 if kind == "timeout" else 30.0)
    assert set(tally.failures) == {kind}
    assert tally.requests == 0


def test_a_refused_connection_is_a_failed_request() -> None:
    with socket.socket() as bound:  # and does not listen: nobody else can either, meanwhile
        bound.bind(("127.0.0.1", 0))
        tally = run_until(Address(*bound.getsockname()), lambda tally: tally.failed >= 1)
    assert set(tally.failures) == {"connect"}


def test_a_server_error_is_a_failed_request() -> None:
    def apologise(connection: socket.socket, number: int) -> None:
        while connection.recv(1000):
            connection.sendall(ANSWER.replace(b"200 OK", b"503 Service Unavailable"))

    with peer(apologise) as address:
        tally = run_until(address, lambda tally: tally.requests >= 1)
    assert tally.failed == tally.requests
