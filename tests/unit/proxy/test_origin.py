"""appserver.proxy.origin: what follows from what a proxy says."""

from __future__ import annotations

import pytest

from appserver.proxy import Origin, Trust, make_reader


class TestHost:
    @pytest.mark.parametrize(
        ("origin", "scheme", "host"),
        [
            (Origin(None), "http", None),
            (Origin(None, authority="a.example"), "https", b"a.example"),
            (Origin(None, authority="a.example", port=443), "https", b"a.example"),
            (Origin(None, authority="a.example", port=80), "https", b"a.example:80"),
            (Origin(None, authority="a.example:8443", port=443), "https", b"a.example:8443"),
            (Origin(None, authority="[::1]", port=8000), "http", b"[::1]:8000"),
            (Origin(None, authority="[::1]"), "http", b"[::1]"),
            (Origin(None, port=8443), "https", b"present:8443"),
            (Origin(None, port=443), "https", b"present"),
        ],
    )
    def test_it_has_the_port_that_the_client_has_used(self, origin: Origin, scheme: str, host: bytes | None) -> None:
        assert origin.host(scheme, b"present") == host

    def test_a_port_alone_makes_no_host(self) -> None:
        assert Origin(None, port=8443).host("https", None) is None


@pytest.mark.parametrize(
    ("origin", "server"),
    [
        (Origin(None), ("127.0.0.1", 8000)),
        (Origin(None, port=443), ("127.0.0.1", 443)),
        (Origin(None, authority="a.example"), ("a.example", 443)),
        (Origin(None, authority="a.example", port=8443), ("a.example", 8443)),
        (Origin(None, authority="a.example:99"), ("a.example", 99)),
        (Origin(None, authority="a.example:"), ("a.example", 443)),
        (Origin(None, authority="[2001:db8::1]:99"), ("2001:db8::1", 99)),
    ],
)
def test_the_server_is_what_the_client_has_reached(origin: Origin, server: tuple[str, int]) -> None:
    assert origin.server("https", ("127.0.0.1", 8000)) == server


def test_one_kind_of_header_is_read_and_the_other_is_not() -> None:
    both = [(b"forwarded", b"for=192.0.2.1"), (b"x-forwarded-for", b"192.0.2.2")]
    found = {}
    for kind in ("x-forwarded", "forwarded"):
        reader = make_reader(kind)
        assert reader is not None
        found[kind] = reader(both, None, Trust(["unix"])).client
    assert found == {"x-forwarded": ("192.0.2.2", 0), "forwarded": ("192.0.2.1", 0)}
    assert make_reader("none") is None
