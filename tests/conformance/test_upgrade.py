"""Upgrade to a protocol that the server does not speak: ignored, and nothing of the request is lost or misread."""

from __future__ import annotations

import pytest

from tests.conformance.client import CHUNKED, request
from tests.conformance.levels import must
from tests.conformance.site import Site

H2C = (b"Upgrade: h2c", b"Connection: Upgrade, HTTP2-Settings", b"HTTP2-Settings: AAMAAABkAAQAAP__")


@must("RFC 9110 7.8; RFC 9113 3.1")
@pytest.mark.parametrize(
    "fields",
    [H2C, (b"Upgrade: foo/2", b"Connection: upgrade"), (b"Upgrade: h2c, foo", b"Connection: keep-alive, Upgrade")],
)
def test_it_is_ignored_and_the_connection_stays_usable(site: Site, fields: tuple[bytes, ...]) -> None:
    with site.connect() as client:
        client.send(site.get(*fields))
        assert client.responses(1)[0].status == 200
        site.survive(client)


@must("RFC 9110 7.8")
def test_without_the_connection_option_it_is_ignored_too(site: Site) -> None:
    with site.connect() as client:
        client.send(site.get(b"Upgrade: h2c"))
        assert client.responses(1)[0].status == 200
        site.survive(client)


@must("RFC 9110 7.8")
def test_in_http_1_0_it_is_ignored(site: Site) -> None:
    seen = site.echo(b"GET /o HTTP/1.0\r\nHost: x\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\n")
    assert seen["http_version"] == "1.0"


@must("RFC 9110 7.8; RFC 9112 6.3")
@pytest.mark.parametrize("protocol", [b"h2c", b"foo/2", b"websocket", b"TLS/1.0"])
@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_in_a_later_segment_is_a_body(site: Site, protocol: bytes, chunked: bool) -> None:
    """Some parsers take a request with Upgrade as one without a body, and its body as the next request."""
    inner = site.smuggled()
    body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(inner), inner) if chunked else inner
    framing = CHUNKED if chunked else b"Content-Length: %d" % len(inner)
    with site.connect() as client:
        client.send(site.post(b"Upgrade: " + protocol, b"Connection: Upgrade", framing), 0.1, body)
        (response,) = client.responses(1, "POST")
        assert response.json()["body"] == inner.decode()
        site.survive(client)
    assert not [found for found in site.seen() if found["target"].startswith("/smuggled")]


@must("RFC 9110 7.8; RFC 9112 6.3")
@pytest.mark.parametrize("method", [b"POST", b"GET"])
def test_a_body_in_the_same_segment_is_a_body(site: Site, method: bytes) -> None:
    fields = (*H2C, b"Content-Length: 5")
    with site.connect() as client:
        client.send(request(method + b" /o" + site.token, *fields, body=b"hello"))
        assert client.responses(1, "POST")[0].json()["body"] == "hello"
        site.survive(client)


@must("RFC 9110 7.8")
def test_a_request_behind_it_is_served(site: Site) -> None:
    with site.connect() as client:
        client.send(site.get(*H2C) + request(b"GET /next"))
        assert [response.json()["path"] for response in client.responses(2)][1] == "/next"
