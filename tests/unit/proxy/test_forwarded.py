"""appserver.proxy.forwarded: RFC 7239."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appserver.http.fields import Fields
from appserver.proxy import Address, Origin, Trust
from appserver.proxy.forwarded import _PAIR, BROKEN, parse_line, read_forwarded

PEER = ("127.0.0.1", 50000)
TRUST = Trust(["127.0.0.1", "10.0.0.0/8"])


def read(*lines: str, trust: Trust = TRUST) -> Origin:
    return read_forwarded([(b"forwarded", line.encode("latin-1")) for line in lines], PEER, trust)


class TestGrammar:
    @pytest.mark.parametrize(
        ("line", "elements"),
        [
            ('for="_gazonk"', [{"for": "_gazonk"}]),
            ('For="[2001:db8:cafe::17]:4711"', [{"for": "[2001:db8:cafe::17]:4711"}]),
            ("for=192.0.2.60;proto=http;by=203.0.113.43", [{"for": "192.0.2.60", "proto": "http", "by": "203.0.113.43"}]),
            ("for=192.0.2.43, for=198.51.100.17", [{"for": "192.0.2.43"}, {"for": "198.51.100.17"}]),
            ('for=192.0.2.43,\tfor="a"', [{"for": "192.0.2.43"}, {"for": "a"}]),
            (r'host="a\"b\\c"', [{"host": 'a"b\\c'}]),
            ('secret="a,b;c=d"', [{"secret": "a,b;c=d"}]),
            ("for=192.0.2.1:80", [{"for": "192.0.2.1:80"}]),  # not as it should be, but plain
            ("for=a;;proto=b;", [{"for": "a", "proto": "b"}]),
            (" , for=a, ", [{"for": "a"}]),
            ("", []),
        ],
    )  # fmt: skip
    def test_what_is_valid(self, line: str, elements: list[dict[str, str]]) -> None:
        assert parse_line(line) == elements

    @pytest.mark.parametrize(
        "line",
        [
            'for="a',
            "for",
            "for=",
            "=a",
            "for=a b",
            "for =a",
            "for= a",
            'for="a"b',
            "for=a;for=b",
            "for=ü",
            "\0",
            'for=a"',
        ],
    )
    def test_what_is_not(self, line: str) -> None:
        assert parse_line(line) == [BROKEN]


class TestOrigin:
    def test_the_outermost_trusted_proxys_element_counts(self) -> None:
        line = (
            "for=1.1.1.1;proto=ftp;host=evil, for=192.0.2.1;proto=https;host=good, for=10.0.0.1;proto=http;host=inner"
        )
        assert read(line) == Origin(("192.0.2.1", 0), "https", "good")

    def test_what_it_does_not_tell_the_next_one_does(self) -> None:
        assert read("for=192.0.2.1, for=10.0.0.1;proto=https") == Origin(("192.0.2.1", 0), "https")

    def test_several_lines_are_one_list(self) -> None:
        assert read("for=1.1.1.1, for=192.0.2.1", "for=10.0.0.1").client == ("192.0.2.1", 0)

    def test_lines_that_the_client_has_sent_are_not_read(self) -> None:
        """There may be 64 KiB of them, and each would take its time."""

        class Line(bytes):
            def decode(self, *_: Any, **__: Any) -> str:
                raise AssertionError("it is read")

        fields: Fields = [(b"forwarded", Line(b"for=1.1.1.1")), (b"forwarded", b"for=192.0.2.1, for=10.0.0.1")]
        assert read_forwarded(fields, PEER, TRUST).client == ("192.0.2.1", 0)

    def test_without_for_it_is_the_peer_who_asks(self) -> None:
        assert read("proto=https;host=example.org") == Origin(PEER, "https", "example.org")

    @pytest.mark.parametrize("node", ["unknown", "_hidden", '"_hidden:_port"', "nonsense"])
    def test_a_hidden_client_is_not_known(self, node: str) -> None:
        assert read(f"for={node};proto=https") == Origin(None, "https")

    @pytest.mark.parametrize("line", ['for="127.0.0.1', 'for=127.0.0.1, "'])
    def test_one_who_breaks_the_grammar_does_not_become_the_proxy(self, line: str) -> None:
        assert read(line).client is None
        assert read(f"{line}, for=192.0.2.1;proto=https") == Origin(None)
        assert read(line, "for=192.0.2.1;proto=https") == Origin(("192.0.2.1", 0), "https")

    def test_the_prefix_and_the_port_are_not_part_of_it(self) -> None:
        fields = [(b"forwarded", b"for=192.0.2.1"), (b"x-forwarded-prefix", b"/x"), (b"x-forwarded-for", b"1.1.1.1")]
        assert read_forwarded(fields, PEER, TRUST) == Origin(("192.0.2.1", 0))


WORDS = st.sampled_from(
    ["for=", "proto=", "host=", '"', ",", ";", "192.0.2.1", "[::1]:80", "\\", " ", "https", "a", "="]
)
LINES = st.lists(WORDS, max_size=20).map("".join) | st.text(st.characters(max_codepoint=255), max_size=60)


@given(st.lists(LINES, max_size=4))
def test_whatever_is_sent_the_result_is_valid(lines: list[str]) -> None:
    origin = read(*lines)
    assert origin.scheme in (None, "http", "https")
    assert origin.client is None or 0 <= origin.client[1] < 65536


@given(LINES, st.sampled_from(["192.0.2.77", "2001:db8::77"]))
def test_what_the_client_sends_does_not_make_it_somebody_else(line: str, client: str) -> None:
    """The proxy appends what it sees. At most the client can hide, by breaking the grammar."""
    assert read(f'{line}, for="[{client}]"' if ":" in client else f"{line}, for={client}").client in ((client, 0), None)
    assert read(line, f'for="[{client}]"' if ":" in client else f"for={client}").client == (client, 0)


@given(
    st.lists(
        st.dictionaries(
            st.from_regex(r"[a-z]{1,8}", fullmatch=True),
            st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=12),
            min_size=1,
        ),
        max_size=4,
    )
)
def test_what_is_written_by_the_grammar_is_read_back(elements: list[dict[str, str]]) -> None:
    def quote(value: str) -> str:
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'

    line = ", ".join(";".join(f"{name}={quote(value)}" for name, value in element.items()) for element in elements)
    assert parse_line(line) == elements


@pytest.mark.parametrize(
    "line", ['for="' + "a" * 10**6, 'for="' + "\\" * 10**6, " " * 10**6 + "x", "a" * 10**6, "," * 10**6]
)
def test_no_line_makes_the_pattern_go_back_and_forth(line: str) -> None:
    """A pattern that does takes the square of the length, and does not come to an end here."""
    _PAIR.match(line)
    assert parse_line(line) == [BROKEN]


@pytest.mark.parametrize("separator", [",", ";", " ,", ";,"])
def test_a_line_has_room_for_the_pairs_of_all_proxies_and_not_for_thousands(separator: str) -> None:
    chain = [{"for": "10.0.0.1", "by": "10.0.0.2", "proto": "https", "host": "a"}] * 64
    line = ",".join(";".join(map("=".join, element.items())) for element in chain)
    assert parse_line(line) == chain
    assert parse_line(separator * 2000) == [BROKEN]


def test_an_address_with_a_port() -> None:
    expected: Address = ("2001:db8:cafe::17", 4711)
    assert read('for="[2001:db8:cafe::17]:4711"').client == expected
