"""The real program as clients see it that are not ours.

They are the standard library's, httpx, a socket that pipelines, and the WebSocket clients of websockets and aiohttp.
"""

from __future__ import annotations

import asyncio
import http.client
from collections.abc import Iterator

import aiohttp
import httpx
import pytest
import websockets
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory

from tests.support.address import Address
from tests.support.server import Server


@pytest.fixture(scope="module", params=["httptools", "h11"])
def address(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Address]:
    """A server for all the tests of a parser."""
    with Server(tmp_path_factory.mktemp("server"), {"http": {"parser": request.param}}) as server:
        yield server.address


@pytest.fixture
def client(address: Address) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"http://{address}", trust_env=False, timeout=30) as client:
        yield client


def test_many_requests_share_one_connection(address: Address) -> None:
    connection = http.client.HTTPConnection(address.host, address.port, timeout=30)
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


MESSAGES: tuple[str | bytes, ...] = ("", b"", "text", b"\x00\xff", "ü€😀" * 50_000, bytes(range(256)) * 2048)


@pytest.mark.parametrize(
    "compression",
    [
        None,
        ClientPerMessageDeflateFactory(),
        ClientPerMessageDeflateFactory(client_no_context_takeover=True, server_no_context_takeover=True),
        ClientPerMessageDeflateFactory(client_max_window_bits=9, server_max_window_bits=9),
        ClientPerMessageDeflateFactory(client_max_window_bits=None),
    ],
    ids=["plain", "usual", "no context", "small windows", "large window"],
)
def test_the_client_of_websockets(address: Address, compression: ClientPerMessageDeflateFactory | None) -> None:
    extensions = [compression] if compression else None

    async def one(number: int) -> None:
        url = address.websocket("/session")
        async with websockets.connect(url, compression=None, extensions=extensions) as session:
            assert bool(session.protocol.extensions) is bool(compression)
            for message in MESSAGES:
                await session.send(message)
                assert await session.recv() == message
            for _ in range(100):  # without waiting for the echoes
                await session.send(f"number {number} " * 50)
            assert {await session.recv() for _ in range(100)} == {f"number {number} " * 50}
            await session.send(["in", "", " frag", "ments"])
            assert await session.recv() == "in fragments"
            pong = await session.ping()
            await pong
            await session.close(3333, "done")
        assert session.close_code == 3333

    async def all_of_them() -> None:
        async with asyncio.timeout(60), asyncio.TaskGroup() as sessions:
            for number in range(4):
                sessions.create_task(one(number))

    asyncio.run(all_of_them())


@pytest.mark.parametrize("compress", [0, 15])
def test_the_client_of_aiohttp(address: Address, compress: int) -> None:
    async def scenario() -> None:
        url = f"http://{address}/session"
        async with aiohttp.ClientSession() as client, client.ws_connect(url, compress=compress) as session:
            assert session.compress in (0, 12) if compress else session.compress == 0
            for message in MESSAGES:
                await (session.send_str(message) if isinstance(message, str) else session.send_bytes(message))
                assert (await session.receive(30)).data == message
            await session.ping(b"there?")
            await session.close(code=3333)
            assert session.close_code == 3333

    asyncio.run(scenario())
