"""RFC 9113 section 8 and RFC 8441: requests and responses, what is malformed, and what cannot be served."""

from __future__ import annotations

import pytest

from tests.conformance.http2.peer import (
    CANCEL,
    ENHANCE_YOUR_CALM,
    GET,
    NO_ERROR,
    POST,
    PROTOCOL_ERROR,
    Answer,
    Fields,
    Peer,
    changed,
    raw,
)
from tests.conformance.levels import must, sec, should

WEBSOCKET: Fields = [
    (b":method", b"CONNECT"),
    *changed(GET, method=None),
    (b":protocol", b"websocket"),
    (b"sec-websocket-version", b"13"),
]


def path(value: str, fields: Fields = GET) -> Fields:
    return changed(fields, path=value.encode())


@must("RFC 9113 8.1")
class TestMessages:
    def test_a_request_without_a_body(self, peer: Peer) -> None:
        answer = peer.get(1)
        assert answer.status == 200
        assert answer.ended

    def test_one_with_a_body(self, peer: Peer) -> None:
        peer.begin(1)
        peer.send(peer.data(1, b"hel"), peer.data(1, b"lo", end=True))
        assert b'"hello"' in peer.response(1).body

    def test_one_with_an_empty_body(self, peer: Peer) -> None:
        peer.begin(1)
        peer.send(peer.data(1, end=True))
        assert peer.response(1).status == 200

    def test_one_with_trailers(self, peer: Peer) -> None:
        peer.begin(1)
        peer.send(peer.data(1, b"hello"), peer.headers(1, [(b"x-checksum", b"1")]))
        assert b'"hello"' in peer.response(1).body

    def test_trailers_end_the_stream(self, peer: Peer) -> None:
        peer.begin(1)
        peer.send(peer.headers(1, [(b"x-checksum", b"1")], end=False))
        peer.stream_error(1, PROTOCOL_ERROR)

    def test_trailers_have_no_pseudo_header_fields(self, peer: Peer) -> None:
        peer.begin(1)
        peer.send(peer.headers(1, [(b":method", b"GET"), (b"x", b"y")]))
        peer.stream_error(1, PROTOCOL_ERROR)

    def test_a_response_may_come_before_the_request_is_complete(self, peer: Peer) -> None:
        peer.begin(1, path("/ignore/x", POST))
        answer = peer.response(1)
        assert answer.status == 200
        assert answer.reset in (None, NO_ERROR)

    def test_head_has_no_body(self, peer: Peer) -> None:
        answer = peer.get(1, changed(GET, method=b"HEAD"))
        assert (answer.status, answer.body, answer.ended) == (200, b"", True)

    @pytest.mark.parametrize("status", [204, 304])
    def test_nor_have_some_statuses(self, peer: Peer, status: int) -> None:
        answer = peer.get(1, path(f"/status/{status}"))
        assert (answer.status, answer.body, answer.ended) == (status, b"", True)

    def test_any_number_of_requests_at_once(self, peer: Peer) -> None:
        streams = range(1, 100, 2)
        peer.send(*(peer.headers(stream) for stream in streams))
        assert {peer.response(stream).status for stream in streams} == {200}

    def test_answers_come_in_the_order_in_which_they_are_ready(self, peer: Peer) -> None:
        peer.send(peer.headers(1, path("/sleep/1/x")), peer.headers(3))
        peer.response(3)
        assert not peer.answers.get(1) or not peer.answers[1].ended
        assert peer.response(1).status == 200

    @must("RFC 9110 10.1.1")
    def test_a_client_that_waits_for_a_100(self, peer: Peer) -> None:
        peer.begin(1, [*POST, (b"expect", b"100-continue"), (b"content-length", b"5")])
        peer.until(lambda: peer.answers.get(1) and peer.answers[1].interim)
        peer.send(peer.data(1, b"hello", end=True))
        assert peer.response(1).status == 200

    def test_a_response_that_breaks_off_is_reset(self, peer: Peer) -> None:
        peer.send(peer.headers(1, path("/raise/within")))
        answer = peer.answers.setdefault(1, Answer())
        peer.until(lambda: answer.reset is not None or answer.ended)
        assert answer.reset is not None or answer.status == 500


@must("RFC 9113 8.1.1")
class TestContentLength:
    @pytest.mark.parametrize("pieces", [[b"abc"], [b"abcdefg"], [b"abc", b"d"], []])
    def test_it_is_the_size_of_the_body(self, peer: Peer, pieces: list[bytes]) -> None:
        peer.begin(1, [*POST, (b"content-length", b"5")])
        peer.send(*(peer.data(1, piece) for piece in pieces), peer.data(1, end=True))
        peer.stream_error(1, PROTOCOL_ERROR)

    def test_also_without_a_body(self, peer: Peer) -> None:
        peer.send(peer.headers(1, [*POST, (b"content-length", b"5")]))
        peer.stream_error(1, PROTOCOL_ERROR)

    @pytest.mark.parametrize("value", [b"x", b"-1", b"+5", b"5, 5", b"5 5", b""])
    def test_it_is_a_number(self, peer: Peer, value: bytes) -> None:
        peer.begin(1, [*POST, (b"content-length", value)])
        peer.stream_error(1, PROTOCOL_ERROR)

    @sec("RFC 9110 8.6")
    def test_and_there_is_one(self, peer: Peer) -> None:
        peer.begin(1, [*POST, (b"content-length", b"5"), (b"content-length", b"6")])
        peer.stream_error(1, PROTOCOL_ERROR)


@must("RFC 9113 8.2.1")
class TestFields:
    @pytest.mark.parametrize(
        "name", [b"X-Upper", b"", b"a b", b"a:b", b"a\x00b", b"a\rb", b"a\nb", b"\x7f", b"\xe4", b"a(b", b" a"]
    )
    def test_names_that_none_may_have(self, peer: Peer, name: bytes) -> None:
        peer.send(peer.headers(1, [*GET, (name, b"x")]))
        peer.stream_error(1, PROTOCOL_ERROR)

    @pytest.mark.parametrize("value", [b"a\x00b", b"a\rb", b"a\nb", b"\r\n", b" a", b"a ", b"\ta", b"a\t"])
    def test_values_that_none_may_have(self, peer: Peer, value: bytes) -> None:
        peer.send(peer.headers(1, [*GET, (b"x-a", value)]))
        peer.stream_error(1, PROTOCOL_ERROR)

    @pytest.mark.parametrize("value", [b"", b"a b\tc", b"\xe4\xff", b"x" * 4000])
    def test_values_that_they_may_have(self, peer: Peer, value: bytes) -> None:
        assert peer.get(1, [*GET, (b"x-a", value)]).status == 200

    @must("RFC 9113 8.2.2")
    @pytest.mark.parametrize(
        "field",
        [
            (b"connection", b"close"),
            (b"connection", b"keep-alive"),
            (b"keep-alive", b"timeout=5"),
            (b"proxy-connection", b"keep-alive"),
            (b"transfer-encoding", b"chunked"),
            (b"upgrade", b"websocket"),
            (b"te", b"gzip"),
            (b"te", b"trailers, deflate;q=0.5"),
        ],
    )
    def test_fields_of_a_connection(self, peer: Peer, field: tuple[bytes, bytes]) -> None:
        peer.send(peer.headers(1, [*GET, field]))
        peer.stream_error(1, PROTOCOL_ERROR)

    @must("RFC 9113 8.2.2")
    def test_te_may_be_trailers(self, peer: Peer) -> None:
        assert peer.get(1, [*GET, (b"te", b"trailers")]).status == 200

    @must("RFC 9113 8.2.2")
    def test_responses_have_none_either(self, peer: Peer) -> None:
        names = {name for name, _ in peer.get(1).fields}
        assert not names & {b"connection", b"keep-alive", b"transfer-encoding", b"upgrade", b"proxy-connection"}
        assert all(name == name.lower() for name in names)

    @must("RFC 9113 8.2.3")
    def test_crumbs_of_cookies_are_put_together(self, peer: Peer) -> None:
        crumbs = [(b"cookie", b"a=b"), (b"x", b"y"), (b"cookie", b"c=d")]
        assert b"a=b; c=d" in peer.get(1, [*GET, *crumbs]).body


@must("RFC 9113 8.3.1")
class TestPseudoHeaderFields:
    @pytest.mark.parametrize(
        "fields",
        [
            changed(GET, method=None),
            changed(GET, scheme=None),
            changed(GET, path=None),
            changed(GET, path=b""),
            changed(GET, path=b"relative"),
            changed(GET, path=b"*"),
            changed(GET, method=b"GE T"),
            [*GET, (b":method", b"GET")],
            [*GET, (b":scheme", b"http")],
            [*GET, (b":path", b"/")],
            [*GET, (b":authority", b"example.org")],
            [*GET, (b":status", b"200")],
            [*GET, (b":test", b"x")],
            [*GET[:3], (b"x", b"y"), GET[3]],
        ],
    )
    def test_those_of_a_malformed_request(self, peer: Peer, fields: Fields) -> None:
        peer.send(peer.headers(1, fields))
        peer.stream_error(1, PROTOCOL_ERROR)

    def test_their_order_is_free(self, peer: Peer) -> None:
        assert peer.get(1, list(reversed(GET))).status == 200

    def test_the_authority_is_the_host(self, peer: Peer) -> None:
        assert b"example.org" in peer.get(1).body

    def test_a_host_that_is_another_one(self, peer: Peer) -> None:
        peer.send(peer.headers(1, [*GET, (b"host", b"example.com")]))
        peer.stream_error(1, PROTOCOL_ERROR)

    def test_one_that_is_the_same(self, peer: Peer) -> None:
        assert peer.get(1, [*GET, (b"host", b"example.org")]).status == 200

    @pytest.mark.parametrize("value", [b"user@example.org", b"example.org,example.com", b"exa mple", b"[::1"])
    def test_authorities_that_are_none(self, peer: Peer, value: bytes) -> None:
        peer.send(peer.headers(1, changed(GET, authority=value)))
        peer.stream_error(1, PROTOCOL_ERROR)

    def test_options_for_the_server(self, peer: Peer) -> None:
        assert peer.get(1, changed(GET, method=b"OPTIONS", path=b"*")).status == 200


@must("RFC 9113 8.5, RFC 8441 4")
class TestConnect:
    def test_connect_is_no_request_for_a_path(self, peer: Peer) -> None:
        peer.send(peer.headers(1, changed(GET, method=b"CONNECT")))
        peer.stream_error(1, PROTOCOL_ERROR)

    def test_a_tunnel_is_not_made(self, peer: Peer) -> None:
        answer = peer.get(1, [(b":method", b"CONNECT"), (b":authority", b"example.org:443")])
        assert answer.status >= 400

    def test_extended_connect_is_offered(self, peer: Peer) -> None:
        assert peer.settings.get(8) == 1

    def test_a_websocket(self, peer: Peer) -> None:
        peer.send(peer.headers(1, WEBSOCKET, end=False))
        peer.until(lambda: peer.answers.get(1) and peer.answers[1].fields)
        assert peer.answers[1].status == 200
        peer.send(peer.data(1, b"\x81\x85\0\0\0\0hello"))
        peer.until(lambda: peer.answers[1].body == b"\x81\x05hello")
        peer.send(peer.data(1, b"\x88\x82\0\0\0\0\x03\xe8", end=True))
        assert peer.response(1).body.endswith(b"\x88\x02\x03\xe8")

    @pytest.mark.parametrize("name", ["path", "scheme", "authority"])
    def test_extended_connect_has_all_pseudo_header_fields(self, peer: Peer, name: str) -> None:
        peer.send(peer.headers(1, changed(WEBSOCKET, **{name: None}), end=False))
        peer.stream_error(1, PROTOCOL_ERROR)

    def test_protocol_is_for_connect(self, peer: Peer) -> None:
        peer.send(peer.headers(1, [*GET, (b":protocol", b"websocket")]))
        peer.stream_error(1, PROTOCOL_ERROR)

    @should("RFC 8441 5")
    def test_an_unknown_protocol(self, peer: Peer) -> None:
        assert peer.get(1, changed(WEBSOCKET, protocol=b"connect-ip")).status in (400, 501)


@must("RFC 9113 10.5.1, RFC 6585 5")
class TestLimits:
    def test_a_head_that_is_too_large(self, peer: Peer) -> None:
        fields = [*GET, *((b"x-%d" % index, b"v" * 1000) for index in range(70))]
        block = peer.block(fields)
        peer.send(raw(1, 1, 1, block[:16_000]))
        pieces = [block[start : start + 16_000] for start in range(16_000, len(block), 16_000)]
        for index, piece in enumerate(pieces):
            peer.send(raw(9, 4 if index == len(pieces) - 1 else 0, 1, piece))
        answer = peer.answers.setdefault(1, Answer())
        peer.until(lambda: answer.ended or answer.reset is not None or peer.goaway)
        if answer.fields:
            assert answer.status == 431
        elif peer.goaway:
            assert peer.goaway.error_code == ENHANCE_YOUR_CALM
        else:
            assert answer.reset in (ENHANCE_YOUR_CALM, CANCEL, PROTOCOL_ERROR)

    def test_too_many_fields(self, peer: Peer) -> None:
        assert peer.get(1, [*GET, *((b"x-%d" % index, b"v") for index in range(150))]).status == 431

    def test_a_target_that_is_too_long(self, peer: Peer) -> None:
        assert peer.get(1, path("/" + "x" * 9000)).status == 414

    def test_the_connection_goes_on(self, peer: Peer) -> None:
        peer.get(1, path("/" + "x" * 9000))
        assert peer.get(3).status == 200
