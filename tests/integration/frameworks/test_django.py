"""Django, through its ASGI handler, on the real program."""

from __future__ import annotations

import hashlib

import httpx
import pytest

from tests.support.server import Server
from tests.support.waiting import eventually

TARGET = "django_site:application"


def journal(client: httpx.Client) -> list[str]:
    """What the project noted so far."""
    entries: list[str] = client.get("/journal/").json()
    return entries


def test_it_is_served_although_it_has_no_lifespan_and_the_log_says_why(server: Server) -> None:
    record = server.log.wait_for("lifespan not supported")
    assert record["level"] == "info"
    assert record["reason"] == "it raised ValueError: Django can only handle ASGI/HTTP connections, not lifespan."


def test_a_view_answers(client: httpx.Client) -> None:
    response = client.get("/hello/J%C3%BCrgen/")
    assert (response.status_code, response.text) == (200, "Hello, Jürgen!")


def test_an_async_view_answers(client: httpx.Client) -> None:
    assert client.get("/hello-async/World/").text == "Hello, World, later!"


def test_a_view_queries_the_database(client: httpx.Client, server: Server) -> None:
    response = client.get("/query/?a=1&a=40&b=2")
    assert response.json() == {"sum": 42, "host": str(server.address), "all": ["1", "40"]}


def test_a_streaming_response_comes_in_chunks(client: httpx.Client) -> None:
    response = client.get("/stream/500/")
    assert response.headers["transfer-encoding"] == "chunked"
    assert response.text == "".join(f"piece {number}\n" for number in range(500))


def test_a_client_that_leaves_ends_a_streaming_response(client: httpx.Client, server: Server) -> None:
    closed = journal(client).count("endless closed")
    with server.address.connect() as connection:
        connection.sendall(b"GET /endless/ HTTP/1.1\r\nHost: test\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 200 OK\r\n")
    eventually(lambda: journal(client).count("endless closed") == closed + 1, "the stream is closed")


@pytest.mark.parametrize("path", ["/patient/", "/patient-async/"])
def test_a_client_that_leaves_before_its_response_is_no_failure_of_the_application(server: Server, path: str) -> None:
    mark = len(server.log.records)
    with server.address.connect() as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: test\r\n\r\n".encode())
    line = server.output.wait_for("request", path=path)
    assert (line["status"], line["outcome"]) == (None, "aborted")
    assert not [record for record in server.log.records[mark:] if record["event"] == "application failed"]


def test_an_uploaded_file_arrives_whole(client: httpx.Client) -> None:
    content = bytes(range(256)) * 4096 * 4
    response = client.post("/upload/", files={"file": ("data.bin", content)}, data={"note": "four MiB"})
    assert response.json() == {
        "name": "data.bin",
        "size": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
        "note": "four MiB",
    }


def test_a_session_goes_on(client: httpx.Client) -> None:
    assert [client.get("/visit/").text for _ in range(3)] == ["1", "2", "3"]


def test_a_redirect_leads_on(client: httpx.Client) -> None:
    assert client.get("/redirect/", follow_redirects=True).text == "Hello, again!"
    response = client.get("/hello/slash", follow_redirects=True)
    assert (response.text, [step.status_code for step in response.history]) == ("Hello, slash!", [301])


def test_head_has_no_body(client: httpx.Client) -> None:
    response = client.head("/hello/World/")
    assert (response.status_code, response.content) == (200, b"")
    assert response.headers["content-length"] == str(len("Hello, World!"))


def test_an_unknown_path_is_404(client: httpx.Client) -> None:
    assert client.get("/nothing/").status_code == 404


def test_an_exception_is_answered_with_500_and_logged(client: httpx.Client, server: Server) -> None:
    mark = len(server.log.records)
    assert client.get("/fail/").status_code == 500
    eventually(lambda: "failed on purpose" in str(server.log.records[mark:]), "the exception is in the log")
