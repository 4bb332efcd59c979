"""appserver.asgi.wsgi.files: what is sent by the server, and what is iterated over."""

from __future__ import annotations

import gzip
import io
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from django.core.files import File  # type: ignore[import-untyped]

from appserver.asgi.wsgi.files import FileWrapper, regular_file
from tests.unit.asgi.wsgi.client import Client, Environ, Start, serve

CONTENT = bytes(range(256)) * 100


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(CONTENT)
    return path


def sent(file: Any, *, headers: Any = (), **scope: Any) -> Client:
    def application(environ: Environ, start: Start) -> Iterable[bytes]:
        start("200 OK", list(headers))
        result: Iterable[bytes] = environ["wsgi.file_wrapper"](file, 1000)
        return result

    client = Client(method="GET", **scope)
    serve(application, client)
    return client


def kinds(client: Client) -> set[str]:
    return {message["type"].removeprefix("http.response.") for message in client.messages}


@pytest.mark.parametrize("buffering", [0, -1])
@pytest.mark.parametrize("mode", ["rb", "r+b"])
def test_a_file_is_sent_by_the_server_and_closed(path: Path, buffering: int, mode: str) -> None:
    file = path.open(mode, buffering)
    client = sent(file)
    assert kinds(client) == {"start", "zerocopysend"}
    assert client.body == CONTENT
    assert file.closed


def test_it_is_sent_from_where_it_stands(path: Path) -> None:
    file = path.open("rb")
    file.read(10)  # of which the buffer has taken more from the descriptor
    assert sent(file).body == CONTENT[10:]


def test_what_passes_reading_on_to_a_file_is_seen_through(path: Path) -> None:
    with tempfile.NamedTemporaryFile() as temporary:
        temporary.write(CONTENT)
        temporary.seek(5)
        client = sent(temporary)
    assert (kinds(client), client.body) == ({"start", "zerocopysend"}, CONTENT[5:])
    client = sent(File(path.open("rb")))
    assert (kinds(client), client.body) == ({"start", "zerocopysend"}, CONTENT)


def test_what_changes_the_content_is_iterated_over_though_it_has_a_descriptor(tmp_path: Path) -> None:
    path = tmp_path / "file.gz"
    path.write_bytes(gzip.compress(CONTENT))
    with gzip.open(path) as file:
        client = sent(file)
    assert (kinds(client), client.body) == ({"start", "body"}, CONTENT)
    with io.BufferedReader(gzip.GzipFile(path)) as buffered:
        client = sent(buffered)
    assert (kinds(client), client.body) == ({"start", "body"}, CONTENT)


def test_what_is_in_memory_is_iterated_over_in_blocks() -> None:
    file = io.BytesIO(CONTENT)
    client = sent(file)
    assert (kinds(client), client.body) == ({"start", "body"}, CONTENT)
    assert max(len(message.get("body", b"")) for message in client.messages) == 1000
    assert file.closed


def test_a_server_that_cannot_send_files_has_them_iterated_over(path: Path) -> None:
    client = sent(path.open("rb"), extensions={})
    assert (kinds(client), client.body) == ({"start", "body"}, CONTENT)


def test_a_pipe_is_iterated_over() -> None:
    reading, writing = os.pipe()
    os.write(writing, b"from a pipe")
    os.close(writing)
    client = sent(os.fdopen(reading, "rb"))
    assert (kinds(client), client.body) == ({"start", "body"}, b"from a pipe")


def test_a_file_behind_what_was_written(path: Path) -> None:
    def application(environ: Environ, start: Start) -> Iterable[bytes]:
        start("200 OK", [])(b"before ")
        result: Iterable[bytes] = environ["wsgi.file_wrapper"](path.open("rb"))
        return result

    client = Client(method="GET")
    serve(application, client)
    assert client.body == b"before " + CONTENT


def test_a_client_that_has_left_has_the_file_closed(path: Path) -> None:
    file = path.open("rb")

    def application(environ: Environ, start: Start) -> Iterable[bytes]:
        start("200 OK", [])
        result: Iterable[bytes] = environ["wsgi.file_wrapper"](file)
        return result

    client = Client(method="GET")
    client.gone = True
    serve(application, client)
    assert file.closed


@pytest.mark.parametrize("closed", [True, False])
def test_what_is_no_open_file_is_none(path: Path, closed: bool) -> None:
    file = path.open("rb")
    file.close()
    assert regular_file(file if closed else object()) is None


def test_a_wrapper_can_be_searched_like_what_it_wraps(path: Path) -> None:
    with path.open("rb") as file:
        wrapper: Any = FileWrapper(file)
        assert wrapper.seekable()
        wrapper.seek(100)
        assert wrapper.tell() == 100
        assert next(wrapper) == CONTENT[100 : 100 + 8192]

    class Stream:
        def read(self, size: int) -> bytes:
            return b""

    assert not FileWrapper(Stream()).seekable()
    assert list(FileWrapper(Stream())) == []
