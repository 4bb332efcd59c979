"""Starlette on the real program."""

from __future__ import annotations

import hashlib
import json
import socket
from collections.abc import Iterator

import httpx
import pytest
from websockets.exceptions import ConnectionClosedError, InvalidStatus
from websockets.frames import Close
from websockets.sync.client import connect
from websockets.typing import Subprotocol

from tests.integration.frameworks.applications.starlette_site import FILE_SIZE
from tests.support.server import Server
from tests.support.waiting import eventually

TARGET = "starlette_site:app"

FILE = b"".join(number.to_bytes(4, "big") for number in range(FILE_SIZE // 4))


def journal(client: httpx.Client) -> list[str]:
    """What the application noted so far."""
    entries: list[str] = client.get("/journal").json()
    return entries


def send_get(server: Server, path: str) -> socket.socket:
    """Send a request on a socket of its own, which the caller may treat as no well-behaved client would."""
    connection = server.address.connect()
    connection.sendall(f"GET {path} HTTP/1.1\r\nHost: test\r\n\r\n".encode())
    return connection


def test_a_request_arrives_as_it_was_sent(client: httpx.Client, server: Server) -> None:
    response = client.put(
        "/describe/a%20b/%C3%BC%2F?x=1&x=2&y=%26", headers={"user-agent": "tests", "cookie": "a=1; b=2"}
    )
    assert response.json() == {
        "method": "PUT",
        "path": "/describe/a b/ü/",
        "raw_path": "/describe/a%20b/%C3%BC%2F",
        "base_url": f"http://{server.address}/",
        "query": [["x", "1"], ["x", "2"], ["y", "&"]],
        "client": "127.0.0.1",
        "http_version": "1.1",
        "agent": "tests",
        "cookies": {"a": "1", "b": "2"},
    }
    cookies = response.headers.get_list("set-cookie")
    assert [cookie.partition(";")[0] for cookie in cookies] == ["one=1", "two=2"]


def test_a_mounted_application_sees_the_whole_path(client: httpx.Client) -> None:
    assert client.get("/mounted/below").json()["path"] == "/mounted/below"


def test_a_redirect_leads_back_to_this_server(client: httpx.Client) -> None:
    response = client.get("/slash", follow_redirects=True)
    assert response.status_code == 200
    assert response.json()["path"] == "/slash/"
    assert [step.status_code for step in response.history] == [307]


def test_lifespan_state_reaches_every_request_as_a_copy(client: httpx.Client) -> None:
    assert [client.get("/visit").text for _ in range(3)] == ["1", "1", "1"]


def test_a_streaming_response_comes_in_chunks(client: httpx.Client) -> None:
    response = client.get("/stream/500")
    assert response.headers["transfer-encoding"] == "chunked"
    assert response.text == "".join(f"piece {number}\n" for number in range(500))


def test_an_empty_streaming_response_ends(client: httpx.Client) -> None:
    assert client.get("/stream/0").content == b""
    assert client.get("/stream/0").status_code == 200


def test_a_streaming_response_to_head_has_no_body(client: httpx.Client) -> None:
    response = client.head("/stream/5")
    assert response.status_code == 200
    assert response.content == b""
    assert client.get("/stream/1").text == "piece 0\n"


@pytest.mark.parametrize("chunked", [False, True], ids=["length known", "chunked"])
def test_a_request_body_is_read_piece_by_piece(client: httpx.Client, chunked: bool) -> None:
    body = FILE[: 3 * 1024 * 1024 + 1]

    def pieces() -> Iterator[bytes]:
        for start in range(0, len(body), 100_000):
            yield body[start : start + 100_000]

    response = client.post("/digest", content=pieces() if chunked else body)
    assert response.json() == {"size": len(body), "sha256": hashlib.sha256(body).hexdigest()}


class TestAClientThatLeaves:
    def test_ends_a_streaming_response(self, server: Server, client: httpx.Client) -> None:
        closed = journal(client).count("endless closed")
        with send_get(server, "/endless") as connection:
            assert connection.recv(100).startswith(b"HTTP/1.1 200 OK\r\n")
        eventually(lambda: journal(client).count("endless closed") == closed + 1, "the stream is closed")

    def test_ends_a_streaming_response_that_it_has_stopped_reading(self, server: Server, client: httpx.Client) -> None:
        opened, closed = (journal(client).count(f"endless {what}") for what in ("opened", "closed"))
        with send_get(server, "/endless"):
            eventually(lambda: journal(client).count("endless opened") == opened + 1, "the stream is open")
        eventually(lambda: journal(client).count("endless closed") == closed + 1, "the stream is closed")

    def test_is_noticed_by_an_application_that_asks(self, server: Server, client: httpx.Client) -> None:
        waiting, left = (
            journal(client).count(entry) for entry in ("waiting for the client to leave", "the client left")
        )
        with send_get(server, "/patient"):
            eventually(
                lambda: journal(client).count("waiting for the client to leave") == waiting + 1, "the request arrives"
            )
        eventually(lambda: journal(client).count("the client left") == left + 1, "the application notices")


def test_a_background_task_does_not_hold_up_its_own_connection(client: httpx.Client) -> None:
    done = journal(client).count("work done")
    assert client.get("/background").status_code == 202
    # The client has one connection and uses it for the next request, while the work is not done.
    assert client.post("/release").text == "released"
    eventually(lambda: journal(client).count("work done") == done + 1, "the work is done")


class TestAFile:
    def test_arrives_whole(self, client: httpx.Client) -> None:
        response = client.get("/file")
        assert response.headers["content-length"] == str(FILE_SIZE)
        assert hashlib.sha256(response.content).digest() == hashlib.sha256(FILE).digest()

    def test_arrives_in_part_if_a_range_is_asked_for(self, client: httpx.Client) -> None:
        response = client.get("/file", headers={"range": "bytes=1000000-3999999"})
        assert response.status_code == 206
        assert response.content == FILE[1_000_000:4_000_000]

    def test_answers_head_with_its_size_and_nothing_else(self, client: httpx.Client) -> None:
        response = client.head("/file")
        assert response.headers["content-length"] == str(FILE_SIZE)
        assert response.content == b""

    def test_waits_for_a_client_that_does_not_read_yet(self, server: Server, client: httpx.Client) -> None:
        with socket.socket() as connection:
            # Less than the file fits into the buffers between the two: the server has to keep the rest.
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
            connection.settimeout(30)
            connection.connect((server.address.host, server.address.port))
            connection.sendall(b"GET /file HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")
            assert client.get("/visit").status_code == 200
            received = bytearray()
            while piece := connection.recv(65536):
                received += piece
        assert received.partition(b"\r\n\r\n")[2] == FILE


def test_an_exception_is_answered_with_500_and_logged(client: httpx.Client, server: Server) -> None:
    mark = len(server.log.records)
    response = client.get("/fail")
    assert (response.status_code, response.text) == (500, "Internal Server Error")
    assert client.get("/visit").status_code == 200
    eventually(lambda: "failed on purpose" in str(server.log.records[mark:]), "the exception is in the log")


def test_a_session_echoes(server: Server, client: httpx.Client) -> None:
    with connect(
        server.address.websocket("/talk?token=1"), subprotocols=[Subprotocol("v2"), Subprotocol("v1")]
    ) as session:
        assert session.subprotocol == "v2"
        assert session.response is not None
        assert session.response.headers["x-greeting"] == "hello"
        for message in ("text", b"bytes", "ü" * 100_000, bytes(300_000)):
            session.send(message)
            assert session.recv(30) == message
        session.send("describe")
        assert json.loads(session.recv(30)) == {
            "path": "/talk", "scheme": "ws", "root_path": "", "client": ["127.0.0.1"]
        }  # fmt: skip
    eventually(lambda: "session ended: 1000" in journal(client), "the application learns of the end")


def test_the_application_leaves_a_session(server: Server) -> None:
    with connect(server.address.websocket("/talk?token=1")) as session:
        session.send("leave")
        with pytest.raises(ConnectionClosedError) as caught:
            session.recv(30)
    assert caught.value.rcvd == Close(4001, "you asked for it")


def test_a_session_is_denied_with_a_response(server: Server) -> None:
    with pytest.raises(InvalidStatus) as caught:
        connect(server.address.websocket("/talk"))
    response = caught.value.response
    assert response.status_code == 401
    assert json.loads(response.body or b"") == {"reason": "no token"}


def test_a_session_to_nowhere_is_forbidden(server: Server) -> None:
    with pytest.raises(InvalidStatus) as caught:
        connect(server.address.websocket("/nowhere"))
    assert caught.value.response.status_code == 403


def test_an_endpoint_class_serves_a_session(server: Server, client: httpx.Client) -> None:
    with connect(server.address.websocket("/chat")) as session:
        session.send('{"a": [1, 2]}')
        assert json.loads(session.recv(30)) == {"got": {"a": [1, 2]}}
    eventually(lambda: "chat ended: 1000" in journal(client), "the application learns of the end")


def test_an_error_in_a_session_closes_it(server: Server) -> None:
    with connect(server.address.websocket("/fail-session")) as session, pytest.raises(ConnectionClosedError) as caught:
        session.recv(30)
    assert caught.value.rcvd == Close(1011, "")
