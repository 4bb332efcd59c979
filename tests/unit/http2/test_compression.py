"""RFC 7541, with `hpack` as the oracle in both directions, and its appendix C."""

from __future__ import annotations

import hpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from appserver.http2.compression import Decoder, Encoder
from appserver.http2.errors import Code, ConnectionFailure

NAMES = st.one_of(
    st.sampled_from([b":path", b"cookie", b"set-cookie", b"date", b"x-a", b"content-type", b"authorization", b""]),
    st.binary(max_size=200),
)
VALUES = st.one_of(st.sampled_from([b"", b"/", b"gzip, deflate", b"same"]), st.binary(max_size=300))
FIELDS = st.lists(st.tuples(NAMES, VALUES), max_size=12)
# Header blocks, and before each at the most one change of the table's size: the encoder of hpack writes down each of them,
# where two are the most that may stand at the start of a block (section 4.2).
BLOCKS = st.lists(st.tuples(st.none() | st.integers(0, 6000), FIELDS), max_size=12)
Blocks = list[tuple[int | None, list[tuple[bytes, bytes]]]]


def fails(decoder: Decoder, block: bytes) -> Code:
    with pytest.raises(ConnectionFailure) as caught:
        decoder.decode(block)
    return caught.value.code


@given(BLOCKS, st.booleans())
def test_what_another_encoder_writes_is_read(blocks: Blocks, huffman: bool) -> None:
    encoder, decoder = hpack.Encoder(), Decoder(1 << 20)
    for size, block in blocks:
        if size is not None:
            encoder.header_table_size = min(size, 4096)
        assert decoder.decode(encoder.encode(block, huffman=huffman)) == block


@given(BLOCKS)
def test_what_is_written_another_decoder_reads(blocks: Blocks) -> None:
    encoder, decoder, own = Encoder(), hpack.Decoder(1 << 20), Decoder(1 << 20)
    for size, block in blocks:
        if size is not None:
            encoder.limit_table(size)
            decoder.max_allowed_table_size = size
        octets = encoder.encode(block)
        assert [tuple(field) for field in decoder.decode(octets, raw=True)] == block
        assert own.decode(octets) == block


@given(st.binary(max_size=200))
def test_any_octets_are_read_or_refused_as_another_decoder_does(octets: bytes) -> None:
    own, other = Decoder(1 << 16), hpack.Decoder()
    try:
        expected = [tuple(field) for field in other.decode(octets, raw=True)]
    except hpack.HPACKError:
        assert fails(own, octets) == Code.COMPRESSION_ERROR
        return
    try:
        found = own.decode(octets)
    except ConnectionFailure as failure:
        refused = str(failure)
    else:
        assert found == expected
        return
    assert "a change of the table's size" in refused, "stricter than the oracle in nothing but section 4.2"


class TestExamples:
    """RFC 7541 appendix C."""

    def test_requests_with_huffman(self) -> None:
        decoder = Decoder(1 << 16)
        first = decoder.decode(bytes.fromhex("828684418cf1e3c2e5f23a6ba0ab90f4ff"))
        assert first[3] == (b":authority", b"www.example.com")
        second = decoder.decode(bytes.fromhex("828684be5886a8eb10649cbf"))
        assert second[3:] == [(b":authority", b"www.example.com"), (b"cache-control", b"no-cache")]
        third = decoder.decode(bytes.fromhex("828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf"))
        assert third[-1] == (b"custom-key", b"custom-value")
        assert decoder.list_size == sum(len(name) + len(value) + 32 for name, value in third)

    def test_literals(self) -> None:
        decoder = Decoder(1 << 16)
        octets = bytes.fromhex("400a637573746f6d2d6b65790d637573746f6d2d686561646572")
        assert decoder.decode(octets) == [(b"custom-key", b"custom-header")]
        assert decoder.decode(b"\xbe") == [(b"custom-key", b"custom-header")]
        assert decoder.decode(bytes.fromhex("040c2f73616d706c652f70617468")) == [(b":path", b"/sample/path")]
        assert decoder.decode(bytes.fromhex("100870617373776f726406736563726574")) == [(b"password", b"secret")]
        assert fails(decoder, b"\xbf") == Code.COMPRESSION_ERROR  # the last two went into no table


class TestDecoder:
    @pytest.mark.parametrize(
        "block",
        [
            b"\x80",  # index 0
            b"\xbe",  # an index of an empty table
            b"\xff\xff\xff\xff\xff\x0f",
            b"\x40",  # no name
            b"\x40\x03ab",  # a name that breaks off
            b"\x40\x01a",  # no value
            b"\x40\x01a\x05b",
            b"\xff",  # an integer that breaks off
            b"\xff\x80\x80\x80\x80\x80\x01",  # one that goes on for too long
            b"\x3f\xe2\x1f",  # a table of 4097 octets
            b"\x82\x20",  # a change behind a field
            b"\x20\x20\x20",  # more changes than two
            b"\x40\x81\xff\x01a",  # padding of a whole octet (section 5.2)
            b"\x40\x81\x00\x01a",  # padding with zeros
        ],
    )
    def test_broken_blocks_end_the_connection(self, block: bytes) -> None:
        assert fails(Decoder(1 << 16), block) == Code.COMPRESSION_ERROR

    def test_a_block_may_not_unpack_to_any_size(self) -> None:
        decoder = Decoder(10_000)
        decoder.decode(b"\x40\x01a" + b"\x7f\xa1\x1e" + bytes(4000))
        assert decoder.decode(b"\xbe\xbe") == [(b"a", bytes(4000))] * 2
        assert fails(decoder, b"\xbe" * 3) == Code.ENHANCE_YOUR_CALM

    def test_fields_without_octets_count(self) -> None:
        assert fails(Decoder(3200), b"\x00\x00\x00" * 101) == Code.ENHANCE_YOUR_CALM

    def test_a_smaller_table_that_was_acknowledged_has_to_be_taken(self) -> None:
        decoder = Decoder(1 << 16)
        decoder.limit_table(100)
        assert fails(decoder, b"\x82") == Code.COMPRESSION_ERROR

    def test_a_smaller_table(self) -> None:
        decoder = Decoder(1 << 16)
        decoder.limit_table(100)
        assert decoder.decode(b"\x3f\x45\x82") == [(b":method", b"GET")]
        assert decoder.decode(b"\x82") == [(b":method", b"GET")]
        assert fails(decoder, b"\x3f\x46") == Code.COMPRESSION_ERROR

    def test_a_larger_table_may_be_left_unused(self) -> None:
        decoder = Decoder(1 << 16)
        decoder.limit_table(8192)
        assert decoder.decode(b"\x82") == [(b":method", b"GET")]
        assert decoder.decode(b"\x3f\xe1\x3f\x82") == [(b":method", b"GET")]

    def test_a_field_that_is_larger_than_the_table_empties_it(self) -> None:
        decoder = Decoder(1 << 16)
        decoder.decode(b"\x40\x01a\x01b")
        decoder.decode(b"\x40\x01c\x7f\x81\x1f" + bytes(4096))
        assert fails(decoder, b"\xbe") == Code.COMPRESSION_ERROR

    def test_changes_are_those_of_the_table(self) -> None:
        decoder = Decoder(1 << 16)
        decoder.decode(b"\x82\x00\x01a\x01b\x10\x01a\x01b")
        assert decoder.changes == 0
        decoder.decode(b"\x40\x01a\x01b")
        decoder.decode(b"\x20")
        assert decoder.changes == 2


class TestEncoder:
    def test_a_field_goes_into_the_table_when_it_comes_again(self) -> None:
        encoder, field = Encoder(), (b"content-type", b"text/plain")
        sizes = [len(encoder.encode([(b":status", b"200"), field])) for _ in range(3)]
        assert min(sizes[:2]) > 10
        assert sizes[2] == 2

    @pytest.mark.parametrize("name", [b"set-cookie", b"authorization"])
    def test_secrets_go_into_no_table_not_even_on_the_way(self, name: bytes) -> None:
        encoder, decoder = Encoder(), hpack.Decoder()
        for _ in range(3):
            (field,) = decoder.decode(encoder.encode([(name, b"secret")]))
            assert isinstance(field, hpack.NeverIndexedHeaderTuple)

    def test_a_full_table_stays_as_it_is(self) -> None:
        encoder, decoder = Encoder(), hpack.Decoder()
        fields = [(b"x-%d" % index, bytes(b"v" * 200)) for index in range(40)]
        for _ in range(3):
            assert [tuple(field) for field in decoder.decode(encoder.encode(fields), raw=True)] == fields
        assert len(decoder.header_table.dynamic_entries) == 4096 // 237

    def test_a_client_without_a_table_gets_literals(self) -> None:
        encoder, decoder = Encoder(), hpack.Decoder()
        decoder.max_allowed_table_size = 0
        encoder.limit_table(0)
        for _ in range(3):
            assert list(decoder.decode(encoder.encode([(b"a", b"b")]), raw=True)) == [(b"a", b"b")]
        assert not decoder.header_table.dynamic_entries

    def test_fields_that_vary_are_written_right_however_many_there_are(self) -> None:
        encoder, decoder = Encoder(), hpack.Decoder()
        for turn in range(2):
            for length in range(0, 2000, turn + 1):
                fields = [(b":status", b"200"), (b"content-length", b"%d" % length), (b"x-request-id", b"%d" % length)]
                assert list(decoder.decode(encoder.encode(fields), raw=True)) == fields
        assert not decoder.header_table.dynamic_entries
