"""RFC 7541: header compression, as a server decodes it and encodes it."""

from __future__ import annotations

import pytest

from tests.conformance.http2.peer import COMPRESSION_ERROR, GET, Peer, raw
from tests.conformance.levels import must, sec

FIXED = b"\x82\x86\x84\x41\x0bexample.org"  # GET, http, /, and the authority, which goes into the table


def send(peer: Peer, stream: int, block: bytes) -> None:
    peer.send(raw(1, 5, stream, block))


@must("RFC 7541 2.3.3")
@pytest.mark.parametrize("block", [b"\x80", b"\xbe", b"\xff\x00", b"\x7f\x00\x01a", b"\x0f\x40\x01a"])
def test_an_index_that_no_table_has(peer: Peer, block: bytes) -> None:
    send(peer, 1, block)
    peer.connection_error(COMPRESSION_ERROR)


@must("RFC 7541 2.3.2")
def test_what_was_added_is_found_again(peer: Peer) -> None:
    send(peer, 1, FIXED + b"\x40\x03x-a\x03abc")
    assert b"abc" in peer.response(1).body
    send(peer, 3, b"\x82\x86\x84\xbf\xbe")
    answer = peer.response(3)
    assert b"abc" in answer.body
    assert b"example.org" in answer.body


@must("RFC 7541 2.3.2, 4.3")
def test_the_oldest_entry_makes_room(peer: Peer) -> None:
    """Twenty fields of 250 octets: the table holds fifteen."""
    block = b"".join(
        b"\x40\x02x" + bytes([97 + index]) + b"\x7f\x51" + bytes([65 + index]) * 208 for index in range(20)
    )
    send(peer, 1, FIXED + block)
    assert peer.response(1).status == 200
    send(peer, 3, b"\x82\x86\x84\x41\x0bexample.org\xbf")  # the newest but one
    assert b"T" * 208 in peer.response(3).body
    send(peer, 5, b"\x82\x86\x84\xff\x20")
    peer.connection_error(COMPRESSION_ERROR)


@must("RFC 7541 4.2")
def test_a_change_of_the_size_stands_at_the_start(peer: Peer) -> None:
    send(peer, 1, FIXED + b"\x20")
    peer.connection_error(COMPRESSION_ERROR)


@must("RFC 7541 4.2, 6.3")
def test_the_table_is_made_smaller_and_larger(peer: Peer) -> None:
    send(peer, 1, b"\x20\x3f\xe1\x1f" + FIXED)
    assert peer.response(1).status == 200
    send(peer, 3, b"\x20" + b"\x82\x86\x84\x41\x0bexample.org")
    assert peer.response(3).status == 200
    send(peer, 5, b"\x82\x86\x84\xbe")  # nothing is in it
    peer.connection_error(COMPRESSION_ERROR)


@must("RFC 7541 6.3")
def test_not_larger_than_the_server_allows(peer: Peer) -> None:
    limit = peer.settings.get(1, 4096) + 1 - 31
    octets = bytearray(b"\x3f")
    while limit >= 128:
        octets.append(limit & 0x7F | 0x80)
        limit >>= 7
    send(peer, 1, bytes([*octets, limit]) + FIXED)
    peer.connection_error(COMPRESSION_ERROR)


@must("RFC 7541 5.1")
@pytest.mark.parametrize(
    "block", [b"\xff", b"\xff\x80", b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", b"\x40\x7f\xff"]
)
def test_integers_that_have_no_end_or_are_too_large(peer: Peer, block: bytes) -> None:
    send(peer, 1, block)
    peer.connection_error(COMPRESSION_ERROR)


@must("RFC 7541 5.2")
@pytest.mark.parametrize(
    "literal",
    [
        b"\x40\x81\xff\x01a",  # eight ones as padding
        b"\x40\x82\x1f\xff\x01a",  # padding of more than seven bits behind a letter
        b"\x40\x81\x00\x01a",  # zeros as padding
        b"\x40\x84\xff\xff\xff\xff\x01a",  # EOS
        b"\x40\x03ab",  # a string that breaks off
        b"\x40\x01a\x05b",
        b"\x40\x01a",
    ],
)
def test_strings_that_are_none(peer: Peer, literal: bytes) -> None:
    send(peer, 1, FIXED + literal)
    peer.connection_error(COMPRESSION_ERROR)


@must("RFC 7541 5.2")
def test_strings_may_be_huffman_coded(peer: Peer) -> None:
    send(peer, 1, bytes.fromhex("828684418cf1e3c2e5f23a6ba0ab90f4ff"))
    assert b"www.example.com" in peer.response(1).body


@must("RFC 7541 6.2.2")
@pytest.mark.parametrize("kind", [0x00, 0x10])
def test_literals_that_go_into_no_table(peer: Peer, kind: int) -> None:
    send(peer, 1, b"\x82\x86\x84" + bytes((kind | 1,)) + b"\x0bexample.org" + bytes((kind,)) + b"\x03x-b\x03abc")
    assert b"abc" in peer.response(1).body
    send(peer, 3, b"\x82\x86\x84\xbe")
    peer.connection_error(COMPRESSION_ERROR)


@must("RFC 9113 4.3")
def test_the_table_stays_right_when_a_stream_is_refused(peer: Peer) -> None:
    peer.send(peer.headers(1, [*GET, (b"x-added", b"by a bad request"), (b"connection", b"close")]))
    peer.ping()
    if peer.goaway is None:
        assert b"by a bad request" in peer.get(3, [*GET, (b"x-added", b"by a bad request")]).body


@must("RFC 7541 4.2")
def test_a_client_that_wants_no_table_gets_none(peer: Peer) -> None:
    peer.send(raw(4, 0, 0, b"\0\1\0\0\0\0"))
    peer.ping()
    peer.decoder.max_allowed_table_size = 0
    for stream in (1, 3, 5, 7):
        assert peer.get(stream).status == 200
    assert not peer.decoder.header_table.dynamic_entries


@must("RFC 7541 4.2, RFC 9113 6.5.3")
@pytest.mark.parametrize("sizes", [(0, 4096), (4096, 0, 4096), (0, 100), (100, 0), (0, 10_000)])
def test_sizes_that_follow_each_other_in_one_frame_are_taken_in_their_order(peer: Peer, sizes: tuple[int, ...]) -> None:
    for stream in (1, 3, 5):
        assert peer.get(stream).status == 200  # what comes again is now in the table
    peer.send(raw(4, 0, 0, b"".join(b"\0\1" + size.to_bytes(4, "big") for size in sizes)))
    peer.ping()
    for size in (min(sizes), sizes[-1]):
        peer.decoder.max_allowed_table_size = size
        peer.decoder.header_table.maxsize = min(size, peer.decoder.header_table.maxsize)
    for stream in (7, 9, 11):
        assert peer.get(stream).status == 200


@sec("RFC 7541 7.3, RFC 9113 10.5.1")
def test_a_bomb_does_not_go_off(peer: Peer) -> None:
    send(peer, 1, FIXED + b"\x40\x01x\x7f\xa1\x1e" + b"v" * 4000)
    peer.response(1)
    peer.send(raw(1, 5, 3, b"\xbe" * 16_000))
    peer.until(lambda: peer.goaway or (3 in peer.answers and (peer.answers[3].reset or peer.answers[3].ended)))
    if peer.goaway is None and peer.answers[3].fields:
        assert peer.answers[3].status >= 400
