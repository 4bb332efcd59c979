"""The way to a running server: every failure says what to do."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from appserver.cli import client
from appserver.cli.client import ControlClient, Refused
from appserver.cli.control import COMMANDS
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
            head, _, body = received.partition(b"\r\n\r\n")
            length = re.search(rb"Content-Length: (\d+)", head)
            while length and len(body) < int(length[1]):
                body += connection.recv(65536)
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


def test_an_answer_without_an_end_is_not_taken_for_ever(
    path: Path, listening: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "_MAX_ANSWER", 1000)
    thread = answer(listening, b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n" + b"[" * 1001)
    with pytest.raises(ControlError, match="its answer has no end"):
        ask(path)
    thread.join()


def test_an_answer_that_is_nested_without_reason_is_strange(path: Path, listening: socket.socket) -> None:
    thread = answer(listening, b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n" + b"[" * 200_000)
    with pytest.raises(ControlError, match="does not answer as appserver does"):
        ask(path)
    thread.join()


def test_what_a_server_says_does_not_talk_to_the_terminal(path: Path, listening: socket.socket) -> None:
    for octets in (b"\x1b[2J\r\n\r\n", b"HTTP/1.1 500 Oh\r\nContent-Length: 9\r\n\r\none\n\x1b[2J\n"):
        thread = answer(listening, octets)
        with pytest.raises(ControlError) as caught:
            ask(path)
        thread.join()
        assert "\x1b" not in str(caught.value)
        assert "\\x1b[2J" in str(caught.value)


JSON = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: application/json\r\n\r\n"


@pytest.mark.parametrize("command", [["status"], ["top", "--once", "--interval", "0"], ["reload"], ["scale", "2"]])
@pytest.mark.parametrize("octets", [JSON + b"{", JSON + b"[]", JSON + b"{}", JSON.replace(b"json", b"x") + b"<html>"])
def test_an_answer_of_something_else_is_an_error_that_says_so(
    path: Path, listening: socket.socket, octets: bytes, command: list[str]
) -> None:
    threads = [answer(listening, octets) for _ in range(2)]
    parser, run = COMMANDS[command[0]]
    try:
        with pytest.raises(ControlError, match=r"does not answer as appserver does|has no '"):
            run(parser().parse_args([*command[1:], "--control", str(path)]))
    finally:
        for thread in threads:
            while thread.is_alive():
                with contextlib.suppress(ControlError):
                    ask(path)  # the commands differ in how often they ask
                thread.join(0.01)


def test_a_refusal_of_something_else_is_one_too(path: Path, listening: socket.socket) -> None:
    thread = answer(listening, JSON.replace(b"200 OK", b"404 Not Found") + b'{"message": "page not found"}')
    parser, run = COMMANDS["reload"]
    with pytest.raises(ControlError, match="page not found"):
        run(parser().parse_args(["--control", str(path)]))
    thread.join()


def test_the_process_of_the_server_is_known_from_its_socket(path: Path, listening: socket.socket) -> None:
    process = ControlClient(path, 5).server_process()
    assert process is not None
    assert f"Pid:\t{os.getpid()}\n" in Path(f"/proc/self/fdinfo/{process}").read_text()
    os.close(process)
