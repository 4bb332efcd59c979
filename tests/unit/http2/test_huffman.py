"""Huffman-coded strings: what zlib makes of them is what RFC 7541 says, also for those that are not encoded properly."""

from __future__ import annotations

import pytest
from hpack import HPACKDecodingError
from hpack.huffman import HuffmanEncoder
from hpack.huffman_constants import REQUEST_CODES, REQUEST_CODES_LENGTH
from hpack.huffman_table import decode_huffman
from hypothesis import example, given
from hypothesis import strategies as st

from appserver.http2 import huffman

ENCODER = HuffmanEncoder(REQUEST_CODES, REQUEST_CODES_LENGTH)
VISIBLE = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E)).map(str.encode)


def encode(text: bytes) -> bytes:
    return bytes(ENCODER.encode(text))


def outcome(data: bytes, decode: object = huffman.decode) -> bytes | None:
    """What a string says, None if it is not valid."""
    assert callable(decode)
    try:
        return bytes(decode(data))
    except HPACKDecodingError:
        return None


def padded(text: bytes, bits: int) -> bytes:
    """A string with so many ones behind it."""
    code = "".join(f"{REQUEST_CODES[octet]:0{REQUEST_CODES_LENGTH[octet]}b}" for octet in text) + "1" * bits
    assert not len(code) % 8
    return bytes(int(code[start : start + 8], 2) for start in range(0, len(code), 8))


@pytest.mark.parametrize("octet", range(256))
@pytest.mark.parametrize("around", [b"", b"a", b"12345678"])
def test_every_octet_can_be_said(octet: int, around: bytes) -> None:
    text = around + bytes((octet,)) + around
    assert huffman.decode(encode(text)) == text


def test_the_examples_of_the_rfc() -> None:  # appendix C.4
    assert huffman.decode(bytes.fromhex("f1e3c2e5f23a6ba0ab90f4ff")) == b"www.example.com"
    assert huffman.decode(bytes.fromhex("25a849e95bb8e8b4bf")) == b"custom-value"


@given(st.one_of(VISIBLE, st.binary()))
def test_what_was_encoded_is_decoded(text: bytes) -> None:
    assert huffman.decode(encode(text)) == text


@given(st.one_of(st.binary(), st.builds(bytes.__add__, VISIBLE.map(encode), st.binary(max_size=4))))
@example(b"\xff")
@example(b"\xff\xff")
@example(b"\xff\xff\xff\xff")  # the mark for the end, and padding (section 5.2)
@example(b"\x00\xff")
@example(b"\x00\x00")
def test_any_octets_are_taken_or_refused_as_by_the_library(data: bytes) -> None:
    assert outcome(data) == outcome(data, decode_huffman)


@pytest.mark.parametrize("end", [b"", b"#", b"!", b"z", b"X", b"o", b"\\"])
def test_padding_of_seven_ones_is_right_and_of_eight_wrong(end: bytes) -> None:
    seen = set()
    for zeros in range(8):
        text = b"0" * zeros + end
        size = sum(REQUEST_CODES_LENGTH[octet] for octet in text)
        bits = -size % 8
        assert outcome(padded(text, bits)) == text
        assert outcome(padded(text, bits + 8)) is None
        assert outcome(padded(text, bits + 16)) is None
        seen.add(bits)
    assert seen == set(range(8))


def test_padding_that_is_not_all_ones_is_refused() -> None:
    for padding in range(8):  # behind "0", which is five zeros
        assert outcome(bytes((padding,))) == (b"0" if padding == 0b111 else None)


@given(VISIBLE)
def test_a_string_that_breaks_off_is_taken_or_refused_as_by_the_library(text: bytes) -> None:
    data = encode(text)
    assert outcome(data[:-1]) == outcome(data[:-1], decode_huffman)
