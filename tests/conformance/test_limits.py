"""Size limits of a head: what has to fit, and what is cut off while it arrives."""

from __future__ import annotations

import pytest

from tests.conformance.client import request
from tests.conformance.levels import sec, should
from tests.conformance.site import TOO_LARGE, Site


@should("RFC 9112 3")
def test_a_target_of_8000_octets_is_accepted(site: Site) -> None:
    target = b"/" + b"a" * 7999
    assert site.echo(request(b"GET " + target))["path"] == target.decode()


@should("RFC 9110 5.4")
def test_a_value_of_8000_octets_is_accepted(site: Site) -> None:
    assert ["cookie", "c" * 8000] in site.echo(site.get(b"Cookie: " + b"c" * 8000))["headers"]


@should("RFC 9110 5.4")
def test_ninety_fields_are_accepted(site: Site) -> None:
    assert len(site.echo(site.get(*[b"X-%d: 1" % number for number in range(90)]))["headers"]) == 91


@sec("RFC 9112 3; RFC 9110 15.5.15")
@pytest.mark.parametrize("size", [20_000, 1 << 20])
def test_a_long_target_is_refused(site: Site, size: int) -> None:
    site.refuse(request(b"GET /o%b/%b" % (site.token, b"a" * size)), statuses={414}, silent=size > 20_000)


@sec("RFC 9110 5.4; RFC 6585 5")
@pytest.mark.parametrize("size", [70_000, 1 << 20])
def test_a_large_value_is_refused(site: Site, size: int) -> None:
    site.refuse(site.get(b"X-A: " + b"a" * size), statuses={431}, silent=size > 70_000)


@sec("RFC 9110 5.4; RFC 6585 5")
def test_a_large_name_is_refused(site: Site) -> None:
    site.refuse(site.get(b"X" * 70_000 + b": 1"), statuses={431})


@sec("RFC 6585 5")
@pytest.mark.parametrize("count", [150, 20_000])
def test_many_fields_are_refused(site: Site, count: int) -> None:
    site.refuse(site.get(*[b"X-%d: 1" % number for number in range(count)]), statuses={431}, silent=count > 150)


@sec("RFC 6585 5")
@pytest.mark.parametrize(
    "start", [b"GET /", b"GET /o%b HTTP/1.1\r\nHost: x\r\nX-A: ", b"GET /o%b HTTP/1.1\r\nHost: x\r\n"]
)
def test_a_head_that_never_ends_is_cut_off(site: Site, start: bytes) -> None:
    """The third one has complete lines without end."""
    piece = b"a" * 65536 if not start.endswith(b"\n") else b"X-A: 0123456789\r\n" * 4096
    site.refuse(start.replace(b"%b", site.token), *[piece] * 32, statuses=TOO_LARGE, silent=True)
