"""Flask, Django, Bottle, Falcon and Pyramid as WSGI applications of the real program."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import httpx
import pytest

from tests.integration.frameworks.conftest import APPLICATIONS, TRANSPORTS
from tests.support.server import Server
from tests.support.waiting import eventually

FRAMEWORKS = ["flask", "django", "bottle", "falcon", "pyramid"]
# The others read no further than Content-Length says, and there is none.
READING_CHUNKS = ["flask", "falcon", "pyramid"]

BODY = bytes(range(256)) * 4096


@pytest.fixture(scope="module", params=FRAMEWORKS)
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server for each framework; parsers, loops and preloading take turns."""
    number = FRAMEWORKS.index(request.param)
    parser, loop = TRANSPORTS[number % len(TRANSPORTS)]
    settings = {
        "app": {"target": f"wsgi_sites:{request.param}_site", "directory": str(APPLICATIONS), "threads": 3},
        "http": {"parser": parser},
        "workers": {"loop": loop, "preload": number % 2 == 0},
    }
    with Server(tmp_path_factory.mktemp("server"), settings) as server:
        yield server
    errors = [record for record in server.log.records if record["level"] in {"error", "critical"}]
    # Flask and Django log what reading the upload of a client that has left raises.
    expected = ("on purpose", "the client has left before the end of its request")
    assert [record for record in errors if not any(text in json.dumps(record) for text in expected)] == []


@pytest.fixture
def framework(request: pytest.FixtureRequest) -> str:
    """The framework that `server` has."""
    return str(request.node.callspec.params["server"])


@pytest.fixture
def client(server: Server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"http://{server.address}", trust_env=False, timeout=30) as client:
        yield client


def journal(client: httpx.Client) -> list[str]:
    found: list[str] = client.get("/journal").json()
    return found


def test_a_page(client: httpx.Client) -> None:
    response = client.get("/hello", params={"name": "Zoë & co"})
    assert (response.status_code, response.text) == (200, "Hello, Zoë & co!")


def test_what_it_is_told_of_the_request(client: httpx.Client, server: Server) -> None:
    headers = [("X-List", "a"), ("X-List", "b"), ("Cookie", "a=1"), ("Cookie", "b=2")]
    told: dict[str, Any] = client.get("/describe/caf%C3%A9?q=%20", headers=headers).json()
    told["url"] = quote(unquote(told["url"]), safe="/:?=")  # some unquote it
    assert told == {
        "REMOTE_ADDR": "127.0.0.1",
        "wsgi.url_scheme": "http",
        "SERVER_NAME": "127.0.0.1",
        "REQUEST_URI": "/describe/caf%C3%A9?q=%20",
        "HTTP_X_LIST": "a,b",
        "name": "café",
        "cookies": {"a": "1", "b": "2"},
        "addr": "127.0.0.1",
        "url": f"http://{server.address}/describe/caf%C3%A9?q=%20",
    }


def test_an_upload(client: httpx.Client) -> None:
    assert client.post("/digest", content=BODY).text == hashlib.sha256(BODY).hexdigest()
    assert client.post("/digest", content=b"").text == hashlib.sha256(b"").hexdigest()


def test_an_upload_that_comes_in_chunks(client: httpx.Client, framework: str) -> None:
    def chunks() -> Iterator[bytes]:
        for start in range(0, len(BODY), 10_000):
            yield BODY[start : start + 10_000]

    response = client.post("/digest", content=chunks())
    expected = hashlib.sha256(BODY).hexdigest()
    assert (response.text == expected) == (framework in READING_CHUNKS)


@pytest.mark.parametrize("announced", [b"Content-Length: 100000", b"Transfer-Encoding: chunked"])
def test_a_client_that_leaves_in_the_middle_of_its_upload(
    client: httpx.Client, server: Server, announced: bytes, framework: str
) -> None:
    if announced.startswith(b"Transfer") and framework not in READING_CHUNKS:
        return
    before = journal(client).count("upload complete")
    for _ in range(4):  # more than there are threads
        with server.address.connect() as connection:
            connection.sendall(b"POST /digest HTTP/1.1\r\nHost: x\r\n" + announced + b"\r\n\r\n5\r\nhello\r\n")
    assert client.post("/digest", content=b"x").text == hashlib.sha256(b"x").hexdigest()
    assert journal(client).count("upload complete") == before + 1


def test_a_stream(client: httpx.Client) -> None:
    before = journal(client).count("stream closed")
    assert client.get("/stream").text == "".join(f"piece {number}\n" for number in range(20))
    eventually(lambda: journal(client).count("stream closed") == before + 1, "the response is closed")


def test_a_file(client: httpx.Client) -> None:
    content = (APPLICATIONS / "wsgi_sites.py").read_bytes()
    response = client.get("/file")
    assert response.content == content
    assert response.headers["content-length"] == str(len(content))
    head = client.head("/file")
    assert (head.status_code in {200, 405}, head.content) == (True, b"")


@pytest.mark.parametrize("server", ["flask", "bottle"], indirect=True, scope="module")
def test_a_range_of_a_file(client: httpx.Client) -> None:
    content = (APPLICATIONS / "wsgi_sites.py").read_bytes()
    response = client.get("/file", headers={"Range": "bytes=1000-1999"})
    assert (response.status_code, response.content) == (206, content[1000:2000])


def test_fields_of_the_same_name(client: httpx.Client) -> None:
    values = client.get("/cookies").headers.get_list("set-cookie")
    assert [value.partition(";")[0] for value in values] == ["a=1", "b=2"]


def test_an_exception(client: httpx.Client) -> None:
    assert client.get("/fail").status_code == 500
    assert client.get("/hello", params={"name": "you"}).status_code == 200


def test_the_file_that_is_sent_is_there() -> None:
    assert Path(APPLICATIONS / "wsgi_sites.py").stat().st_size > 2000, "a range of it is asked for"
