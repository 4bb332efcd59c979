"""The real program as clients see it that are not ours: the standard library's, httpx, and a socket that pipelines."""

from __future__ import annotations

import http.client
from collections.abc import Iterator

import httpx
import pytest

from tests.support.address import Address
from tests.support.server import Server


@pytest.fixture(scope="module", params=["httptools", "h11"])
def address(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Address]:
    """A server for all the tests of a parser."""
    with Server(tmp_path_factory.mktemp("server"), {"http": {"parser": request.param}}) as server:
        yield server.address


@pytest.fixture
def client(address: Address) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"http://{address}", trust_env=False) as client:
        yield client


def test_many_requests_share_one_connection(address: Address) -> None:
    connection = http.client.HTTPConnection(address.host, address.port, timeout=10)
    connection.connect()
    first = connection.sock
    for _ in range(20):
        connection.request("GET", "/")
        assert connection.getresponse().read() == b"hello"
    assert connection.sock is first  # http.client would have opened another one
    connection.close()


def test_a_body_of_known_length_arrives_whole(client: httpx.Client) -> None:
    body = bytes(range(256)) * 4096
    assert client.post("/echo", content=body).content == body


def test_a_body_in_chunks_arrives_whole(client: httpx.Client) -> None:
    def pieces() -> Iterator[bytes]:
        for number in range(100):
            yield f"piece {number};".encode() * 100

    response = client.post("/echo", content=pieces())
    assert response.request.headers["transfer-encoding"] == "chunked"
    assert response.content == b"".join(pieces())


def test_a_response_of_unknown_length_comes_in_chunks(client: httpx.Client) -> None:
    response = client.get("/stream/20")
    assert response.headers["transfer-encoding"] == "chunked"
    assert response.content == b"x" * 20_000


def test_head_gets_the_head_alone(client: httpx.Client) -> None:
    response = client.head("/")
    assert (response.status_code, response.headers["content-length"], response.content) == (200, "5", b"")
    assert client.get("/").text == "hello"  # on the same connection, so nothing was left in it


def test_every_response_names_the_server_and_the_time(client: httpx.Client) -> None:
    headers = client.get("/").headers
    assert headers["server"] == "appserver"
    assert headers["date"].endswith("GMT")


def test_an_application_that_raises_is_a_500_and_the_connection_may_go_on(client: httpx.Client) -> None:
    assert client.get("/raise").status_code == 500
    assert client.get("/").text == "hello"


def test_pipelined_requests_are_answered_in_their_order(address: Address) -> None:
    requests = [b"GET /env/%d HTTP/1.1\r\nHost: test\r\n" % number for number in range(9)]
    requests.append(b"GET /pid HTTP/1.1\r\nHost: test\r\nConnection: close\r\n")
    answer = address.converse(b"\r\n".join(requests) + b"\r\n")
    assert answer.count(b"HTTP/1.1 200 OK\r\n") == 10
    assert answer.rindex(b"HTTP/1.1") < answer.lower().index(b"connection: close")


def test_a_client_that_waits_for_it_gets_a_100(address: Address) -> None:
    with address.connect() as connection:
        connection.sendall(b"POST /echo HTTP/1.1\r\nHost: test\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n")
        assert connection.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(b"body")
        received = b""
        while b"body" not in received:
            received += connection.recv(1000)
    assert received.startswith(b"HTTP/1.1 200 OK\r\n")


@pytest.mark.parametrize(
    ("request_head", "status"),
    [
        pytest.param(b"nonsense\r\n\r\n", 400, id="no request line"),
        pytest.param(b"GET / HTTP/1.1\r\n\r\n", 400, id="no Host"),
        pytest.param(b"GET / HTTP/2.0\r\nHost: test\r\n\r\n", 505, id="version"),
        pytest.param(b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: test\r\n\r\n", 414, id="long target"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: test\r\n" + b"A: b\r\n" * 101 + b"\r\n", 431, id="many fields"),
    ],
)
def test_what_cannot_be_served_is_refused_and_the_connection_closed(
    address: Address, request_head: bytes, status: int
) -> None:
    assert address.converse(request_head).startswith(b"HTTP/1.1 %d " % status)


def test_the_server_serves_on_whatever_a_client_does(address: Address) -> None:
    for data in (b"", b"GET", b"\0" * 1000, b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 9\r\n\r\n123"):
        with address.connect() as connection:
            connection.sendall(data)
    assert address.request().text == "hello"
