"""appserver.asgi.wsgi.input, body: every way of reading a body, its end, and bodies that have none."""

from __future__ import annotations

import asyncio
import io
import threading
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appserver.asgi.wsgi import ClientDisconnect
from appserver.asgi.wsgi.body import LIMIT, Body
from appserver.asgi.wsgi.input import Input
from tests.unit.asgi.wsgi.client import Client, Environ, Start, serve

TEXT = b"one\ntwo\nthree\n\nlast"


def input_of(*pieces: bytes) -> Input:
    left = [piece for piece in pieces if piece]
    return Input(lambda: left.pop(0) if left else b"")


def cut(text: bytes, size: int) -> list[bytes]:
    return [text[start : start + size] for start in range(0, len(text), size)]


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 100])
@pytest.mark.parametrize(
    ("read", "expected"),
    [
        (lambda body: body.read(), TEXT),
        (lambda body: body.read(None), TEXT),
        (lambda body: body.read(-1), TEXT),
        (lambda body: body.read(0), b""),
        (lambda body: body.read(5), b"one\nt"),
        (lambda body: body.read(1000), TEXT),
        (lambda body: body.read() + b"+" + body.read(), TEXT + b"+"),
        (lambda body: body.read(4) + b"|" + body.readline(), b"one\n|two\n"),
        (lambda body: body.readline(), b"one\n"),
        (lambda body: body.readline(None), b"one\n"),
        (lambda body: body.readline(-1), b"one\n"),
        (lambda body: body.readline(0), b""),
        (lambda body: body.readline(3), b"one"),
        (lambda body: body.readline(4), b"one\n"),
        (lambda body: body.readline(65536), b"one\n"),
        (lambda body: body.readlines(), [b"one\n", b"two\n", b"three\n", b"\n", b"last"]),
        (lambda body: body.readlines(None), [b"one\n", b"two\n", b"three\n", b"\n", b"last"]),
        (lambda body: body.readlines(4), [b"one\n"]),
        (lambda body: body.readlines(5), [b"one\n", b"two\n"]),
        (lambda body: body.readlines(0), [b"one\n", b"two\n", b"three\n", b"\n", b"last"]),
        (list, [b"one\n", b"two\n", b"three\n", b"\n", b"last"]),
        (lambda body: list(iter(lambda: body.readline(65536), b"")), [b"one\n", b"two\n", b"three\n", b"\n", b"last"]),
        (lambda body: [next(body), body.readline(), body.read()], [b"one\n", b"two\n", b"three\n\nlast"]),
    ],
)
def test_it_is_read_like_a_file_however_the_body_comes(size: int, read: Callable[[Input], Any], expected: Any) -> None:
    assert read(input_of(*cut(TEXT, size))) == expected


@given(
    st.lists(st.binary(max_size=20).map(lambda data: data.replace(b"\0", b"\n")), max_size=6),
    st.lists(st.tuples(st.sampled_from(["read", "readline", "readlines"]), st.integers(-1, 12)), max_size=10),
)
def test_it_gives_what_a_file_gives(pieces: list[bytes], calls: list[tuple[str, int]]) -> None:
    body, file = input_of(*pieces), io.BytesIO(b"".join(pieces))
    for method, size in calls:
        assert getattr(body, method)(size) == getattr(file, method)(size)
    assert body.read() == file.read()


class Application:
    """Reads its input in one way and notes what it got, or what was raised."""

    def __init__(self, read: Callable[[Any], Any]) -> None:
        self._read = read
        self.found: Any = None

    def __call__(self, environ: Environ, start: Start) -> Iterable[bytes]:
        try:
            self.found = self._read(environ["wsgi.input"])
        except OSError as error:
            self.found = error
        start("200 OK", [])
        return []


@pytest.mark.parametrize("method", ["POST", "GET"])
@pytest.mark.parametrize("headers", [[(b"content-length", b"1")], [(b"transfer-encoding", b"chunked")]])
def test_a_body_arrives_in_the_thread(method: str, headers: list[tuple[bytes, bytes]]) -> None:
    application = Application(lambda body: body.read())
    serve(application, Client(b"a", b"bc", b"", b"d", method=method, headers=headers))
    assert application.found == b"abcd"


def test_a_request_without_a_body_is_at_its_end_at_once() -> None:
    application = Application(lambda body: (body.read(), body.readline(), list(body)))
    client = Client(method="GET")
    serve(application, client)
    assert application.found == (b"", b"", [])
    assert client.received == 0, "the event loop was not asked"


@pytest.mark.parametrize(
    "read",
    [
        lambda body: body.read(),
        lambda body: body.read(1000),
        lambda body: body.readline(),
        lambda body: body.readlines(),
        list,
    ],
)
def test_a_body_that_was_cut_off_has_no_end(read: Callable[[Any], Any]) -> None:
    application = Application(read)
    serve(application, Client(b"half of", headers=[(b"content-length", b"100")], leaves=True))
    assert isinstance(application.found, ClientDisconnect)
    assert "the client has left before the end of its request" in str(application.found)


def test_what_has_arrived_of_a_body_that_was_cut_off_can_be_read() -> None:
    application = Application(lambda body: body.read(4))
    serve(application, Client(b"half of", headers=[(b"content-length", b"100")], leaves=True))
    assert application.found == b"half"


def test_a_body_that_nobody_reads_is_not_asked_for_beyond_the_limit() -> None:
    pieces = [b"x" * 10_000] * 100
    client = Client(*pieces)
    serve(Application(lambda body: body.read(1)), client)
    assert client.received <= LIMIT // 10_000 + 2


def test_a_body_of_any_size_streams_through() -> None:
    sizes: list[int] = []

    def application(environ: Environ, start: Start) -> Iterable[bytes]:
        start("200 OK", [])
        while data := environ["wsgi.input"].read(30_000):
            sizes.append(len(data))
        return []

    serve(application, Client(*[b"x" * 50_000] * 60))
    assert sizes == [30_000] * 100


def test_a_client_that_waits_to_be_asked_for_its_body_is_asked_when_it_is_read() -> None:
    asked = []
    client = Client(b"body", headers=[(b"content-length", b"4"), (b"expect", b"100-continue")])

    def application(environ: Environ, start: Start) -> Iterable[bytes]:
        asked.append(client.received)
        start("200 OK", [])
        return [environ["wsgi.input"].read()]

    serve(application, client)
    assert (asked, client.body) == ([0], b"body")


def test_a_body_that_cannot_be_received_raises_in_the_application() -> None:
    async def receive() -> Any:
        raise RuntimeError("broken")

    client = Client(b"body")
    client.receive = receive  # type: ignore[method-assign]
    application = Application(lambda body: body.read())
    serve(application, client)
    assert "RuntimeError('broken')" in str(application.found)


def test_reading_behind_the_end_of_the_loop_raises() -> None:
    async def main() -> Body:
        return Body(Client().receive, asyncio.get_running_loop(), threading.Condition(threading.Lock()))

    body = asyncio.run(main())
    with pytest.raises(ClientDisconnect, match="event loop"):
        body.take()


def test_reading_behind_the_end_of_the_request_raises() -> None:
    kept: list[Any] = []

    def application(environ: Environ, start: Start) -> Iterable[bytes]:
        kept.append(environ["wsgi.input"])
        start("200 OK", [])
        return []

    serve(application, Client(b"x", headers=[(b"content-length", b"10"), (b"expect", b"100-continue")], leaves=True))
    with pytest.raises(ClientDisconnect, match="the request is over"):
        kept[0].read()
