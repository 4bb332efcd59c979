"""The request line: method, target in its four forms, version."""

from __future__ import annotations

import pytest

from tests.conformance.client import request
from tests.conformance.levels import must, sec, should
from tests.conformance.site import Site


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(b"G@T /o%b HTTP/1.1", marks=must("RFC 9110 9.1"), id="@ in the method"),
        pytest.param(b"G\xc3\x89T /o%b HTTP/1.1", marks=must("RFC 9110 9.1"), id="UTF-8 in the method"),
        pytest.param(b"GET\x00 /o%b HTTP/1.1", marks=must("RFC 9110 9.1"), id="NUL in the method"),
        pytest.param(b" /o%b HTTP/1.1", marks=must("RFC 9112 3"), id="no method"),
        pytest.param(b" GET /o%b HTTP/1.1", marks=must("RFC 9112 2.2"), id="space before the method"),
        pytest.param(
            b"GET /o%b\x01a HTTP/1.1", marks=sec("RFC 9112 3.2; RFC 3986"), id="control character in the target"
        ),
        pytest.param(b"GET /o%b\x00a HTTP/1.1", marks=must("RFC 9112 3.2"), id="NUL in the target"),
        pytest.param(b"GET /o%b\x7f HTTP/1.1", marks=sec("RFC 9112 3.2; RFC 3986"), id="DEL in the target"),
        pytest.param(b"GET /o%b\ta HTTP/1.1", marks=must("RFC 9112 3.2"), id="tab in the target"),
        pytest.param(b"GET /o%b a HTTP/1.1", marks=must("RFC 9112 3.2"), id="space in the target"),
        pytest.param(b"GET /o%b\ra HTTP/1.1", marks=must("RFC 9112 2.2"), id="CR in the target"),
        pytest.param(b"GET /o%b#a HTTP/1.1", marks=must("RFC 9112 3.2"), id="fragment"),
        pytest.param(b"GET /o%b\xc3\xa9 HTTP/1.1", marks=should("RFC 9112 3.2; RFC 3986"), id="UTF-8 in the target"),
        pytest.param(b"GET o%b/x HTTP/1.1", marks=must("RFC 9112 3.2"), id="relative path"),
        pytest.param(b"GET ?o%b HTTP/1.1", marks=must("RFC 9112 3.2"), id="query alone"),
        pytest.param(b"GET o%b.example:80 HTTP/1.1", marks=must("RFC 9112 3.2.3"), id="authority-form with GET"),
        pytest.param(b"GET *%b HTTP/1.1", marks=must("RFC 9112 3.2.4"), id="asterisk with more"),
        pytest.param(b"GET * HTTP/1.1", marks=must("RFC 9112 3.2.4"), id="asterisk with GET"),
        pytest.param(b"GET http:///o%b HTTP/1.1", marks=must("RFC 9110 4.2.1"), id="absolute-form without a host"),
        pytest.param(b"GET http://u:p@x/o%b HTTP/1.1", marks=sec("RFC 9110 4.2.4"), id="userinfo"),
        pytest.param(b"GET http://x\\@y/o%b HTTP/1.1", marks=sec("RFC 3986"), id="backslash in the authority"),
        pytest.param(b"GET http://x:y/o%b HTTP/1.1", marks=must("RFC 3986"), id="absolute-form with a bad port"),
        pytest.param(b"GET ftp://x/o%b HTTP/1.1", marks=should("RFC 9110 7.4"), id="another scheme"),
        pytest.param(b"GET /o%b", marks=sec("RFC 9112 2.3, 3"), id="HTTP/0.9"),
        pytest.param(b"GET /o%b HTTP/2.0", marks=sec("RFC 9112 2.3; RFC 9110 2.5"), id="HTTP/2.0"),
        pytest.param(b"GET /o%b HTTP/0.9", marks=sec("RFC 9112 2.3; RFC 9110 2.5"), id="0.9 as a version"),
        pytest.param(b"GET /o%b HTTP/1", marks=must("RFC 9112 2.3"), id="no minor version"),
        pytest.param(b"GET /o%b HTTP/1.", marks=must("RFC 9112 2.3"), id="empty minor version"),
        pytest.param(b"GET /o%b HTTP/1.1x", marks=must("RFC 9112 2.3"), id="letter behind the version"),
        pytest.param(b"GET /o%b HTTP/1.10", marks=must("RFC 9112 2.3"), id="two digits"),
        pytest.param(b"GET /o%b HTTP/01.1", marks=must("RFC 9112 2.3"), id="leading zero"),
        pytest.param(b"GET /o%b HTTP/+1.1", marks=must("RFC 9112 2.3"), id="sign"),
        pytest.param(b"GET /o%b http/1.1", marks=must("RFC 9112 2.3"), id="lower case"),
        pytest.param(b"GET /o%b HTTPS/1.1", marks=must("RFC 9112 2.3"), id="another name"),
        pytest.param(b"GET /o%b RTSP/1.0", marks=must("RFC 9112 2.3"), id="RTSP"),
        pytest.param(b"GET /o%b HTTP/1.1 ", marks=should("RFC 9112 3"), id="space behind the version"),
        pytest.param(b"GET /o%b\nHTTP/1.1", marks=sec("RFC 9112 3"), id="LF as a separator"),
        pytest.param(b"GET\t/o%b HTTP/1.1", marks=should("RFC 9112 3"), id="tab as a separator"),
        pytest.param(b"GET  /o%b HTTP/1.1", marks=should("RFC 9112 3"), id="two spaces"),
        pytest.param(b"GET /o%b  HTTP/1.1", marks=should("RFC 9112 3"), id="two spaces before the version"),
    ],
)
def test_a_malformed_request_line_is_refused(site: Site, line: bytes) -> None:
    site.refuse(line.replace(b"%b", site.token) + b"\r\nHost: x\r\n\r\n")


@should("RFC 9110 15.6.6")
def test_another_major_version_is_answered_505(site: Site) -> None:
    site.refuse(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", statuses={505})


@must("RFC 9110 2.5")
def test_a_higher_minor_version_is_treated_as_1_1(site: Site) -> None:
    assert site.echo(b"GET /o%b HTTP/1.2\r\nHost: x\r\n\r\n" % site.token)["http_version"] == "1.1"


@must("RFC 9110 9.1")
@pytest.mark.parametrize("method", [b"GETX", b"get", b"PROPFIND", b"M-SEARCH", b"X!#$%&'*+-.^_`|~", b"G" * 60])
def test_any_token_is_a_method_of_its_own(site: Site, method: bytes) -> None:
    assert site.echo(request(method + b" /o" + site.token))["method"] == method.decode()


@sec("RFC 9112 3")
@pytest.mark.parametrize("size", [100, 1_000_000])
def test_an_endless_method_is_refused(site: Site, size: int) -> None:
    site.refuse(b"G" * size + b" /o%b HTTP/1.1\r\nHost: x\r\n\r\n" % site.token, silent=size > 100)


class TestTarget:
    @must("RFC 9112 3.2.1; ASGI path and query_string")
    @pytest.mark.parametrize(
        ("target", "path", "query"),
        [
            (b"//x/y", "//x/y", ""),
            (b"/a:b@c/d", "/a:b@c/d", ""),
            (b"/;p=1", "/;p=1", ""),
            (b"/a?b?c=/d", "/a", "b?c=/d"),
            (b"/?", "/", ""),
            (b"/%2e%2e/x", "/../x", ""),
            (b"/a/../x", "/a/../x", ""),
            (b"/a//b/", "/a//b/", ""),
            (b"/a%2Fb%3Fc", "/a/b?c", ""),
            (b"/caf%C3%A9", "/caf\u00e9", ""),
            (b"/a+b?c+d=%20", "/a+b", "c+d=%20"),
            (b"/%", "/%", ""),
            (b'/a|b{c}^`"<>\\[d]', '/a|b{c}^`"<>\\[d]', ""),
            (b"/http://y/", "/http://y/", ""),
        ],
    )
    def test_origin_form_arrives_undisturbed(self, site: Site, target: bytes, path: str, query: str) -> None:
        seen = site.echo(request(b"GET " + target))
        assert (seen["path"], seen["query"]) == (path, query)
        assert seen["raw_path"] == target.decode().partition("?")[0]

    @must("RFC 9112 3.2.2")
    @pytest.mark.parametrize(
        ("target", "path", "query"),
        [
            (b"http://x/p?q=1", "/p", "q=1"),
            (b"HTTP://x", "/", ""),
            (b"http://x?q", "/", "q"),
            (b"https://x:1/%41", "/A", ""),
        ],
    )
    def test_absolute_form_is_accepted(self, site: Site, target: bytes, path: str, query: str) -> None:
        seen = site.echo(request(b"GET " + target))
        assert (seen["path"], seen["query"]) == (path, query)

    @must("RFC 9112 3.2.2")
    def test_the_host_of_an_absolute_form_replaces_the_field(self, site: Site) -> None:
        seen = site.echo(request(b"GET http://good.example:81/o", host=b"evil.example"))
        assert [value for name, value in seen["headers"] if name == "host"] == ["good.example:81"]

    @must("RFC 9112 3.2.4")
    def test_options_for_the_server_as_a_whole(self, site: Site) -> None:
        assert site.echo(request(b"OPTIONS *"))["path"] == "*"

    @should("RFC 9110 9.3.6")
    def test_connect_is_refused(self, site: Site) -> None:
        site.refuse(request(b"CONNECT o%b.example:443" % site.token, host=b"x:443"), statuses={501})
