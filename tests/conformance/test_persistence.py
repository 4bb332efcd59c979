"""Connections: how long they last, how they end, and what a client that goes away leaves behind."""

from __future__ import annotations

import hashlib

import pytest

from tests.conformance.client import CHUNKED, request
from tests.conformance.levels import must, sec, should
from tests.conformance.site import Site
from tests.support.waiting import eventually


@must("RFC 9112 9.3")
def test_http_1_1_connections_persist(site: Site) -> None:
    with site.connect() as client:
        for number in range(3):
            client.send(request(b"GET /%d" % number))
            last = client.responses(number + 1, quiet=0)[-1]
            assert last.json()["path"] == f"/{number}"
            assert "close" not in last.values("connection")


@must("RFC 9112 9.6")
@pytest.mark.parametrize("value", [b"close", b"Close", b"keep-alive, close", b"close, x", b" ,close"])
def test_nothing_behind_connection_close_is_served(site: Site, value: bytes) -> None:
    with site.connect() as client:
        client.send(site.get(b"Connection: " + value) + site.smuggled())
        assert client.wait_closed()
        (response,) = client.finals()
        assert response.status == 200
        assert response.values("connection") == ["close"]
    assert not [found for found in site.seen() if "smuggled" in found["target"]]


@must("RFC 9112 9.3")
def test_http_1_0_connections_end(site: Site) -> None:
    with site.connect() as client:
        client.send(b"GET /o HTTP/1.0\r\nHost: x\r\n\r\n")
        assert client.wait_closed()
        assert [response.status for response in client.finals()] == [200]


@should("RFC 9112 9.3, C.2.2")
def test_http_1_0_connections_persist_if_asked_to_and_say_so(site: Site) -> None:
    asked = b"GET /o HTTP/1.0\r\nHost: x\r\nConnection: keep-alive\r\n\r\n"
    with site.connect() as client:
        client.send(asked)
        (response,) = client.responses(1)
        assert response.framing == "length"
        assert response.values("connection") == ["keep-alive"]
        client.send(asked)
        assert [response.status for response in client.responses(2)] == [200, 200]


@must("RFC 9112 6.1")
@pytest.mark.parametrize("field", [b"X: y", b"Connection: keep-alive"])
def test_a_response_of_unknown_length_to_http_1_0_ends_with_the_connection(site: Site, field: bytes) -> None:
    with site.connect() as client:
        client.send(b"GET /stream/3 HTTP/1.0\r\nHost: x\r\n%b\r\n\r\n" % field)
        assert client.wait_closed()
        (response,) = client.finals()
        assert response.framing == "close"
        assert response.body == b"piece 0\npiece 1\npiece 2\n"
        assert "keep-alive" not in response.values("connection")


@must("RFC 9112 7.1")
def test_a_response_of_unknown_length_to_http_1_1_is_chunked(site: Site) -> None:
    with site.connect() as client:
        client.send(request(b"GET /stream/3"))
        (response,) = client.responses(1)
        assert response.framing == "chunked"
        assert response.body == b"piece 0\npiece 1\npiece 2\n"
        site.survive(client)


class TestHalfClose:
    @should("RFC 9112 9.6")
    @pytest.mark.parametrize("path", [b"/o", b"/sleep/0.2/o"])
    def test_a_client_that_has_sent_everything_still_gets_its_response(self, site: Site, path: bytes) -> None:
        with site.connect() as client:
            client.send(request(b"GET " + path))
            client.finish()
            assert client.responses(1)[0].status == 200

    @should("RFC 9112 9.6")
    def test_it_gets_all_of_several_responses(self, site: Site) -> None:
        with site.connect() as client:
            client.send(
                request(b"GET /sleep/0.1/a") + request(b"GET /b") + site.post(b"Content-Length: 5", body=b"hello")
            )
            client.finish()
            assert [response.json()["size"] for response in client.responses(3)] == [0, 0, 5]

    @must("RFC 9112 8")
    @pytest.mark.parametrize(
        "data", [b"G", b"GET /o%b HTTP/1.1\r\nHo", b"GET /o%b HTTP/1.1\r\nHost: x\r\n", b"\r\n", b""]
    )
    def test_an_end_within_the_head_is_no_request(self, site: Site, data: bytes) -> None:
        with site.connect() as client:
            client.send(data.replace(b"%b", site.token))
            client.finish()
            assert client.wait_closed()
            assert not [response for response in client.finals() if response.status < 400]
        assert not site.seen()

    @must("RFC 9112 6.3, 8")
    def test_an_end_within_the_body_is_no_complete_request(self, site: Site) -> None:
        with site.connect() as client:
            client.send(site.post(b"Content-Length: 10", body=b"hello"), 0.1)
            client.finish()
            assert client.wait_closed()
            assert not [response for response in client.finals("POST") if response.status < 400]
        assert not [found for found in site.seen() if found["complete"]]


class TestDisconnect:
    @must("ASGI http.disconnect")
    def test_the_application_is_told_when_the_client_has_gone(self, site: Site) -> None:
        client = site.connect()
        client.send(request(b"GET /wait/" + site.token))
        eventually(lambda: site.state() == "waiting", "the application waits")
        client.abort()
        eventually(lambda: site.state() == "disconnected", "http.disconnect")

    @must("ASGI http.disconnect")
    def test_also_in_the_middle_of_a_body(self, site: Site) -> None:
        client = site.connect()
        client.send(request(b"POST /wait/" + site.token, b"Content-Length: 10", body=b"hello"))
        eventually(lambda: site.state() == "waiting", "the application waits")
        client.abort()
        eventually(lambda: site.state() == "disconnected", "http.disconnect")


class TestUpload:
    @must("RFC 9112 6.2, 7.1")
    @pytest.mark.parametrize("chunked", [False, True])
    def test_eight_megabytes_arrive_unchanged(self, site: Site, chunked: bool) -> None:
        body = bytes(range(256)) * 32768
        framing = CHUNKED if chunked else b"Content-Length: %d" % len(body)
        pieces = [body[start : start + 100_000] for start in range(0, len(body), 100_000)]
        if chunked:
            pieces = [b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces] + [b"0\r\n\r\n"]
        seen = site.echo(site.post(framing), *pieces, method="POST")
        assert seen["sha256"] == hashlib.sha256(body).hexdigest()

    @sec("ASGI flow control")
    def test_an_application_that_does_not_read_stops_the_client(self, site: Site) -> None:
        total = 64 << 20
        with site.connect() as client:
            client.send(request(b"POST /late/10/" + site.token, b"Content-Length: %d" % total))
            assert client.push(b"z" * total, 1.5) < 32 << 20

    @sec("ASGI flow control")
    def test_so_does_one_that_reads_later(self, site: Site) -> None:
        total = 24 << 20
        with site.connect() as client:
            client.send(request(b"POST /late/0.5/" + site.token, b"Content-Length: %d" % total))
            client.send(b"z" * total)
            assert client.responses(1, "POST", seconds=30)[0].json() == total


class TestDownload:
    @sec("ASGI flow control")
    def test_a_client_that_does_not_read_stops_the_application(self, site: Site) -> None:
        before = site.resident()
        with site.connect(receive_buffer=4096) as client:
            client.send(request(b"GET /huge/268435456/" + site.token))
            eventually(lambda: site.state() is not None, "the application has started")
            client.send(0.5)
            assert site.state() < 32 << 20
            assert site.resident() - before < 32 << 20
            client.abort()
        eventually(lambda: site.state(site.token.decode() + "-done"), "send has been released")
