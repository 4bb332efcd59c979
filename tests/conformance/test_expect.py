"""Expect: when a client is told to go on, and when not."""

from __future__ import annotations

import pytest

from tests.conformance.client import ANSWER_WITHIN, CHUNKED, request
from tests.conformance.levels import must, should
from tests.conformance.site import Site

EXPECT = b"Expect: 100-continue"


@should("RFC 9110 10.1.1")
@pytest.mark.parametrize("framing", [b"Content-Length: 5", CHUNKED])
def test_a_client_that_waits_is_told_to_go_on(site: Site, framing: bytes) -> None:
    with site.connect() as client:
        client.send(site.post(framing, EXPECT))
        assert client.read(lambda: bool(client.all_responses("POST")), ANSWER_WITHIN)
        assert [response.status for response in client.all_responses("POST")] == [100]
        client.send(b"hello" if framing != CHUNKED else b"5\r\nhello\r\n0\r\n\r\n")
        assert client.responses(1, "POST")[0].json()["body"] == "hello"
        assert [response.status for response in client.all_responses("POST")] == [100, 200]
        site.survive(client)


@must("RFC 9110 10.1.1")
def test_a_client_that_does_not_wait_gets_one_final_response(site: Site) -> None:
    with site.connect() as client:
        client.send(site.post(b"Content-Length: 5", EXPECT, body=b"hello"))
        assert client.responses(1, "POST")[0].json()["body"] == "hello"
        assert [response.status for response in client.all_responses("POST")] in ([200], [100, 200])
        site.survive(client)


@must("RFC 9110 10.1.1, 15.2")
def test_http_1_0_gets_no_interim_response(site: Site) -> None:
    with site.connect() as client:
        client.send(b"POST /o HTTP/1.0\r\nHost: x\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n", 0.2, b"hello")
        assert client.responses(1, "POST")[0].json()["body"] == "hello"
        assert [response.status for response in client.all_responses("POST")] == [200]


@should("RFC 9110 10.1.1")
def test_without_a_body_there_is_nothing_to_wait_for(site: Site) -> None:
    with site.connect() as client:
        client.send(site.get(EXPECT))
        client.responses(1)
        assert [response.status for response in client.all_responses()] == [200]


@should("RFC 9110 10.1.1")
@pytest.mark.parametrize("value", [b"200-maybe", b"100-continue, x", b"100-continue=1"])
def test_an_unknown_expectation_is_answered_417(site: Site, value: bytes) -> None:
    site.refuse(site.post(b"Content-Length: 5", b"Expect: " + value, body=b"hello"), statuses={417})


@should("RFC 9110 10.1.1; ASGI")
def test_an_application_that_does_not_read_declines(site: Site) -> None:
    """The client may send the body nevertheless, or not: so the connection cannot go on (RFC 9112 section 9.3)."""
    with site.connect() as client:
        client.send(request(b"POST /ignore/" + site.token, b"Content-Length: 5", EXPECT))
        client.responses(1, "POST")
        assert [response.status for response in client.all_responses("POST")] == [200]
        client.send(site.smuggled())
        assert client.wait_closed()
    assert not [found for found in site.seen() if "smuggled" in found["target"]]


@must("RFC 9110 10.1.1")
def test_the_100_comes_behind_the_responses_before_it(site: Site) -> None:
    with site.connect() as client:
        client.send(request(b"GET /sleep/0.2/a") + site.post(b"Content-Length: 5", EXPECT))
        assert client.read(lambda: len(client.all_responses("GET", "POST")) == 2, ANSWER_WITHIN)
        assert [response.status for response in client.all_responses("GET", "POST")] == [200, 100]
        client.send(b"hello")
        assert [response.status for response in client.responses(2, "GET", "POST")] == [200, 200]
