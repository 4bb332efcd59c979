"""The parser's work is linear in what arrives: nothing is copied or searched again and again, whatever a client does."""

from __future__ import annotations

from typing import Any

import pytest

from appserver.http.limits import Limits
from appserver.http1 import parser as module
from tests.unit.http1.corpus import CHUNKED, GET
from tests.unit.http1.recorder import BACKENDS, Recorder, make_parser, octets

pytestmark = pytest.mark.parametrize("backend", BACKENDS)

REQUEST = GET + b"\r\n"


class Count:
    """Octets that were copied, and octets that were searched."""

    copied = searched = 0


class Counted(bytes):
    """Octets that count what is done with them, and with what is made of them."""

    def __getitem__(self, key: Any) -> Any:
        return _cut(super().__getitem__(key))

    def __add__(self, other: Any) -> Counted:
        Count.copied += len(self) + len(other)
        return Counted(super().__add__(other))

    def find(self, what: Any, start: Any = 0, stop: Any = None) -> int:
        _search(self, start, stop)
        return super().find(what, start, stop)


class CountedArray(bytearray):
    """The same for what the parser keeps."""

    def __getitem__(self, key: Any) -> Any:
        return _cut(super().__getitem__(key))

    def find(self, what: Any, start: Any = 0, stop: Any = None) -> int:
        _search(self, start, stop)
        return super().find(what, start, stop)


def _cut(found: Any) -> Any:
    if isinstance(found, int):
        return found
    Count.copied += len(found)
    return Counted(found)


def _search(data: bytes | bytearray, start: int, stop: int | None) -> None:
    Count.searched += max(0, (len(data) if stop is None else min(stop, len(data))) - start)


@pytest.fixture(autouse=True)
def counting(monkeypatch: pytest.MonkeyPatch) -> None:
    Count.copied = Count.searched = 0
    monkeypatch.setattr(module, "bytearray", CountedArray, raising=False)


def test_requests_that_wait_are_copied_once_however_many_there_are(backend: str) -> None:
    recorder = Recorder(pause=True)
    parser = recorder.parser = make_parser(backend, recorder, Limits())
    data = Counted(REQUEST * 2000)
    parser.feed(data)
    assert len(recorder.requests) == 1
    while not parser.idle:
        parser.resume()
    assert len(recorder.requests) == 2000
    assert Count.copied <= 2 * len(data)


def test_what_arrives_while_requests_wait_does_not_copy_these_again(backend: str) -> None:
    recorder = Recorder(pause=True)
    parser = recorder.parser = make_parser(backend, recorder, Limits())
    for _ in range(1000):
        parser.feed(Counted(REQUEST))
    while not parser.idle:
        parser.resume()
    assert len(recorder.requests) == 1000
    assert Count.copied <= 2 * 1000 * len(REQUEST)


@pytest.mark.parametrize(
    "head",
    [
        GET + b"x-long: " + b"y" * 20_000 + b"\r\n\r\n",
        GET + b"a: b\r\n" * 5000 + b"\r\n",
        b"GET /" + b"z" * 20_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
    ids=["a long line", "many lines", "a long target"],
)
def test_a_head_that_drips_in_is_searched_once(backend: str, head: bytes) -> None:
    recorder = Recorder()
    parser = make_parser(backend, recorder, Limits(max_headers=10_000, max_target_size=30_000))
    for piece in octets(head):
        parser.feed(Counted(piece))
    assert len(recorder.requests) == 1
    # For the end of a line and for the end of the head, with the few octets before that may belong to it.
    assert Count.searched <= 10 * len(head)
    assert Count.copied <= 4 * len(head)


@pytest.mark.parametrize(
    "body",
    [
        b"".join(b"1000;e=%b\r\n%b\r\n" % (b"x" * 4000, b"y" * 4096) for _ in range(5)) + b"0\r\n\r\n",
        b"0\r\nx-long: " + b"y" * 20_000 + b"\r\n\r\n",
    ],
    ids=["extensions", "a trailer field"],
)
def test_a_line_of_a_chunked_body_that_drips_in_is_searched_once(backend: str, body: bytes) -> None:
    recorder = Recorder()
    parser = make_parser(backend, recorder, Limits())
    parser.feed(CHUNKED)
    for piece in octets(body):
        parser.feed(Counted(piece))
    assert recorder.requests[0].complete
    assert Count.searched <= 5 * len(body)
    assert Count.copied <= 5 * len(body)
