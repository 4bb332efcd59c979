"""appserver.proxy.trust: who is believed."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appserver.proxy import Trust
from appserver.proxy.trust import HIDDEN, Node


class TestPeers:
    @pytest.mark.parametrize(
        ("trusted", "host"),
        [
            ("127.0.0.1", "127.0.0.1"),
            ("10.0.0.0/8", "10.200.3.4"),
            ("::1", "::1"),
            ("2001:db8::/32", "2001:db8:1::5"),
            ("127.0.0.1", "::ffff:127.0.0.1"),
            ("::ffff:127.0.0.1", "127.0.0.1"),
            ("::ffff:10.0.0.0/104", "10.200.3.4"),
            ("::ffff:10.0.0.0/104", "::ffff:10.200.3.4"),
            ("fe80::/10", "fe80::1%eth0"),
            ("*", "203.0.113.9"),
        ],
    )
    def test_one_in_the_list_is_trusted(self, trusted: str, host: str) -> None:
        assert Trust([trusted]).trusts((host, 4711))

    @pytest.mark.parametrize(
        ("trusted", "host"),
        [
            ("127.0.0.1", "127.0.0.2"),
            ("10.0.0.0/8", "11.0.0.1"),
            ("::ffff:10.0.0.0/104", "11.0.0.1"),
            ("10.0.0.0/8", "::a00:1"),
            ("::1", "::2"),
            ("unix", "127.0.0.1"),
            ("127.0.0.1", "no address"),
        ],
    )
    def test_another_one_is_not(self, trusted: str, host: str) -> None:
        assert not Trust([trusted]).trusts((host, 4711))

    @pytest.mark.parametrize(("trusted", "verdict"), [("unix", True), ("*", True), ("127.0.0.1", False)])
    def test_the_peer_of_a_unix_socket_has_a_word_of_its_own(self, trusted: str, verdict: bool) -> None:
        assert Trust([trusted]).trusts(None) is verdict

    def test_with_an_empty_list_nobody_is(self) -> None:
        assert not Trust([]).trusts(None)
        assert not Trust([]).trusts(("127.0.0.1", 1))


class TestNodes:
    @pytest.mark.parametrize(
        ("text", "address"),
        [
            ("192.0.2.1", ("192.0.2.1", 0)),
            ("192.0.2.1:8080", ("192.0.2.1", 8080)),
            ("2001:DB8::1", ("2001:db8::1", 0)),
            ("[2001:db8::1]", ("2001:db8::1", 0)),
            ("[2001:db8::1]:443", ("2001:db8::1", 443)),
            ("::ffff:192.0.2.1", ("192.0.2.1", 0)),
            ("192.0.2.1:_hidden", ("192.0.2.1", 0)),
            ("192.0.2.1:99999", ("192.0.2.1", 0)),
        ],
    )
    def test_an_address_in_every_form(self, text: str, address: tuple[str, int]) -> None:
        assert Trust([]).node(text) == Node(address, False)

    @pytest.mark.parametrize(
        "text",
        ["", "unknown", "_gazonk", "example.org", "256.0.0.1", "1.2.3", "[1.2.3.4", "[::1", "::1]", "[::1]80",
         "192.0.2.1:", "192.0.2.1 ", "0x7f000001", "127.1", "01.2.3.4", "::1%eth0", "1.2.3.4:-1", "\u0661.2.3.4", "::g"],
    )  # fmt: skip
    def test_what_is_no_address_is_hidden_and_never_trusted(self, text: str) -> None:
        assert Trust(["127.0.0.1", "::1", "0.0.0.0/0", "::/0"]).node(text) == HIDDEN

    @pytest.mark.parametrize(("trusted", "verdict"), [("unix", True), ("127.0.0.1", False)])
    def test_a_unix_socket_within_the_chain(self, trusted: str, verdict: bool) -> None:
        assert Trust([trusted]).node("unix:") == Node(None, verdict)

    @given(st.ip_addresses(v=4), st.lists(st.ip_addresses(v=4), max_size=3), st.integers(0, 32))
    def test_the_usual_form_is_read_as_any_other(
        self, address: IPv4Address, trusted: list[IPv4Address], size: int
    ) -> None:
        trust = Trust([str(IPv4Network((host, size), strict=False)) for host in trusted])
        assert trust.node(str(address)) == trust.node(f"{address}:0") == trust.node(f"::ffff:{address}")

    def test_what_is_remembered_is_bounded(self) -> None:
        trust = Trust(["10.0.0.0/8"])
        for number in range(3000):
            assert trust.node(f"10.0.{number // 256}.{number % 256}:80").trusted
        assert trust.node("x" * 60_000) == Node(None, trusted=False)
        assert len(trust._nodes) <= 1024
        assert max(map(len, trust._nodes)) <= 64

    @given(st.text(max_size=60) | st.from_regex(r"\[?[0-9a-f:.]{1,40}\]?(:[0-9_]{0,6})?", fullmatch=True))
    def test_any_text_is_a_node_or_hidden(self, text: str) -> None:
        node = Trust(["10.0.0.0/8", "unix"]).node(text)
        if node.address is not None:
            again = Trust([]).node(node.address[0])
            assert again.address == (node.address[0], 0), "an address in its normal form"
            assert 0 <= node.address[1] <= 65535
        else:
            assert node.trusted == text.startswith("unix:")
