"""The requests that vary, and the loop that serves them in one process."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from pathlib import Path

import hpack
import pytest

from appserver.proxy import Trust
from tests.benchmarks.loop import ROWS, run
from tests.benchmarks.varied import COUNT, varied_blocks, varied_requests
from tests.benchmarks.workloads import BROWSER_HEADERS


def test_no_two_are_alike_in_anything_that_differs() -> None:
    requests = [request.decode().split("\r\n") for request in varied_requests(BROWSER_HEADERS)]
    assert len(requests) == COUNT
    for start in ("GET ", "Cookie: ", "Referer: ", "X-Forwarded-For: "):
        found = [line for request in requests for line in request if line.startswith(start)]
        assert len(set(found)) == COUNT, start


def _text(fields: Iterable[tuple[object, object]]) -> dict[str, str]:
    return {str(name): str(value) for name, value in fields}


@pytest.mark.long
def test_as_header_blocks_they_are_the_same_and_can_be_sent_over_and_over() -> None:
    blocks = varied_blocks(BROWSER_HEADERS)
    decoder = hpack.Decoder()
    turns = [[_text(decoder.decode(block)) for block in turn] for turn in (blocks.first, blocks.again, blocks.again)]
    assert turns[0] == turns[1] == turns[2]
    for request, fields in zip(varied_requests(BROWSER_HEADERS), turns[0], strict=True):
        assert request.startswith(f"GET {fields[':path']} HTTP/1.1\r\n".encode())
        for name in ("cookie", "referer", "x-forwarded-for"):
            assert f"\r\n{name.title()}: {fields[name]}\r\n".encode() in request


def test_their_clients_have_addresses() -> None:
    for request in varied_requests(BROWSER_HEADERS):
        client = request.partition(b"X-Forwarded-For: ")[2].partition(b"\r\n")[0].decode()
        assert Trust([]).node(client).address == (client, 0)


@pytest.mark.long
@pytest.mark.parametrize("row", ROWS)
def test_each_row_is_served(row: str, tmp_path: Path) -> None:
    assert asyncio.run(run(row, 10, tmp_path)) > 0
    if "log" in row:
        assert len((tmp_path / "access.log").read_text().splitlines()) > COUNT
