"""What the server puts on the wire, whatever the application does: framing, fields, errors."""

from __future__ import annotations

import re

import pytest

from tests.conformance.application import BREACHES
from tests.conformance.client import ANSWER_WITHIN, request
from tests.conformance.levels import must, sec, should
from tests.conformance.site import Site
from tests.conformance.wire import parse

DATE = re.compile(
    r"(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d (Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) \d{4} \d\d:\d\d:\d\d GMT"
)


class TestWithoutBody:
    @must("RFC 9110 9.3.2")
    @pytest.mark.parametrize("path", [b"/o", b"/stream/3", b"/huge/1000000/x"])
    def test_a_response_to_head_has_none(self, site: Site, path: bytes) -> None:
        with site.connect() as client:
            client.send(request(b"HEAD " + path) + request(b"GET /next"))
            head, following = client.responses(2, "HEAD")
            assert head.status == 200
            assert following.json()["path"] == "/next"

    @should("RFC 9110 9.3.2")
    def test_its_fields_are_those_of_get(self, site: Site) -> None:
        with site.connect() as client:
            client.send(request(b"HEAD /break/close"))
            assert client.responses(1, "HEAD")[0].values("content-length") == ["10"]

    @must("RFC 9112 6.3 (1); RFC 9110 8.6, 15.3.5, 15.4.5")
    @pytest.mark.parametrize("code", [204, 304])
    @pytest.mark.parametrize("suffix", [b"", b"-body"])
    def test_204_and_304_have_none(self, site: Site, code: int, suffix: bytes) -> None:
        """A body that the application sends nevertheless is dropped, or the connection is closed."""
        with site.connect() as client:
            client.send(request(b"GET /status/%d%b" % (code, suffix)))
            client.read(lambda: client.closed or bool(client.finals()), ANSWER_WITHIN)
            client.read(lambda: False, 0.1)
            responses, rest = parse(client.received, (), closed=client.closed)
            assert not rest
            assert [response.status for response in responses] in ([code], [500])
            assert responses[0].status == code or suffix
            if not client.closed:
                site.survive(client)


class TestInjection:
    @must("RFC 9110 5.5; CWE-113")
    @pytest.mark.parametrize(
        "kind",
        [
            "value-crlf",
            "value-split",
            "value-lf",
            "value-cr",
            "value-nul",
            "name-crlf",
            "name-colon",
            "name-space",
            "name-empty",
        ],
    )
    def test_a_malformed_header_of_the_application_is_not_sent(self, site: Site, kind: str) -> None:
        with site.connect() as client:
            client.send(request(b"GET /inject/" + kind.encode(), b"Connection: close"))
            assert client.wait_closed()
            assert b"injected" not in client.received
            assert [response.status for response in client.finals()] == [500]


class TestFailure:
    @must("RFC 9110 15.6.1")
    def test_before_the_start_the_client_gets_a_500(self, site: Site) -> None:
        with site.connect() as client:
            client.send(request(b"GET /raise/before"))
            (response,) = client.responses(1)
            assert response.status == 500
            assert b"asked to raise" not in response.body

    @must("RFC 9112 7.1, 8")
    @pytest.mark.parametrize("kind", [b"after-start", b"within-body", b"within-length"])
    def test_after_the_start_the_client_sees_that_the_response_is_cut(self, site: Site, kind: bytes) -> None:
        with site.connect() as client:
            client.send(request(b"GET /raise/" + kind))
            assert client.read(lambda: client.closed or any(r.status == 500 for r in client.finals()), ANSWER_WITHIN)
            assert client.finals()
            for response in client.finals():
                whole = response.complete and (response.framing != "close" or not client.reset)
                assert response.status == 500 or not whole

    @must("ASGI")
    @pytest.mark.parametrize("kind", [b"nothing", b"body-first"])
    def test_an_application_that_does_not_begin_gets_a_500_sent(self, site: Site, kind: bytes) -> None:
        with site.connect() as client:
            client.send(request(b"GET /break/" + kind))
            assert client.responses(1)[0].status == 500

    @must("RFC 9112 6.2, 8")
    @pytest.mark.parametrize("kind", ["start-only", "more-body", "short"])
    def test_an_unfinished_response_is_cut(self, site: Site, kind: str) -> None:
        with site.connect() as client:
            client.send(request(b"GET /break/" + kind.encode()))
            assert client.read(lambda: client.closed or any(r.status == 500 for r in client.finals()), ANSWER_WITHIN)
            assert client.finals()
            assert not [response for response in client.finals() if response.status < 400 and response.complete]

    @must("RFC 9112 6.2, 6.3; RFC 9110 8.6")
    @pytest.mark.parametrize("kind", sorted(BREACHES))
    def test_whatever_the_application_does_the_framing_is_valid(self, site: Site, kind: str) -> None:
        with site.connect() as client:
            client.send(request(b"GET /break/" + kind.encode()), request(b"GET /next"))
            client.read(lambda: client.closed or len([r for r in client.finals() if r.complete]) == 2, ANSWER_WITHIN)
            finals = client.finals()
            assert client.closed or len(finals) == 2
            assert len(finals) < 2 or finals[1].json()["path"] == "/next"
            assert finals
            assert finals[0].body in (b"0123456789"[:5], b"0123456789") or finals[0].status == 500

    @must("RFC 9112 6.3; ASGI")
    def test_a_body_longer_than_its_length_is_not_sent(self, site: Site) -> None:
        with site.connect() as client:
            client.send(request(b"GET /break/long", b"Connection: close"))
            assert client.wait_closed()
            assert b"56789" not in client.received

    @sec("RFC 9110 8.6")
    def test_two_different_lengths_are_not_sent(self, site: Site) -> None:
        with site.connect() as client:
            client.send(request(b"GET /break/two-lengths", b"Connection: close"))
            assert client.wait_closed()
            assert client.received.lower().count(b"content-length:") <= 1


class TestFields:
    @must("RFC 9110 6.6.1")
    @pytest.mark.parametrize("path", [b"/o", b"/status/404", b"/raise/before"])
    def test_there_is_one_date(self, site: Site, path: bytes) -> None:
        with site.connect() as client:
            client.send(request(b"GET " + path))
            (date,) = client.responses(1)[0].values("date")
            assert DATE.fullmatch(date)

    @must("RFC 9112 9.6")
    def test_an_application_can_close_the_connection(self, site: Site) -> None:
        with site.connect() as client:
            client.send(request(b"GET /break/close"))
            assert client.wait_closed()
            assert client.finals()[0].values("connection") == ["close"]

    @should("RFC 9112 9.6; RFC 9110 8.3")
    def test_the_servers_own_error_has_a_length_and_repeats_nothing(self, site: Site) -> None:
        response = site.refuse(b"GET /<script> HTTP/1.1\r\nHost : x\r\nX-<b>: 1\r\n\r\n", statuses={400})
        assert response is not None
        assert response.framing == "length"
        assert response.values("content-type") == ["text/plain; charset=utf-8"]
        assert b"<" not in response.body
