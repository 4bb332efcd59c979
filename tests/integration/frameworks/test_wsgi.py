"""A WSGI application on the real program, recognised without being told."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from tests.support.server import Server
from tests.support.waiting import eventually

TARGET = "older_interfaces:wsgi_site"

THREADS = 8
"""As many requests as run at once; what holds on to a thread shows when this many have been made."""


def test_it_sees_the_request(client: httpx.Client) -> None:
    response = client.get("/a%20b?x=1", headers={"X-User": "real", "X_User": "forged"})
    assert response.text.splitlines() == [
        "REQUEST_METHOD=GET",
        "SCRIPT_NAME=",
        "PATH_INFO=/a b",
        "QUERY_STRING=x=1",
        "SERVER_PROTOCOL=HTTP/1.1",
        "HTTP_X_USER=real",
    ]


def test_it_reads_a_body_and_streams_it_back(client: httpx.Client) -> None:
    body = bytes(range(256)) * 4096 * 2
    response = client.post("/echo", content=body, headers={"content-type": "application/octet-stream"})
    assert response.status_code == 201
    assert response.headers["content-type"] == "application/octet-stream"
    assert response.content == body


def test_it_reads_a_body_that_comes_in_chunks(client: httpx.Client) -> None:
    def pieces() -> Iterator[bytes]:
        for _ in range(100):
            yield b"piece" * 1000

    assert client.post("/echo", content=pieces()).content == b"piece" * 100_000


def test_it_writes_and_returns_parts(client: httpx.Client) -> None:
    assert client.get("/stream").text == "written\n" + "".join(f"piece {number}\n" for number in range(20))


def test_clients_that_leave_take_no_thread_with_them(client: httpx.Client, server: Server) -> None:
    def closed() -> int:
        return client.get("/journal").text.count("endless closed")

    before = closed()
    for _ in range(THREADS):
        with server.address.connect() as connection:
            connection.sendall(b"GET /endless HTTP/1.1\r\nHost: test\r\n\r\n")
            assert connection.recv(100).startswith(b"HTTP/1.1 200 OK\r\n")
    eventually(lambda: closed() == before + THREADS, "every response is closed")


def test_an_exception_is_answered_with_500_and_logged(client: httpx.Client, server: Server) -> None:
    mark = len(server.log.records)
    assert client.get("/fail").status_code == 500
    eventually(lambda: "failed on purpose" in str(server.log.records[mark:]), "the exception is in the log")


def test_a_session_is_forbidden(server: Server) -> None:
    with pytest.raises(InvalidStatus) as caught:
        connect(server.address.websocket("/"))
    assert caught.value.response.status_code == 403
