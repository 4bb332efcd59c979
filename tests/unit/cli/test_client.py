"""The way to a running server: every failure says what to do."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from appserver.cli.client import ControlClient, Refused
from appserver.errors import ControlError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "control.sock"


@pytest.fixture
def listening(path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(path))
        sock.listen()
        yield sock


def answer(listening: socket.socket, octets: bytes) -> threading.Thread:
    """Read one request and send these octets."""

    def serve() -> None:
        connection, _ = listening.accept()
        with connection:
            received = b""
            while b"\r\n\r\n" not in received:
                received += connection.recv(65536)
            connection.sendall(octets)

    thread = threading.Thread(target=serve)
    thread.start()
    return thread


def ask(path: Path, timeout: float = 30) -> object:
    return ControlClient(path, timeout).get("/status")


def test_json_comes_back_as_data_and_the_rest_as_text(path: Path, listening: socket.socket) -> None:
    head = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: "
    for octets, expected in (
        (head + b'application/json\r\n\r\n{"a": 1}\n', {"a": 1}),
        (head + b"text/plain\r\n\r\nalive\n", "alive"),
    ):
        thread = answer(listening, octets)
        assert ask(path) == expected
        thread.join()


def test_a_refusal_carries_its_reason(path: Path, listening: socket.socket) -> None:
    thread = answer(listening, b"HTTP/1.1 409 Conflict\r\nContent-Length: 9\r\n\r\nnot now!\n")
    with pytest.raises(Refused, match="not now!") as caught:
        ask(path)
    thread.join()
    assert caught.value.status == 409


def test_no_socket_means_that_nothing_runs(path: Path) -> None:
    with pytest.raises(ControlError, match="no such socket: the server is not running"):
        ask(path)


def test_a_socket_that_a_killed_server_has_left_means_so_too(path: Path, listening: socket.socket) -> None:
    listening.close()
    with pytest.raises(ControlError, match="nobody listens there any more: the server is not running"):
        ask(path)


def test_another_file_is_told_from_a_socket(path: Path) -> None:
    path.touch()
    with pytest.raises(ControlError, match=r"is no socket; expected the path of admin\.control"):
        ask(path)


def test_a_path_that_is_too_long_is_an_error_like_any_other(tmp_path: Path) -> None:
    with pytest.raises(ControlError, match="too long"):
        ask(tmp_path / ("x" * 120))


def test_a_server_that_does_not_answer_is_not_waited_for_forever(path: Path, listening: socket.socket) -> None:
    with pytest.raises(ControlError, match=r"does not answer within 0\.1 s"):
        ask(path, timeout=0.1)


@pytest.mark.parametrize("octets", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", b"SSH-2.0\r\n"])
def test_a_server_that_goes_without_an_answer_is_told(path: Path, listening: socket.socket, octets: bytes) -> None:
    thread = answer(listening, octets)
    with pytest.raises(ControlError, match="has gone without an answer"):
        ask(path)
    thread.join()


def test_the_process_of_the_server_is_known_from_its_socket(path: Path, listening: socket.socket) -> None:
    process = ControlClient(path, 5).server_process()
    assert process is not None
    assert f"Pid:\t{os.getpid()}\n" in Path(f"/proc/self/fdinfo/{process}").read_text()
    os.close(process)
