"""The chunked coding: sizes, extensions, trailers, and what is nearly one of them."""

from __future__ import annotations

import pytest

from tests.conformance.client import CHUNKED
from tests.conformance.levels import must, sec, should
from tests.conformance.site import Site

END = b"0\r\n\r\n"
HELLO = b"5\r\nhello\r\n"


@must("RFC 9112 7.1")
def test_sizes_in_both_cases_and_with_zeros(site: Site) -> None:
    body = HELLO + b"A\r\n0123456789\r\n00b\r\n abcdefghij\r\n" + END
    assert site.echo(site.post(CHUNKED, body=body), method="POST")["body"] == "hello0123456789 abcdefghij"


@must("RFC 9112 7.1")
def test_octet_by_octet(site: Site) -> None:
    body = HELLO + b"3;a\r\n\r\n0\r\n" + END
    pieces = [body[index : index + 1] for index in range(len(body))]
    assert site.echo(site.post(CHUNKED), *pieces, method="POST")["body"] == "hello\r\n0"


@must("RFC 9112 7.1.1")
@pytest.mark.parametrize("line", [b'5;a=b;c="d e";f', b"5 ;a = b", b'5;a=";\\"x"'])
def test_unknown_extensions_are_ignored(site: Site, line: bytes) -> None:
    assert site.echo(site.post(CHUNKED, body=line + b"\r\nhello\r\n0;z\r\n\r\n"), method="POST")["body"] == "hello"


@must("RFC 9112 7.1.2")
def test_a_trailer_section_does_not_disturb_what_follows(site: Site) -> None:
    with site.connect() as client:
        client.send(site.post(CHUNKED, body=HELLO + b"0\r\nX-A: 1\r\nX-B: 2\r\n\r\n"))
        assert client.responses(1, "POST")[0].json()["body"] == "hello"
        site.survive(client)


@must("RFC 9110 6.5.1")
def test_framing_and_routing_fields_in_the_trailer_section_are_not_used(site: Site) -> None:
    trailer = b"Content-Length: 99\r\nTransfer-Encoding: chunked\r\nHost: evil\r\nAuthorization: x\r\n"
    with site.connect() as client:
        client.send(site.post(CHUNKED, body=HELLO + b"0\r\n" + trailer + b"\r\n"))
        seen = client.responses(1, "POST")[0].json()
        assert seen["body"] == "hello"
        assert ["host", "x"] in seen["headers"]
        assert not [name for name, _ in seen["headers"] if name in ("content-length", "authorization")]
        site.survive(client)


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"0x5\r\nhello\r\n" + END, marks=must("RFC 9112 7.1"), id="0x prefix"),
        pytest.param(b"+5\r\nhello\r\n" + END, marks=must("RFC 9112 7.1"), id="plus sign"),
        pytest.param(b"-5\r\nhello\r\n" + END, marks=must("RFC 9112 7.1"), id="minus sign"),
        pytest.param(b"0_5\r\nhello\r\n" + END, marks=must("RFC 9112 7.1"), id="underscore"),
        pytest.param(b"\r\nhello\r\n" + END, marks=must("RFC 9112 7.1"), id="no size"),
        pytest.param(b";a\r\nhello\r\n" + END, marks=must("RFC 9112 7.1"), id="an extension without a size"),
        pytest.param(b" 5\r\nhello\r\n" + END, marks=must("RFC 9112 7.1"), id="space before the size"),
        pytest.param(b"5 \r\nhello\r\n" + END, marks=should("RFC 9112 7.1.1"), id="space behind the size"),
        pytest.param(b"5\x0b\r\nhello\r\n" + END, marks=must("RFC 9112 7.1"), id="VT behind the size"),
        pytest.param(b"5\xc2\xa0\r\nhello\r\n" + END, marks=must("RFC 9112 7.1"), id="no-break space behind the size"),
        pytest.param(b"G\r\nhello\r\n" + END, marks=must("RFC 9112 7.1"), id="not hexadecimal"),
        pytest.param(b"10000000000000005\r\nhello\r\n" + END, marks=must("RFC 9112 7.1"), id="2**64 + 5"),
        pytest.param(b"100000005\r\nhello\r\n" + END, marks=must("RFC 9112 8"), id="2**32 + 5, which never comes"),
        pytest.param(b"fffffffffffffffffffff\r\nhello\r\n" + END, marks=must("RFC 9112 7.1"), id="21 digits"),
        pytest.param(b"5\r\nhelloXX" + END, marks=must("RFC 9112 7.1"), id="no CRLF behind the data"),
        pytest.param(b"5\r\nhello" + END, marks=must("RFC 9112 7.1"), id="nothing behind the data"),
        pytest.param(b"4\r\nhello\r\n" + END, marks=must("RFC 9112 7.1"), id="data longer than its size"),
        pytest.param(b"5\r\nhello\n" + END, marks=sec("RFC 9112 7.1"), id="LF behind the data"),
        pytest.param(b"5\r\nhello\r" + END, marks=sec("RFC 9112 7.1"), id="CR behind the data"),
        pytest.param(b"5\nhello\r\n" + END, marks=sec("RFC 9112 7.1"), id="LF behind the size"),
        pytest.param(b"5\rXhello\r\n" + END, marks=must("RFC 9112 7.1"), id="CR behind the size"),
        pytest.param(b"5;a\nhello\r\n" + END, marks=sec("RFC 9112 7.1.1"), id="LF in an extension"),
        pytest.param(b"5;a\rb\r\nhello\r\n" + END, marks=sec("RFC 9112 7.1.1"), id="CR in an extension"),
        pytest.param(b"5;a=\x00\r\nhello\r\n" + END, marks=sec("RFC 9112 7.1.1"), id="NUL in an extension"),
        pytest.param(b'5;a="\n"\r\nhello\r\n' + END, marks=sec("RFC 9112 7.1.1"), id="LF in a quoted extension"),
        pytest.param(HELLO + b"0\r\nno field line\r\n\r\n", marks=sec("RFC 9112 7.1.2"), id="trailer without a colon"),
        pytest.param(
            HELLO + b"0\r\nA : b\r\n\r\n", marks=must("RFC 9112 5.1"), id="trailer with space before the colon"
        ),
        pytest.param(HELLO + b"0\r\nA: b\r\n c\r\n\r\n", marks=must("RFC 9112 5.2"), id="folded trailer"),
        pytest.param(HELLO + b"0\r\nA: b\nB: c\r\n\r\n", marks=sec("RFC 9112 2.2"), id="LF in the trailer section"),
        pytest.param(HELLO + b"0\r\n\n", marks=sec("RFC 9112 2.2"), id="LF at the end"),
    ],
)
def test_a_malformed_body_is_refused(site: Site, body: bytes) -> None:
    """One size is valid: its octets never come, so the connection ends without the application having them all."""
    with site.connect() as client:
        client.send(site.post(CHUNKED, body=body) + site.smuggled())
        client.finish()
        assert client.wait_closed()
        assert len(client.finals("POST")) <= 1
        assert not [response for response in client.finals("POST") if response.status < 400]
    seen = site.seen()
    assert not [found for found in seen if found["complete"] or "smuggled" in found["target"]]


@must("RFC 9112 7.1")
def test_a_malformed_size_is_refused_at_once(site: Site) -> None:
    site.refuse(site.post(CHUNKED, body=b"0x5\r\nhello\r\n" + END), started=True)


@sec("RFC 9112 7.1.1; CVE-2023-39326")
def test_a_megabyte_of_an_extension_is_cut_off(site: Site) -> None:
    site.refuse(
        site.post(CHUNKED, body=b"5;a="), *[b"b" * 65536] * 16, b"\r\nhello\r\n" + END, started=True, silent=True
    )


@sec("RFC 9112 7.1.1; CVE-2023-39326")
def test_extensions_without_end_around_single_octets_are_cut_off(site: Site) -> None:
    chunks = b"1;aaaaaaaaaaaaaaaaaaaa\r\nx\r\n" * 20_000
    site.refuse(site.post(CHUNKED, body=chunks + END), started=True, silent=True)


@sec("RFC 6585 5")
def test_a_megabyte_of_trailers_is_cut_off(site: Site) -> None:
    site.refuse(
        site.post(CHUNKED, body=b"0\r\n" + b"X-A: 0123456789\r\n" * 60_000 + b"\r\n"), started=True, silent=True
    )


@must("RFC 9112 8")
@pytest.mark.parametrize(
    "body",
    [b"", b"5", b"5\r\nhel", b"5\r\nhello", HELLO, HELLO + b"3\r\na", HELLO + b"0\r\n", HELLO + b"0\r\nA: b\r\n"],
)
def test_a_client_that_ends_within_the_body_has_not_sent_a_request(site: Site, body: bytes) -> None:
    with site.connect() as client:
        client.send(site.post(CHUNKED, body=body), 0.05)
        client.finish()
        assert client.wait_closed()
        assert not [response for response in client.finals("POST") if response.status < 400]
    assert not [found for found in site.seen() if found["complete"]]
