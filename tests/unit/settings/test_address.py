"""Where a listener listens."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appserver.settings.address import (
    Address,
    DescriptorAddress,
    SystemdAddress,
    TCPAddress,
    UnixAddress,
    parse_address,
)


@pytest.mark.parametrize(
    ("written", "address"),
    [
        ("127.0.0.1:8000", TCPAddress("127.0.0.1", 8000)),
        ("0.0.0.0:0", TCPAddress("0.0.0.0", 0)),
        ("localhost:65535", TCPAddress("localhost", 65535)),
        ("my_host.example.org.:80", TCPAddress("my_host.example.org.", 80)),
        ("[::1]:8000", TCPAddress("::1", 8000)),
        ("[2001:DB8:0::1]:80", TCPAddress("2001:db8::1", 80)),
        ("[fe80::1%eth0]:80", TCPAddress("fe80::1%eth0", 80)),
        ("unix:/run/appserver.sock", UnixAddress("/run/appserver.sock")),
        ("unix:app.sock", UnixAddress("app.sock")),
        ("unix:@name", UnixAddress("@name")),
        ("fd://3", DescriptorAddress(3)),
        ("systemd:http", SystemdAddress("http")),
    ],
)
def test_every_form_is_read(written: str, address: Address) -> None:
    assert parse_address(written) == address
    assert parse_address(str(address)) == address
    assert parse_address(address) is address


def test_an_abstract_socket_is_told_from_a_path() -> None:
    assert UnixAddress("@name").is_abstract
    assert not UnixAddress("/name").is_abstract


@pytest.mark.parametrize(
    ("written", "hint"),
    [
        (8000, "expected HOST:PORT"),
        (None, "expected HOST:PORT"),
        ("", "expected HOST:PORT"),
        ("localhost", "expected HOST:PORT"),
        ("8000", "127.0.0.1:8000, or 0.0.0.0:8000"),
        (":8000", "0.0.0.0:8000"),
        ("*:8000", "0.0.0.0:8000"),
        ("localhost:", "a port from 0 to 65535"),
        ("localhost:65536", "a port from 0 to 65535"),
        ("localhost:http", "a port from 0 to 65535"),
        ("localhost:-1", "a port from 0 to 65535"),
        ("localhost:٣", "a port from 0 to 65535"),
        ("::1:8000", "an IPv6 address in brackets"),
        ("[::1]", "a port from 0 to 65535"),
        ("[localhost]:80", "no IPv6 address"),
        ("[::1\n]:80", "no IPv6 address"),
        ("256.0.0.1:80", "256.0.0.1 is no IPv4 address"),
        ("1.2.3:80", "1.2.3 is no IPv4 address"),
        ("bad host:80", "neither a name nor an address"),
        ("-x:80", "neither a name nor an address"),
        (f"{'a.' * 127}:80", "neither a name nor an address"),
        ("http://127.0.0.1:80", "brackets"),
        ("unix:", "unix:/path"),
        ("unix:@", "unix:/path"),
        ("unix:/run/", "unix:/path"),
        ("unix:/a\0b", "unix:/path"),
        ("unix:///run/x", "unix:/run/x"),
        (f"unix:/{'ä' * 54}", "at most 107 bytes"),
        ("fd:3", "fd://N"),
        ("fd://x", "fd://N"),
        ("fd://-1", "fd://N"),
        ("systemd:", "FileDescriptorName"),
        ("systemd:a b", "FileDescriptorName"),
    ],
)
def test_everything_else_is_refused_with_what_to_write(written: object, hint: str) -> None:
    with pytest.raises(ValueError, match=r"^expected") as caught:
        parse_address(written)
    assert hint in str(caught.value)


@given(st.text() | st.from_regex(r"(unix:|fd://|systemd:|\[)?[0-9a-z:.@/\]-]*", fullmatch=True))
def test_any_text_is_an_address_that_is_written_as_it_is_read_or_a_value_error(text: str) -> None:
    try:
        address = parse_address(text)
    except ValueError:
        return
    assert parse_address(str(address)) == address
