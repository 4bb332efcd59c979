"""appserver.proxy.x_forwarded: the X-Forwarded- family."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appserver.proxy import Address, Origin, Trust
from appserver.proxy.x_forwarded import read_x_forwarded

PEER = ("127.0.0.1", 50000)
TRUST = Trust(["127.0.0.1", "10.0.0.0/8", "unix"])


def read(*fields: tuple[str, str], trust: Trust = TRUST, peer: Address | None = PEER) -> Origin:
    encoded = [(f"x-forwarded-{name}".encode(), value.encode("latin-1")) for name, value in fields]
    return read_x_forwarded([(b"host", b"internal"), *encoded], peer, trust)


class TestClient:
    @pytest.mark.parametrize(
        ("value", "client"),
        [
            ("192.0.2.1", ("192.0.2.1", 0)),
            ("192.0.2.1:1234", ("192.0.2.1", 1234)),
            ("[2001:db8::1]:99", ("2001:db8::1", 99)),
            ("192.0.2.1, 10.0.0.1", ("192.0.2.1", 0)),
            ("192.0.2.1,10.0.0.1,  10.0.0.2 ,unix:", ("192.0.2.1", 0)),
            ("198.51.100.66, 192.0.2.1, 10.0.0.1", ("192.0.2.1", 0)),  # whoever says that he is 198.51.100.66 may lie
            ("10.0.0.7, 10.0.0.1", ("10.0.0.7", 0)),  # a request from within
            ("192.0.2.1, , 10.0.0.1,", ("192.0.2.1", 0)),
        ],
    )
    def test_it_is_the_first_from_the_right_that_is_no_trusted_proxy(self, value: str, client: Address) -> None:
        assert read(("for", value)).client == client

    def test_several_lines_are_one_list(self) -> None:
        assert read(("for", "198.51.100.66, 192.0.2.1"), ("for", "10.0.0.1")).client == ("192.0.2.1", 0)

    @pytest.mark.parametrize(
        "value", ["unknown", "127.0.0.1, unknown", "127.0.0.1, <script>", "127.0.0.1, unknown, 10.0.0.1"]
    )
    def test_one_that_is_hidden_is_not_known_and_certainly_not_the_proxy(self, value: str) -> None:
        assert read(("for", value)).client is None

    @pytest.mark.parametrize("value", ["", " , ", ","])
    def test_without_an_address_it_is_the_peer(self, value: str) -> None:
        assert read(("for", value)).client == PEER

    def test_where_everybody_is_trusted_it_is_the_leftmost(self) -> None:
        assert read(("for", "192.0.2.1, 192.0.2.2"), trust=Trust(["*"])).client == ("192.0.2.1", 0)

    def test_a_chain_has_an_end(self) -> None:
        assert read(("for", "192.0.2.1, " + ", ".join(["10.0.0.1"] * 1000))).client == ("10.0.0.1", 0)


class TestOtherValues:
    def test_all_of_them(self) -> None:
        fields = (
            ("for", "192.0.2.1"),
            ("proto", "HTTPS"),
            ("host", "example.org"),
            ("port", "8443"),
            ("prefix", "/api/"),
        )
        assert read(*fields) == Origin(("192.0.2.1", 0), "https", "example.org", 8443, "/api")

    @pytest.mark.parametrize(("value", "scheme"), [("http", "http"), ("wss", "https"), ("ws", "http"), ("ftp", None)])
    def test_the_scheme(self, value: str, scheme: str | None) -> None:
        assert read(("proto", value)).scheme == scheme

    @pytest.mark.parametrize(
        "value", ["a b", "example.org/path", "exa@mple", "[::1", "a:b:c", "evil.example/", "a.b:99999", "a.b:0"]
    )
    def test_a_host_that_is_none_is_left_out(self, value: str) -> None:
        assert read(("host", value)).authority is None

    @pytest.mark.parametrize("value", ["0", "65536", "-1", "80a", "999999", "x"])
    def test_a_port_that_is_none_is_left_out(self, value: str) -> None:
        assert read(("port", value)).port is None

    @pytest.mark.parametrize(
        "value",
        [
            "api", "//evil.example", "/a//b", "/a b", "/a?b", "/a%zz", "https://x/", "/a\\b",
            "/%2Fevil.example", "/a%2f%2Fb", "/a%2f/b", "/a%2F", "/%5cevil.example", "/a%0d%0ab", "/%00", "/%7f",
            "/..", "/.", "/a/../b", "/a/.", "/%2e%2E/a", "/a%2f..",
        ],
    )  # fmt: skip
    def test_a_prefix_that_is_none_is_left_out(self, value: str) -> None:
        assert read(("prefix", value)).prefix is None

    @pytest.mark.parametrize(
        ("value", "prefix"),
        [("/a/b", "/a/b"), ("/a%2Fb/", "/a/b"), ("/%C3%A4", "/ä"), ("/...", "/..."), ("/.a/..b/c..", "/.a/..b/c..")],
    )
    def test_a_prefix_is_decoded(self, value: str, prefix: str) -> None:
        assert read(("prefix", value)).prefix == prefix

    def test_a_slash_is_no_prefix(self) -> None:
        assert read(("prefix", "/")).prefix == ""

    def test_of_several_values_counts_the_one_that_belongs_to_the_client(self) -> None:
        # The client claims https; both proxies append what they saw.
        fields = (
            ("for", "10.9.9.9, 192.0.2.1, 10.0.0.1"),
            ("proto", "https, http, http"),
            ("host", "evil, good, inner"),
        )
        assert read(*fields).scheme == "http"
        assert read(*fields).authority == "good"

    def test_of_one_value_counts_that(self) -> None:
        assert read(("for", "192.0.2.1, 10.0.0.1, 10.0.0.2"), ("proto", "https")).scheme == "https"

    def test_without_a_client_counts_the_nearest_proxys(self) -> None:
        assert read(("proto", "http, https")).scheme == "https"


FIELDS = st.lists(
    st.tuples(
        st.sampled_from(["for", "proto", "host", "port", "prefix", "server"]),
        st.text(st.characters(max_codepoint=255), max_size=40)
        | st.lists(
            st.sampled_from(["10.0.0.1", "192.0.2.1:80", "[::1]", "unknown", "https", "a.example:1", "443", "/x", ""])
        ).map(", ".join),
    ),
    max_size=8,
)


@given(FIELDS)
def test_whatever_is_sent_the_result_is_valid(fields: list[tuple[str, str]]) -> None:
    origin = read(*fields)
    assert origin.scheme in (None, "http", "https")
    assert origin.port is None or 0 < origin.port < 65536
    assert origin.prefix is None or not origin.prefix.endswith("/")
    assert origin.client is None or 0 <= origin.client[1] < 65536
    for scheme in ("http", "https"):
        host = origin.host(scheme, b"example.org")
        assert host is None or (host.isascii() and not host.isspace() and b"\r" not in host and b"," not in host)
        assert isinstance(origin.server(scheme, ("127.0.0.1", 80))[0], str)


@given(FIELDS, st.sampled_from(["192.0.2.77", "2001:db8::77"]))
def test_what_the_client_sends_does_not_change_who_it_is(fields: list[tuple[str, str]], client: str) -> None:
    """The proxy appends the address that it sees, whatever is there."""
    assert read(*fields, ("for", client)).client == (client, 0)
