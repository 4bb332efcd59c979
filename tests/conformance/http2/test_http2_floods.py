"""RFC 9113 section 10.5: clients that make more work than they are worth. Others are served meanwhile, and memory stays."""

from __future__ import annotations

import struct
import time

import pytest

from tests.conformance.http2.peer import ENHANCE_YOUR_CALM, GET, POST, Gone, Peer, changed, raw
from tests.conformance.levels import sec
from tests.support.address import Address

FRAMES = {
    "PING (CVE-2019-9512)": raw(6, 0, 0, bytes(8)),
    "SETTINGS (CVE-2019-9515)": raw(4, 0, 0, b""),
    "PRIORITY (CVE-2019-9513)": raw(2, 0, 1, bytes(5)),
    "WINDOW_UPDATE of 1": raw(8, 0, 0, b"\0\0\0\1"),
    "empty DATA (CVE-2019-9518)": raw(0, 0, 1),
    "PRIORITY_UPDATE": raw(16, 0, 0, b"\0\0\0\1u=1"),
    "unknown frames": raw(0x77),
}


def endures(address: Address) -> None:
    """The server serves another client at once."""
    other = Peer(address)
    begun = time.monotonic()
    assert other.get(1).status == 200
    assert time.monotonic() - begun < 5
    other.close()


def is_stopped(peer: Peer) -> None:
    """The connection has been ended, at best with ENHANCE_YOUR_CALM."""
    try:
        peer.until(lambda: peer.goaway)
    except Gone:
        return  # what the client was still sending has destroyed the last words
    assert peer.goaway is not None
    assert peer.goaway.error_code == ENHANCE_YOUR_CALM


@sec("RFC 9113 10.5")
@pytest.mark.parametrize("kind", FRAMES)
def test_frames_that_carry_nothing(peer: Peer, address: Address, kind: str) -> None:
    peer.begin(1, changed(POST, path=b"/late/9/x"))
    for _ in range(20):
        peer.send(FRAMES[kind] * 500)
    is_stopped(peer)
    endures(address)


@sec("CVE-2023-44487")
def test_rapid_reset(peer: Peer, address: Address) -> None:
    block = peer.block(changed(GET, path=b"/sleep/1/x"))
    for turn in range(20):
        streams = range(200 * turn + 1, 200 * turn + 201, 2)
        peer.send(b"".join(raw(1, 5, stream, block) + raw(3, 0, stream, b"\0\0\0\x08") for stream in streams))
    is_stopped(peer)
    endures(address)


@sec("CVE-2025-8671")
def test_made_you_reset(peer: Peer, address: Address) -> None:
    block = peer.block(changed(GET, path=b"/sleep/1/x"))
    for turn in range(20):
        streams = range(200 * turn + 1, 200 * turn + 201, 2)
        peer.send(b"".join(raw(1, 5, stream, block) + raw(8, 0, stream, bytes(4)) for stream in streams))
    is_stopped(peer)
    endures(address)


@sec("CVE-2024-27316")
@pytest.mark.parametrize("piece", [b"", b"\x00\x01a\x01b" * 2000])
def test_continuation_without_end(peer: Peer, address: Address, piece: bytes) -> None:
    peer.send(raw(1, 1, 1, peer.block(GET)))
    for _ in range(200):
        peer.send(raw(9, 0, 1, piece))
    is_stopped(peer)
    endures(address)


@sec("CVE-2019-9517")
def test_a_client_that_asks_for_much_and_takes_nothing(address: Address) -> None:
    peer = Peer(address, settings={4: 0})
    peer.send(*(peer.headers(stream, changed(GET, path=b"/huge/10000000/h%d" % stream)) for stream in range(1, 101, 2)))
    peer.ping()
    endures(address)
    peer.close()


@sec("RFC 9113 10.5")
def test_settings_with_thousands_of_values(peer: Peer, address: Address) -> None:
    for _ in range(50):
        peer.send(raw(4, 0, 0, struct.pack(">HL", 4, 65_535) * 2700))
    is_stopped(peer)
    endures(address)


@sec("RFC 9113 10.5")
def test_a_head_that_never_ends_has_a_time_limit(peer: Peer) -> None:
    peer.send(raw(1, 1, 1, peer.block(GET)))
    peer.until(lambda: peer.goaway, deadline=15)
    assert peer.goaway is not None
    assert peer.goaway.error_code == ENHANCE_YOUR_CALM
