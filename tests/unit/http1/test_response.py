"""appserver.http1.response: what an application returns, as octets, and what it must not be able to put there."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appserver.errors import RequestError
from appserver.http.response import ResponseError
from appserver.http1.response import EncodedDefaults, ResponseEncoder, error_response

Headers = list[tuple[bytes, bytes]]


def make_encoder(
    method: str = "GET", version: str = "1.1", *, keep_alive: bool = True, server: str = "", date: bool = False
) -> ResponseEncoder:
    encoder = ResponseEncoder(EncodedDefaults(server, date=date))
    encoder.begin(method, version, keep_alive)
    return encoder


def encode(encoder: ResponseEncoder, status: int, headers: Headers, *body: bytes) -> bytes:
    encoder.start(status, headers)
    last = len(body) - 1
    return b"".join(b"".join(encoder.body(piece, index < last)) for index, piece in enumerate(body))


def head_of(octets: bytes) -> list[bytes]:
    head, _, _ = octets.partition(b"\r\n\r\n")
    return head.split(b"\r\n")


def body_of(octets: bytes) -> bytes:
    return octets.partition(b"\r\n\r\n")[2]


class TestFraming:
    """RFC 9112 sections 6 and 7."""

    def test_a_response_is_written_as_the_application_gave_it(self) -> None:
        octets = encode(make_encoder(), 200, [(b"content-type", b"text/plain"), (b"content-length", b"2")], b"hi")
        assert octets == b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 2\r\n\r\nhi"

    def test_a_body_that_is_complete_at_once_gets_a_content_length(self) -> None:
        assert encode(make_encoder(), 200, [], b"hi") == b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi"

    def test_an_empty_body_gets_a_content_length_of_zero(self) -> None:
        assert encode(make_encoder(), 404, [], b"") == b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n"

    def test_a_body_of_unknown_length_is_chunked(self) -> None:
        octets = encode(make_encoder(), 200, [], b"hello", b"", b"0123456789abcdef", b"")
        assert octets == (
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n10\r\n0123456789abcdef\r\n0\r\n\r\n"
        )

    def test_the_last_piece_of_a_chunked_body_brings_its_end_along(self) -> None:
        assert encode(make_encoder(), 200, [], b"a", b"b").endswith(b"\r\n\r\n1\r\na\r\n1\r\nb\r\n0\r\n\r\n")

    def test_nothing_is_written_for_an_empty_piece(self) -> None:
        encoder = make_encoder()
        encode(encoder, 200, [], b"a", b"", b"")
        encoder.begin("GET", "1.1", True)
        encoder.start(200, [])
        encoder.body(b"a", True)
        assert encoder.body(b"", True) == []

    def test_a_body_of_unknown_length_ends_with_the_connection_in_http_1_0(self) -> None:
        encoder = make_encoder(version="1.0")
        octets = encode(encoder, 200, [], b"a", b"b")
        assert octets == b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nab"
        assert not encoder.keep_alive
        assert encoder.ends_with_connection

    def test_only_the_end_of_the_connection_can_end_a_body_without_length(self) -> None:
        for version, headers, body in (("1.1", [], b"ab"), ("1.0", [(b"content-length", b"9")], b"ab")):
            encoder = make_encoder(version=version)
            encoder.start(200, headers)
            encoder.body(body, True)
            assert not encoder.ends_with_connection

    def test_transfer_encoding_is_the_servers_business(self) -> None:
        octets = encode(make_encoder(), 200, [(b"transfer-encoding", b"chunked"), (b"content-length", b"2")], b"hi")
        assert head_of(octets) == [b"HTTP/1.1 200 OK", b"content-length: 2"]

    def test_a_transfer_coding_that_the_server_does_not_apply_is_an_error(self) -> None:
        with pytest.raises(ResponseError, match="transfer-encoding"):
            make_encoder().start(200, [(b"Transfer-Encoding", b"gzip, chunked")])

    @pytest.mark.parametrize("headers", [[(b"content-length", b"5")], [(b"Content-Length", b"5")]])
    def test_a_body_longer_than_announced_is_an_error_before_it_is_written(self, headers: Headers) -> None:
        encoder = make_encoder()
        encoder.start(200, headers)
        with pytest.raises(ResponseError, match="longer than its content-length, by 1 octets"):
            encoder.body(b"123456", True)
        assert not encoder.on_wire

    def test_a_body_shorter_than_announced_is_an_error_before_it_is_written(self) -> None:
        encoder = make_encoder()
        encoder.start(200, [(b"content-length", b"5")])
        with pytest.raises(ResponseError, match="shorter than its content-length, by 3 octets"):
            encoder.body(b"12", False)
        assert not encoder.on_wire

    def test_a_body_in_pieces_is_held_against_its_length(self) -> None:
        encoder = make_encoder()
        encoder.start(200, [(b"content-length", b"5")])
        encoder.body(b"12", True)
        encoder.body(b"34", True)
        with pytest.raises(ResponseError, match="longer"):
            encoder.body(b"56", False)
        assert encoder.body(b"5", False) == [b"5"]

    @pytest.mark.parametrize("value", [b"", b"-1", b"+1", b"1_0", b" 1", b"1 ", b"0x1", b"\xd9\xa5", b"9" * 19])
    def test_a_content_length_has_to_be_a_number(self, value: bytes) -> None:
        with pytest.raises(ResponseError, match="content-length"):
            make_encoder().start(200, [(b"content-length", value)])

    @pytest.mark.parametrize("second", [b"2", b"3"])
    def test_a_content_length_is_sent_once(self, second: bytes) -> None:
        with pytest.raises(ResponseError, match="sent once"):
            make_encoder().start(200, [(b"content-length", b"2"), (b"Content-Length", second)])

    @given(st.lists(st.binary(max_size=40), max_size=8), st.booleans())
    def test_whatever_the_pieces_the_body_arrives_whole(self, pieces: list[bytes], announced: bool) -> None:
        total = b"".join(pieces)
        headers = [(b"content-length", b"%d" % len(total))] if announced else []
        octets = encode(make_encoder(), 200, headers, *pieces, b"")
        if b"chunked" in head_of(octets)[1]:
            rest, decoded = body_of(octets), b""
            while rest != b"0\r\n\r\n":
                size, _, rest = rest.partition(b"\r\n")
                decoded += rest[: int(size, 16)]
                assert rest[int(size, 16) :].startswith(b"\r\n")
                rest = rest[int(size, 16) + 2 :]
            assert decoded == total
        else:
            assert octets.endswith(b"content-length: %d\r\n\r\n" % len(total) + total)


class TestBodilessResponses:
    """RFC 9110 sections 9.3.2, 15.3.5 and 15.4.5."""

    @pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("GET", 204), ("GET", 304), ("HEAD", 404)])
    def test_no_octet_of_a_body_is_written(self, method: str, status: int) -> None:
        for pieces in ([b"body"], [b"bo", b"dy", b""]):
            octets = encode(make_encoder(method), status, [], *pieces)
            assert body_of(octets) == b""
            assert b"transfer-encoding" not in octets

    def test_head_keeps_the_content_length_of_the_application_whatever_it_sends(self) -> None:
        octets = encode(make_encoder("HEAD"), 200, [(b"content-length", b"100")], b"")
        assert head_of(octets) == [b"HTTP/1.1 200 OK", b"content-length: 100"]

    def test_head_says_how_long_the_body_would_have_been(self) -> None:
        assert head_of(encode(make_encoder("HEAD"), 200, [], b"12345"))[1] == b"content-length: 5"

    def test_head_says_nothing_of_a_length_that_it_does_not_know(self) -> None:
        assert head_of(encode(make_encoder("HEAD"), 200, [], b"")) == [b"HTTP/1.1 200 OK"]
        assert head_of(encode(make_encoder("HEAD"), 200, [], b"a", b"b")) == [b"HTTP/1.1 200 OK"]

    def test_204_has_no_content_length(self) -> None:
        octets = encode(make_encoder(), 204, [(b"content-length", b"4"), (b"x-a", b"1")], b"body")
        assert head_of(octets) == [b"HTTP/1.1 204 No Content", b"x-a: 1"]

    @pytest.mark.parametrize("headers", [[], [(b"content-length", b"4")]])
    @pytest.mark.parametrize("pieces", [[b"body"], [b"bo", b"dy"], [b""]])
    def test_205_is_empty_and_says_so(self, headers: Headers, pieces: list[bytes]) -> None:
        octets = encode(make_encoder(), 205, headers, *pieces)
        assert octets == b"HTTP/1.1 205 Reset Content\r\ncontent-length: 0\r\n\r\n"

    def test_304_may_have_one(self) -> None:
        octets = encode(make_encoder(), 304, [(b"content-length", b"4")], b"")
        assert head_of(octets) == [b"HTTP/1.1 304 Not Modified", b"content-length: 4"]

    def test_a_response_without_a_body_does_not_end_with_the_connection(self) -> None:
        encoder = make_encoder("HEAD", "1.0")
        encode(encoder, 200, [], b"a", b"b")
        assert encoder.keep_alive
        assert not encoder.ends_with_connection


class TestPersistence:
    """RFC 9112 section 9."""

    def test_the_end_of_the_connection_is_announced(self) -> None:
        octets = encode(make_encoder(keep_alive=False), 200, [], b"")
        assert head_of(octets)[-1] == b"connection: close"

    def test_a_connection_of_http_1_0_that_stays_says_so(self) -> None:
        assert head_of(encode(make_encoder(version="1.0"), 200, [], b""))[-1] == b"connection: keep-alive"

    @pytest.mark.parametrize("value", [b"close", b"Close", b"upgrade, close"])
    def test_the_application_may_end_the_connection(self, value: bytes) -> None:
        encoder = make_encoder()
        octets = encode(encoder, 200, [(b"connection", value)], b"")
        assert not encoder.keep_alive
        assert octets.lower().count(b"close") == 1

    def test_the_application_cannot_promise_that_it_stays(self) -> None:
        encoder = make_encoder(keep_alive=False)
        octets = encode(encoder, 200, [(b"connection", b"keep-alive")], b"")
        assert b"keep-alive" not in octets
        assert b"connection: close" in octets

    def test_other_connection_options_are_passed_on(self) -> None:
        octets = encode(make_encoder(), 426, [(b"upgrade", b"h2c"), (b"connection", b"Upgrade")], b"")
        assert head_of(octets)[1:3] == [b"upgrade: h2c", b"connection: upgrade"]

    def test_what_was_held_of_one_response_does_not_leak_into_the_next(self) -> None:
        encoder = make_encoder()
        encoder.start(200, [(b"x-secret", b"1"), (b"connection", b"close")])
        encoder.begin("GET", "1.1", True)
        assert encode(encoder, 500, [], b"") == b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\n\r\n"


class TestFields:
    """RFC 9110 section 5."""

    @pytest.mark.parametrize("value", [b"a\r\nx: y", b"a\nb", b"a\rb", b"a\0b", b"\n", b"\x01", b"a\x1f", b"\x7f\xff"])
    @pytest.mark.parametrize("name", [b"x-inject", b"X-Never-Seen-Before", b"content-type"])
    def test_a_value_holds_no_control_character(self, name: bytes, value: bytes) -> None:
        make_encoder().start(200, [(b"content-type", b"text/plain")])  # a name that is known, and one that is not
        with pytest.raises(ResponseError, match=f"{name!r} holds a control character"):
            make_encoder().start(200, [(b"content-type", b"text/plain"), (name, value), (b"x-sound", b"1")])

    @pytest.mark.parametrize("name", [b"", b"x y", b"x:", b"x\r\ny", b"x\n", b"\xe9", b"(x)", b" x"])
    def test_a_name_has_to_be_a_token(self, name: bytes) -> None:
        with pytest.raises(ResponseError, match="not a token"):
            make_encoder().start(200, [(name, b"1")])

    @pytest.mark.parametrize(
        "headers",
        [
            [("content-type", b"text/plain")],
            [(b"content-type", "text/plain")],
            [(b"x-new-name", 1)],
            [(1, b"x")],
            [(bytearray(b"x"), b"y")],
            [("content-length", "5")],
            [(b"content-length", 5)],
            [b"content-type: text/plain"],
            [(b"a", b"b", b"c")],
            [None],
            {b"a": b"b"},
            None,
        ],
    )
    def test_what_is_no_pair_of_bytes_is_refused_with_advice(self, headers: Any) -> None:
        with pytest.raises(ResponseError, match="pairs of bytes"):
            make_encoder().start(200, headers)

    def test_any_other_octet_is_passed_on(self) -> None:
        value = b"\t" + bytes(octet for octet in range(0x20, 256) if octet != 0x7F)
        for _ in range(2):  # a name that is new, and one that is known
            assert (
                head_of(encode(make_encoder(), 200, [(b"x-every-octet", value)], b""))[1] == b"x-every-octet: " + value
            )

    def test_headers_may_come_from_a_generator(self) -> None:
        encoder = make_encoder()
        encoder.start(200, ((name, b"1") for name in (b"x-a", b"x-b")))
        assert head_of(b"".join(encoder.body(b"", False)))[1:3] == [b"x-a: 1", b"x-b: 1"]

    def test_fields_keep_their_order_and_their_spelling(self) -> None:
        octets = encode(make_encoder(), 200, [(b"Set-Cookie", b"a=1"), (b"x-a", b""), (b"set-cookie", b"b=2")], b"")
        assert head_of(octets)[1:4] == [b"Set-Cookie: a=1", b"x-a: ", b"set-cookie: b=2"]

    def test_unknown_names_do_not_fill_the_memory(self) -> None:
        from appserver.http1 import response

        for number in range(response._MAX_PREFIXES + 10):
            make_encoder().start(200, [(b"x-%d" % number, b"1")])
        assert len(response._PREFIXES) <= response._MAX_PREFIXES
        assert head_of(encode(make_encoder(), 200, [(b"x-one-more", b"1")], b""))[1] == b"x-one-more: 1"


class TestStatus:
    """RFC 9110 section 15."""

    @pytest.mark.parametrize(
        ("status", "line"), [(200, b"HTTP/1.1 200 OK"), (418, b"HTTP/1.1 418 I'm a Teapot"), (299, b"HTTP/1.1 299 ")]
    )
    def test_the_status_line_has_its_phrase_if_there_is_one(self, status: int, line: bytes) -> None:
        assert head_of(encode(make_encoder(), status, [], b""))[0] == line

    @pytest.mark.parametrize("status", [0, 100, 101, 103, 199, 1000, -200, "200", None, 200.5, 200.0, True, []])
    def test_a_response_has_a_final_status(self, status: Any) -> None:
        with pytest.raises(ResponseError, match="from 200 to 999"):
            make_encoder().start(status, [])

    def test_a_status_may_be_a_member_of_an_enumeration(self) -> None:
        encoder = make_encoder()
        assert head_of(encode(encoder, HTTPStatus.NOT_FOUND, [], b""))[0] == b"HTTP/1.1 404 Not Found"
        assert type(encoder.status) is int


class TestEncodedDefaults:
    def test_the_servers_own_fields_come_last(self) -> None:
        defaults = EncodedDefaults("appserver", date=True, fields=[("X-Frame-Options", "DENY")])
        defaults.refresh(784111777)
        encoder = ResponseEncoder(defaults)
        assert head_of(encode(encoder, 200, [(b"x-a", b"1")], b""))[1:] == [
            b"x-a: 1",
            b"content-length: 0",
            b"server: appserver",
            b"date: Sun, 06 Nov 1994 08:49:37 GMT",
            b"X-Frame-Options: DENY",
        ]

    @pytest.mark.parametrize("name", [b"date", b"Date"])
    def test_a_date_of_the_application_takes_the_place_of_ours(self, name: bytes) -> None:
        octets = encode(make_encoder(server="s", date=True), 200, [(name, b"x")], b"")
        assert octets.lower().count(b"\r\ndate: ") == 1
        assert b"server: s" in octets

    @pytest.mark.parametrize("name", [b"server", b"Server"])
    def test_a_server_of_the_application_takes_the_place_of_ours(self, name: bytes) -> None:
        octets = encode(make_encoder(server="s", date=True), 200, [(name, b"x")], b"")
        assert octets.lower().count(b"\r\nserver: ") == 1
        assert b"\r\ndate: " in octets

    def test_both_can_be_given(self) -> None:
        octets = encode(make_encoder(server="s", date=True), 200, [(b"server", b"x"), (b"date", b"y")], b"")
        assert head_of(octets)[1:] == [b"server: x", b"date: y", b"content-length: 0"]

    def test_both_can_be_switched_off(self) -> None:
        assert head_of(encode(make_encoder(), 200, [], b""))[1:] == [b"content-length: 0"]


class TestErrorResponses:
    def test_an_error_is_one_line_of_text(self) -> None:
        encoder = make_encoder(keep_alive=False)
        octets = b"".join(error_response(encoder, RequestError(400, "bad_request", "no Host")))
        assert head_of(octets) == [
            b"HTTP/1.1 400 Bad Request",
            b"content-type: text/plain; charset=utf-8",
            b"content-length: 25",
            b"connection: close",
        ]
        assert body_of(octets) == b"400 Bad Request: no Host\n"

    def test_an_error_for_head_has_no_body(self) -> None:
        octets = b"".join(error_response(make_encoder("HEAD"), RequestError(413, "body_too_large", "too large")))
        assert body_of(octets) == b""

    def test_503_says_when_to_come_again(self) -> None:
        octets = b"".join(error_response(make_encoder(), RequestError(503, "overload", "full")))
        assert b"retry-after: 1" in octets
