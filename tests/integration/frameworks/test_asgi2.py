"""An application of ASGI 2.0 on the real program, recognised without being told."""

from __future__ import annotations

import httpx

TARGET = "older_interfaces:ASGI2Site"


def test_it_is_started_and_answers(client: httpx.Client) -> None:
    assert client.get("/path").text == "GET /path 2.0 0 ['started']"


def test_it_reads_a_body(client: httpx.Client) -> None:
    assert client.post("/", content=b"x" * 100_000).text == "POST / 2.0 100000 ['started']"
