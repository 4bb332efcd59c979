"""Clients that take their time: every phase of a connection has its limit. Here each limit is some seconds."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.conformance.client import Client, request
from tests.conformance.levels import sec, should
from tests.conformance.site import Site
from tests.support.waiting import eventually

LIMIT = 2.0
# The limit, a second until the next sweep, and some time for a busy machine.
CUT_WITHIN = LIMIT + 15.0


@pytest.fixture
def http_settings() -> dict[str, Any]:
    """Limits that a test can wait for."""
    names = ("header_timeout", "body_timeout", "keepalive_timeout", "write_timeout")
    return dict.fromkeys(names, LIMIT)


def drip(client: Client, piece: bytes, seconds: float = CUT_WITHIN) -> None:
    """Send a piece every fifth of a second until the server closes, which it has to."""
    end = time.monotonic() + seconds
    while not client.closed:
        assert time.monotonic() < end, f"still open after {seconds} s"
        client.send(piece)
        client.read(lambda: False, 0.2)


@sec("slow clients")
def test_a_connection_that_never_sends_anything_is_closed(site: Site) -> None:
    with site.connect() as client:
        assert client.wait_closed(CUT_WITHIN)


@should("RFC 9112 9.5")
def test_an_idle_connection_is_closed(site: Site) -> None:
    with site.connect() as client:
        client.send(site.get())
        assert client.responses(1)[0].status == 200
        assert client.wait_closed(CUT_WITHIN)
        assert len(client.finals()) == 1


@should("RFC 9112 2.2, 9.5")
def test_an_empty_line_does_not_keep_it_open(site: Site) -> None:
    with site.connect() as client:
        client.send(site.get())
        assert client.responses(1)[0].status == 200
        drip(client, b"\r")


@sec("slowloris")
@pytest.mark.parametrize("start", [b"", b"GET /o", b"GET /o HTTP/1.1\r\nHost: x\r\nX-A: "])
def test_a_head_that_drips_in_is_cut_off_in_all(site: Site, start: bytes) -> None:
    with site.connect() as client:
        client.send(start)
        drip(client, b"a")
        assert [response.status for response in client.finals()] in ([], [408])


@sec("slowloris")
@pytest.mark.parametrize("start", [b"G", b"GET /o HTTP/1.1\r\nHost: x\r\n"])
def test_half_a_head_is_cut_off(site: Site, start: bytes) -> None:
    with site.connect() as client:
        client.send(start)
        assert client.wait_closed(CUT_WITHIN)
        assert [response.status for response in client.finals()] in ([], [408])


@sec("slowloris")
def test_so_is_half_a_head_behind_a_request(site: Site) -> None:
    with site.connect() as client:
        client.send(site.get() + b"GET /o HTTP/1.1\r\n")
        assert client.wait_closed(CUT_WITHIN)
        assert [response.status for response in client.finals()] in ([200], [200, 408])


@sec("slow POST (R.U.D.Y.)")
@pytest.mark.parametrize("framing", [b"Content-Length: 1000", b"Transfer-Encoding: chunked"])
def test_a_body_that_stalls_is_cut_off(site: Site, framing: bytes) -> None:
    with site.connect() as client:
        client.send(site.post(framing, body=b"5\r\nhello\r\n"))
        assert client.wait_closed(CUT_WITHIN)
        assert [response.status for response in client.finals("POST")] in ([], [408])
    assert not [found for found in site.seen() if found["complete"]]


@should("slow reading")
def test_a_client_that_never_reads_is_disconnected(site: Site) -> None:
    with site.connect(receive_buffer=4096) as client:
        client.send(request(b"GET /huge/67108864/" + site.token))
        eventually(lambda: site.state(site.token.decode() + "-done"), "send has been released")
        assert site.state() < 67108864


@should("slow clients")
def test_a_slow_application_is_not_a_slow_client(site: Site) -> None:
    with site.connect() as client:
        client.send(request(b"GET /sleep/3.5/o"))
        assert client.responses(1)[0].status == 200
