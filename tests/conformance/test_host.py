"""The Host field, on which routing, caches and access control of whoever stands in front depend."""

from __future__ import annotations

import pytest

from tests.conformance.levels import must, should
from tests.conformance.site import Site


@must("RFC 9112 3.2")
@pytest.mark.parametrize(
    "fields",
    [
        pytest.param([], id="none"),
        pytest.param([b"Host: x", b"Host: x"], id="two equal ones"),
        pytest.param([b"Host: x", b"hOsT: y"], id="two different ones"),
        pytest.param([b"Host: x", b"X-A: 1", b"Host:"], id="the second one is empty"),
        pytest.param([b"Host: u@x"], id="userinfo"),
        pytest.param([b"Host: a, b"], id="a list"),
        pytest.param([b"Host: a,b"], id="a comma"),
        pytest.param([b"Host: a b"], id="a space"),
        pytest.param([b"Host: x/y"], id="a path"),
        pytest.param([b"Host: x?y"], id="a query"),
        pytest.param([b"Host: x#y"], id="a fragment"),
        pytest.param([b"Host: http://x"], id="a scheme"),
        pytest.param([b"Host: x:y"], id="a port that is none"),
        pytest.param([b"Host: x:80:80"], id="two ports"),
        pytest.param([b"Host: x:-1"], id="a negative port"),
        pytest.param([b"Host: ::1"], id="IPv6 without brackets"),
        pytest.param([b"Host: [::1"], id="half a bracket"),
        pytest.param([b"Host: [::1]x"], id="more behind the bracket"),
        pytest.param([b"Host: x\\y"], id="a backslash"),
        pytest.param([b"Host: \xe4"], id="obs-text"),
        pytest.param([b'Host: "x"'], id="quotes"),
        pytest.param([b"Host: x%"], id="half a percent-encoding"),
        pytest.param([b"Host: <x>"], id="angle brackets"),
    ],
)
def test_a_missing_double_or_malformed_host_is_answered_400(site: Site, fields: list[bytes]) -> None:
    site.refuse(site.get(*fields, host=None), statuses={400})


@must("RFC 9112 3.2")
@pytest.mark.parametrize("fields", [b"", b"Host: a b\r\n", b"Host: x\r\nHost: x\r\n"])
def test_so_is_one_beside_an_absolute_form(site: Site, fields: bytes) -> None:
    site.refuse(b"GET http://x/o%b HTTP/1.1\r\n%b\r\n" % (site.token, fields), statuses={400})


@must("RFC 9110 7.2")
@pytest.mark.parametrize(
    "host",
    [b"x", b"X.Example", b"x:8080", b"x:", b"127.0.0.1:80", b"[::1]:8080", b"[::ffff:1.2.3.4]", b"a_b", b"%41", b""],
)
def test_a_valid_host_is_accepted(site: Site, host: bytes) -> None:
    assert ["host", host.decode()] in site.echo(site.get(host=host))["headers"]


@must("RFC 9112 3.2")
def test_http_1_0_needs_no_host(site: Site) -> None:
    assert site.echo(b"GET /o%b HTTP/1.0\r\n\r\n" % site.token)["http_version"] == "1.0"


@should("RFC 9112 3.2")
def test_host_need_not_be_the_first_field(site: Site) -> None:
    assert site.echo(b"GET /o HTTP/1.1\r\nX-A: 1\r\nHost: y\r\n\r\n")["headers"] == [["x-a", "1"], ["host", "y"]]
