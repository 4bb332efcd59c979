"""Content-Length and Transfer-Encoding: where a body ends, and every way of making two readers disagree about it."""

from __future__ import annotations

import pytest

from tests.conformance.client import ANSWER_WITHIN, CHUNKED, request
from tests.conformance.levels import must, sec, should
from tests.conformance.site import Site


def length(value: bytes | int) -> bytes:
    return b"Content-Length: %b" % (value if isinstance(value, bytes) else b"%d" % value)


class TestContentLengthAndTransferEncoding:
    @must("RFC 9112 6.1, 6.3 (3)")
    def test_a_request_hidden_behind_the_chunked_end_is_not_served(self, site: Site) -> None:
        site.refuse(site.post(length(5), CHUNKED, body=b"0\r\n\r\n") + site.smuggled())

    @must("RFC 9112 6.1, 6.3 (3)")
    def test_a_request_hidden_behind_the_length_is_not_served(self, site: Site) -> None:
        body = b"5\r\nhello\r\n0\r\n\r\n"
        site.refuse(site.post(CHUNKED, length(4), body=body) + site.smuggled())

    @must("RFC 9112 6.1, 6.3 (3)")
    def test_a_request_hidden_in_a_chunk_behind_length_0_is_not_served(self, site: Site) -> None:
        inner = site.smuggled()
        site.refuse(site.post(length(0), CHUNKED, body=b"%x\r\n%b\r\n0\r\n\r\n" % (len(inner), inner)))

    @must("RFC 9112 6.1")
    def test_an_unknown_coding_is_not_replaced_by_the_length(self, site: Site) -> None:
        site.refuse(site.post(b"Transfer-Encoding: x", length(5), body=b"hello"))

    @must("RFC 9110 5.6.1.2; RFC 9112 6.1")
    def test_an_empty_list_member_before_chunked_does_not_make_the_length_count(self, site: Site) -> None:
        site.refuse(site.post(b"Transfer-Encoding: ,chunked", length(5), body=b"0\r\n\r\n") + site.smuggled())

    @must("RFC 9112 5.2, 6.1")
    def test_a_folded_coding_does_not_make_the_length_count(self, site: Site) -> None:
        site.refuse(site.post(b"Transfer-Encoding:\r\n chunked", length(5), body=b"0\r\n\r\n") + site.smuggled())

    @must("RFC 9112 5.1, 6.1")
    def test_a_coding_with_a_space_before_the_colon_does_not_make_the_length_count(self, site: Site) -> None:
        site.refuse(
            site.post(b"Transfer-Encoding : chunked", length(5), body=b"0\r\n\r\n") + site.smuggled(), statuses={400}
        )


class TestContentLength:
    @must("RFC 9112 6.3 (5)")
    @pytest.mark.parametrize("order", [1, -1])
    def test_two_different_lengths_are_refused(self, site: Site, order: int) -> None:
        inner = site.smuggled()
        first, second = (len(inner), 0)[::order]
        site.refuse(site.post(length(first), length(second), body=inner))

    @must("RFC 9110 8.6")
    def test_two_equal_lengths_are_refused(self, site: Site) -> None:
        site.refuse(site.post(length(5), length(5), body=b"hello"))

    @must("RFC 9110 8.6; RFC 9112 6.3 (5)")
    @pytest.mark.parametrize(
        "value",
        [
            *(
                b"5, 6",
                b"5, 5",
                b"5,",
                b"+5",
                b"-5",
                b"0_5",
                b"",
                b"5 5",
                b"0x5",
                b"5.0",
                b"5e0",
                b"five",
                b"5;a",
                b'"5"',
            ),
            *(b"\xd9\xa5", b"\xb2", b"5\x00", b"5\x0b", b"\x0c5", b"-0", b"0b101"),
        ],
    )
    def test_what_is_not_a_number_is_refused(self, site: Site, value: bytes) -> None:
        site.refuse(site.post(length(value), body=b"hello"))

    @must("RFC 9110 8.6")
    @pytest.mark.parametrize("value", [b"18446744073709551621", b"4294967301" * 3, b"9" * 400])
    def test_a_length_that_would_overflow_is_refused(self, site: Site, value: bytes) -> None:
        site.refuse(site.post(length(value), body=b"hello"))

    @must("RFC 9112 6.3; RFC 9110 9.3.1")
    def test_the_body_of_a_get_is_a_body(self, site: Site) -> None:
        inner = site.smuggled()
        with site.connect() as client:
            client.send(request(b"GET /o" + site.token, length(len(inner)), body=inner))
            (response,) = client.responses(1)
            assert response.json()["body"] == inner.decode()
            site.survive(client)

    @must("RFC 9112 9.3")
    def test_a_body_that_the_application_does_not_read_is_not_a_request(self, site: Site) -> None:
        inner = site.smuggled() * 20
        with site.connect() as client:
            client.send(request(b"POST /ignore/" + site.token, length(len(inner)), body=inner) + request(b"GET /next"))
            client.read(lambda: client.closed or len(client.finals("POST")) > 1, ANSWER_WITHIN)
            finals = client.finals("POST")
            assert finals[0].status == 200
            assert len(finals) == 1 or finals[1].json()["path"] == "/next"
            assert len(finals) == 2 or client.closed
        assert [found["target"] for found in site.seen()] == ["/ignore/" + site.token.decode()]


class TestTransferEncoding:
    @must("RFC 9112 6.1, 6.3 (4)")
    @pytest.mark.parametrize(
        "fields",
        [
            pytest.param([b"Transfer-Encoding: xchunked"], id="unknown"),
            pytest.param([b"Transfer-Encoding: identity"], id="identity, gone since RFC 7230"),
            pytest.param([b"Transfer-Encoding: chunked, gzip"], id="chunked not final"),
            pytest.param(
                [b"Transfer-Encoding: chunked", b"Transfer-Encoding: gzip"], id="chunked not final, two fields"
            ),
            pytest.param([b"Transfer-Encoding: "], id="empty"),
            pytest.param([b"Transfer-Encoding: \x0bchunked"], id="VT is no white space"),
            pytest.param([b"Transfer-Encoding: \xa0chunked"], id="nor is a no-break space"),
            pytest.param([b"Transfer-Encoding: chunked\x00"], id="NUL"),
            pytest.param([b"Transfer-Encoding: chunkedchunked"], id="concatenated"),
            pytest.param([b"Transfer-Encoding: chunked;a=b"], id="parameter"),
            pytest.param([b'Transfer-Encoding: "chunked"'], id="quoted"),
            pytest.param([b"Transfer-Encoding: chun ked"], id="space inside"),
            pytest.param([b"Transfer_Encoding: chunked", b"Transfer-Encoding: cow"], id="underscore beside"),
        ],
    )
    def test_what_does_not_end_in_chunked_is_refused(self, site: Site, fields: list[bytes]) -> None:
        site.refuse(site.post(*fields, body=b"0\r\n\r\n") + site.smuggled())

    @sec("RFC 9112 6.1")
    @pytest.mark.parametrize("fields", [[b"Transfer-Encoding: chunked, chunked"], [CHUNKED, CHUNKED]])
    def test_chunked_twice_is_refused(self, site: Site, fields: list[bytes]) -> None:
        site.refuse(site.post(*fields, body=b"0\r\n\r\n") + site.smuggled())

    @should("RFC 9112 6.1, 7.2")
    def test_a_coding_that_cannot_be_decoded_is_not_implemented(self, site: Site) -> None:
        site.refuse(site.post(b"Transfer-Encoding: gzip, chunked", body=b"3\r\nabc\r\n0\r\n\r\n"), statuses={501})

    @must("RFC 9112 7")
    def test_names_of_codings_are_case_insensitive(self, site: Site) -> None:
        seen = site.echo(site.post(b"transfer-ENCODING: ChUnKeD", body=b"5\r\nhello\r\n0\r\n\r\n"), method="POST")
        assert seen["body"] == "hello"

    @must("RFC 9112 6.1")
    @pytest.mark.parametrize("more", [[], [length(5)]])
    def test_a_coding_in_http_1_0_is_faulty_framing(self, site: Site, more: list[bytes]) -> None:
        head = b"POST /o%b HTTP/1.0\r\nHost: x\r\nConnection: keep-alive\r\n" % site.token
        site.refuse(head + b"\r\n".join([CHUNKED, *more, b"", b"0\r\n\r\n"]) + site.smuggled())
