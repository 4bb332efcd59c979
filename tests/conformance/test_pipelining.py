"""Requests that follow one another without waiting: order, bodies, garbage, floods."""

from __future__ import annotations

from tests.conformance.client import CHUNKED, request
from tests.conformance.levels import must, sec
from tests.conformance.site import REFUSALS, Site


@must("RFC 9112 9.3.2")
def test_twenty_requests_in_one_segment_are_answered_in_order(site: Site) -> None:
    with site.connect() as client:
        client.send(b"".join(request(b"GET /%d" % number) for number in range(20)))
        assert [response.json()["path"] for response in client.responses(20)] == [f"/{number}" for number in range(20)]


@must("RFC 9112 9.3.2")
def test_requests_with_and_without_bodies_are_kept_apart(site: Site) -> None:
    methods, data, bodies = [], b"", []
    for number in range(12):
        body = b"body-%d-" % number * (number + 1)
        method, fields, sent = (
            ("GET", [], b""),
            ("POST", [b"Content-Length: %d" % len(body)], body),
            ("POST", [CHUNKED], b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)),
            ("HEAD", [], b""),
        )[number % 4]
        methods.append(method)
        bodies.append(body.decode() if sent else "")
        data += request(b"%b /%d" % (method.encode(), number), *fields, body=sent)
    with site.connect() as client:
        client.send(data)
        responses = client.responses(12, *methods)
    for number, response in enumerate(responses):
        assert response.status == 200
        if methods[number] != "HEAD":
            seen = response.json()
            assert (seen["method"], seen["path"], seen["body"]) == (methods[number], f"/{number}", bodies[number])


@must("RFC 9112 9.3.2")
def test_segments_need_not_end_where_requests_do(site: Site) -> None:
    data = request(b"GET /0") + request(b"POST /1", b"Content-Length: 10", body=b"0123456789") + request(b"GET /2")
    pieces: list[bytes | float] = []
    for start in range(0, len(data), 7):
        pieces += [data[start : start + 7], 0.002]
    with site.connect() as client:
        client.send(*pieces)
        assert [response.json()["path"] for response in client.responses(3)] == ["/0", "/1", "/2"]


@must("RFC 9112 9.3.2")
def test_a_fast_request_does_not_overtake_a_slow_one(site: Site) -> None:
    with site.connect() as client:
        client.send(request(b"GET /sleep/0.3/a") + request(b"GET /b"))
        assert [response.json()["path"] for response in client.responses(2)] == ["/sleep/0.3/a", "/b"]


class TestGarbage:
    GARBAGE = b"\x01\x02garbage\r\n\r\n"

    @must("RFC 9112 9.3.2; robustness")
    def test_a_valid_request_before_it_is_answered(self, site: Site) -> None:
        with site.connect() as client:
            client.send(site.get() + self.GARBAGE)
            assert client.wait_closed()
            first, *rest = client.finals()
            assert first.status == 200
            assert [response.status in REFUSALS for response in rest] in ([], [True])

    @must("RFC 9112 9.3.2; robustness")
    def test_also_if_it_arrives_while_the_request_is_being_handled(self, site: Site) -> None:
        with site.connect() as client:
            client.send(request(b"GET /sleep/0.3/o"), 0.1, self.GARBAGE)
            assert client.wait_closed()
            first, *rest = client.finals()
            assert first.status == 200
            assert first.complete
            assert [response.status in REFUSALS for response in rest] in ([], [True])

    @must("RFC 9112 9.3.2; robustness")
    def test_several_valid_requests_before_it_are_answered(self, site: Site) -> None:
        with site.connect() as client:
            client.send(site.get() + site.post(b"Content-Length: 5", body=b"hello") + site.get() + self.GARBAGE)
            assert client.wait_closed()
            assert [response.status for response in client.finals()][:3] == [200] * 3

    @must("RFC 9112 9.3.2; robustness")
    def test_a_malformed_body_does_not_lose_the_request_before_it(self, site: Site) -> None:
        with site.connect() as client:
            client.send(request(b"GET /sleep/0.2/a") + site.post(CHUNKED, body=b"5\r\nhelloX"))
            assert client.wait_closed()
            assert client.finals()[0].status == 200
        assert not [found for found in site.seen() if found["method"] == "POST" and found["complete"]]


@sec("robustness")
def test_a_flood_of_requests_behind_a_slow_one_is_not_taken(site: Site) -> None:
    flood = request(b"GET /sleep/2/x") + request(b"GET /y", b"X-Pad: " + b"p" * 4000) * 4000
    with site.connect() as client:
        assert client.push(flood, 1.0) < len(flood)


@sec("robustness")
def test_a_flood_of_small_requests_is_answered_completely(site: Site) -> None:
    with site.connect() as client:
        client.send(request(b"GET /sleep/0.2/x") + request(b"GET /ignore") * 2000)
        assert len(client.responses(2001, seconds=60)) == 2001
