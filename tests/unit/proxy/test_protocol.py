"""appserver.proxy.protocol: headers of the PROXY protocol."""

from __future__ import annotations

import ipaddress
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appserver.proxy.protocol import V2_START, Announced, ProxyProtocolError, Unnamed, measure, parse

CLIENT, SERVER = ("192.0.2.1", 56324), ("198.51.100.1", 443)


def v2(command: int = 0x21, kind: int = 0x11, block: bytes | None = None, tlvs: bytes = b"") -> bytes:
    if block is None:
        addresses = ipaddress.ip_address(CLIENT[0]).packed + ipaddress.ip_address(SERVER[0]).packed
        block = addresses + struct.pack("!HH", CLIENT[1], SERVER[1])
    content = block + tlvs
    return V2_START + bytes([command, kind]) + struct.pack("!H", len(content)) + content


V6 = ipaddress.ip_address("2001:db8::1").packed + ipaddress.ip_address("::1").packed + struct.pack("!HH", 1, 2)
LONGEST_V1 = b"PROXY TCP6 " + b"ffff:" * 7 + b"ffff " + b"ffff:" * 7 + b"ffff 65535 65535\r\n"

VALID = [
    (b"PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\r\n", Announced(CLIENT, SERVER)),
    (b"PROXY TCP6 2001:DB8::1 ::1 1 2\r\n", Announced(("2001:db8::1", 1), ("::1", 2))),
    (b"PROXY TCP6 ::ffff:192.0.2.1 ::1 0 65535\r\n", Announced(("192.0.2.1", 0), ("::1", 65535))),
    (b"PROXY UNKNOWN\r\n", Unnamed.STRANGER),
    (b"PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n", Unnamed.STRANGER),
    (v2(), Announced(CLIENT, SERVER)),
    (v2(tlvs=b"\x03\x00\x04abcd" + b"\x04\x01\x00" + b"p" * 256), Announced(CLIENT, SERVER)),
    (v2(kind=0x21, block=V6), Announced(("2001:db8::1", 1), ("::1", 2))),
    (v2(kind=0x31, block=b"/run/a".ljust(108, b"\0") * 2), Announced(None, None)),
    (v2(command=0x20, kind=0x00, block=b""), Unnamed.PROXY),  # a health check
    (v2(command=0x20), Unnamed.PROXY),
    (v2(kind=0x00, block=b"whatever"), Unnamed.STRANGER),
    (v2(kind=0x12), Unnamed.STRANGER),
]


@pytest.mark.parametrize(("header", "announced"), VALID)
def test_a_header_is_measured_and_read(header: bytes, announced: Announced | Unnamed) -> None:
    assert measure(header + b"GET / HTTP/1.1\r\n") == len(header)
    assert parse(header) == announced


@pytest.mark.parametrize("header", [header for header, _ in VALID])
def test_as_long_as_it_is_not_complete_there_is_nothing_to_read(header: bytes) -> None:
    for end in range(len(header)):
        size = measure(header[:end])
        assert size is None or size > end


def test_the_longest_header_of_version_1_is_taken() -> None:
    assert len(LONGEST_V1) <= 107
    assert isinstance(parse(LONGEST_V1[: measure(LONGEST_V1)]), Announced)


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n", b"X", b"PROXY\r\n", b"\r\n\r\n\0\r\nQUIP\n", b"\x16\x03\x01", b"proxy tcp4", b"PROXYTCP4", b"\n",
        b"PROXY TCP4 " + b"1" * 107, b"PROXY UNKNOWN " + b"x" * 93 + b"\r\n",
    ],
)  # fmt: skip
def test_what_is_no_header_is_recognised_by_its_beginning(data: bytes) -> None:
    with pytest.raises(ProxyProtocolError):
        measure(data)


@pytest.mark.parametrize(
    "header",
    [
        b"PROXY \r\n",
        b"PROXY TCP4\r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.1 56324\r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.1 56324 443 \r\n",
        b"PROXY TCP4  192.0.2.1 198.51.100.1 56324 443\r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.1 56324 65536\r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.1 056 443\r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.1 -1 443\r\n",
        b"PROXY TCP4 192.0.2.256 198.51.100.1 1 443\r\n",
        b"PROXY TCP4 ::1 ::1 1 443\r\n",
        b"PROXY TCP6 192.0.2.1 198.51.100.1 1 443\r\n",
        b"PROXY UDP4 192.0.2.1 198.51.100.1 1 443\r\n",
        b"PROXY UNKNOWN\n\r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.1 1 443\n\r\n",
        v2(command=0x22),
        v2(command=0x11),
        v2(kind=0x41),
        v2(kind=0x13),
        v2(block=b"1234567890A"),
        v2(kind=0x21),
        v2(kind=0x31),
    ],
)
def test_what_is_malformed_is_refused(header: bytes) -> None:
    assert measure(header) == len(header) or header.startswith(b"PROXY")
    with pytest.raises(ProxyProtocolError):
        parse(header)


PIECES = st.sampled_from(
    [
        b"PROXY ",
        b"TCP4 ",
        b"TCP6 ",
        b"UNKNOWN",
        b"1.2.3.4 ",
        b"::1 ",
        b"1 ",
        b"443",
        b"\r\n",
        V2_START,
        b"\x21\x11",
        b"\0\x0c",
    ]
)


@given(st.lists(PIECES | st.binary(max_size=20), max_size=12).map(b"".join))
def test_any_octets_are_a_header_or_refused_or_not_complete(data: bytes) -> None:
    try:
        size = measure(data)
        if size is not None and size <= len(data):
            announced = parse(data[:size])
            assert isinstance(announced, Unnamed) or announced.client is None or 0 <= announced.client[1] <= 65535
        else:
            assert len(data) < 107 or data.startswith(V2_START)
    except ProxyProtocolError:
        pass


@given(
    st.ip_addresses(v=4) | st.ip_addresses(v=6),
    st.integers(0, 65535),
    st.binary(max_size=200),
    st.sampled_from([1, 2]),
)
def test_every_address_comes_through(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address, port: int, tlvs: bytes, version: int
) -> None:
    if version == 1:
        header = f"PROXY TCP{address.version} {address} {address} {port} {port}\r\n".encode()
    else:
        block = address.packed * 2 + struct.pack("!HH", port, port)
        header = v2(kind=0x11 if address.version == 4 else 0x21, block=block, tlvs=tlvs)
    plain = address.ipv4_mapped or address if isinstance(address, ipaddress.IPv6Address) else address
    assert parse(header[: measure(header)]) == Announced((str(plain), port), (str(plain), port))
