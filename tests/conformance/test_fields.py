"""Lines and fields: line ends, white space, control characters, names."""

from __future__ import annotations

import pytest

from tests.conformance.levels import must, sec, should
from tests.conformance.site import Site


@must("RFC 9112 2.2")
def test_lines_that_end_with_lf_are_refused(site: Site) -> None:
    site.refuse(b"GET /o%b HTTP/1.1\nHost: x\nX-A: 1\n\n" % site.token)


@must("RFC 9112 2.2")
@pytest.mark.parametrize(
    "field",
    [
        pytest.param(b"X-A: a\rSmug: b", id="CR in a value"),
        pytest.param(b"X-A: 1\rX-B: 2\rX-C: 3", id="CR between fields"),
        pytest.param(b"X-A: a\nX-B: b", id="LF between fields"),
        pytest.param(b"X-A: a\n\rX-B: b", id="LF CR between fields"),
        pytest.param(b"X-A: a\r\r\nX-B: b", id="CR CR LF between fields"),
        pytest.param(b"X-A: a\n\nGET /smuggled", id="LF LF as the end"),
        pytest.param(b"\nX-A: a", id="an LF line"),
    ],
)
def test_a_bare_cr_or_lf_ends_no_line(site: Site, field: bytes) -> None:
    site.refuse(site.get(field))


@must("RFC 9112 5.2")
@pytest.mark.parametrize(
    "field", [b"X-A: one\r\n X-B: two", b"X-A: one\r\n\tX-B: two", b"X-A:\r\n \r\n X-B: two", b"Host:\r\n y"]
)
def test_folded_values_are_refused(site: Site, field: bytes) -> None:
    site.refuse(site.get(field))


@must("RFC 9112 2.2")
@pytest.mark.parametrize("line", [b" X-A: 1", b"\tX-A: 1", b" ", b" Host: evil"])
def test_white_space_before_the_first_field_is_refused(site: Site, line: bytes) -> None:
    site.refuse(b"GET /o%b HTTP/1.1\r\n%b\r\nHost: x\r\n\r\n" % (site.token, line))


@must("RFC 9112 5.1")
@pytest.mark.parametrize(
    "field", [b"X-A : 1", b"X-A\t: 1", b"Content-Length : 5", b"Host : y", b"Transfer-Encoding : chunked"]
)
def test_white_space_before_the_colon_is_answered_400(site: Site, field: bytes) -> None:
    site.refuse(site.get(field), statuses={400})


@must("RFC 9110 5.1, 5.6.2")
@pytest.mark.parametrize(
    "field",
    [
        *(
            b"this line has no colon",
            b": value",
            b"X[a]: 1",
            b"X\x00A: 1",
            b"X\xefA: 1",
            b"X A: 1",
            b"X\rA: 1",
            b"X\x7fA: 1",
        ),
        *(
            b'"X": 1',
            b"X(A): 1",
            b"X,A: 1",
            b"X/A: 1",
            b"X@A: 1",
            b"X;A: 1",
            b"X\x0bA: 1",
            b"\x00: 1",
            b"X-\xc3\xa9: 1",
        ),
    ],
)
def test_a_name_that_is_no_token_is_refused(site: Site, field: bytes) -> None:
    site.refuse(site.get(field))


@must("RFC 9110 5.5")
def test_nul_in_a_value_is_refused(site: Site) -> None:
    site.refuse(site.get(b"X-A: a\x00b"))


@should("RFC 9110 5.5")
@pytest.mark.parametrize("value", [b"a\x07b", b"a\x7f", b"\x01", b"a\x1b[0m", b"a\x0bb", b"a\x0cb"])
def test_other_control_characters_in_a_value_are_refused(site: Site, value: bytes) -> None:
    site.refuse(site.get(b"X-A: " + value))


@must("RFC 9110 5.5")
def test_values_arrive_as_they_were_sent_but_for_the_white_space_around_them(site: Site) -> None:
    fields = (b"X-A: \t a  b\t", b"X-B:", b"X-C:c", b"X-D: \xe4\xff", b"X-E: a\tb", b"x-a: 2", b"X-F::")
    headers = site.echo(site.get(*fields))["headers"]
    assert [header for header in headers if header[0] != "host"] == [
        ["x-a", "a  b"],
        ["x-b", ""],
        ["x-c", "c"],
        ["x-d", "\xe4\xff"],
        ["x-e", "a\tb"],
        ["x-a", "2"],
        ["x-f", ":"],
    ]


@should("RFC 9112 2.2")
def test_an_empty_line_before_the_request_line_is_ignored(site: Site) -> None:
    site.echo(b"\r\n" + site.get())


@should("RFC 9112 2.2")
def test_an_empty_line_behind_a_body_is_ignored(site: Site) -> None:
    with site.connect() as client:
        client.send(site.post(b"Content-Length: 5", body=b"hello\r\n"))
        assert client.responses(1, "POST")[0].status == 200
        site.survive(client)


@sec("RFC 9112 2.2")
def test_empty_lines_without_end_are_refused(site: Site) -> None:
    site.refuse(b"\r\n" * 1000, silent=True)


@should("robustness")
def test_a_tls_client_hello_is_refused_at_once(site: Site) -> None:
    site.refuse(bytes.fromhex("16030100c8010000c40303") + bytes(range(64, 96)) + b"\x00" * 157)


@sec("RFC 9112 2.2")
@pytest.mark.parametrize(
    "data",
    [
        bytes((index * 73 + 41) % 256 for index in range(1024)).replace(b"\n", b"x") + b"\r\n\r\n",
        b"\x00" * 1024,
        b"\xff" * 1024,
        b"\n\n\n\n",
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"\x80\x2e\x01\x00\x02",
    ],
    ids=["noise", "NUL", "0xff", "LF", "SSH", "SSL 2"],
)
def test_what_is_not_http_is_refused_at_once(site: Site, data: bytes) -> None:
    site.refuse(data)
