"""RFC 9113 sections 3, 4 and 6: the preface, frames, and what each type of them may look like."""

from __future__ import annotations

import itertools
import struct

import pytest

from tests.conformance.http2.peer import (
    COMPRESSION_ERROR,
    FLOW_CONTROL_ERROR,
    FRAME_SIZE_ERROR,
    GET,
    POST,
    PREFACE,
    PROTOCOL_ERROR,
    STREAM_CLOSED,
    Gone,
    Peer,
    raw,
)
from tests.conformance.levels import must, should

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)


def setting(identifier: int, value: int) -> bytes:
    return struct.pack(">HL", identifier, value)


@must("RFC 9113 3.4")
class TestPreface:
    def test_the_server_begins_with_settings(self, silent: Peer) -> None:
        silent.send(PREFACE, raw(SETTINGS))
        silent.until(lambda: silent.settings)

    def test_frames_may_follow_at_once(self, silent: Peer) -> None:
        silent.send(PREFACE, raw(SETTINGS), silent.headers(1))
        assert silent.response(1).status == 200

    def test_it_may_come_in_pieces(self, silent: Peer) -> None:
        for octet in PREFACE + raw(SETTINGS):
            silent.send(bytes((octet,)))
        assert silent.get(1).status == 200

    @pytest.mark.parametrize("octets", [PREFACE[:16] + b"XX\r\n\r\n" + b"x" * 20, PREFACE[:-4] + b"x" * 40])
    def test_what_is_no_preface_is_closed(self, silent: Peer, octets: bytes) -> None:
        silent.send(octets)
        with pytest.raises((Gone, AssertionError, ValueError)):
            silent.until(lambda: silent.answers)

    @pytest.mark.parametrize("frame", [raw(PING, 0, 0, bytes(8)), raw(SETTINGS, 1), raw(0x42)])
    def test_the_first_frame_is_settings(self, silent: Peer, frame: bytes) -> None:
        silent.send(PREFACE, frame)
        silent.connection_error(PROTOCOL_ERROR)


@must("RFC 9113 4.1")
class TestFrames:
    def test_unknown_types_are_ignored(self, peer: Peer) -> None:
        peer.send(raw(0x16, 0xFF, 0, bytes(8)), raw(0xFA, 0, 1, b"x"))
        peer.fine()

    def test_undefined_flags_are_ignored(self, peer: Peer) -> None:
        peer.send(raw(PING, 0x16, 0, b"01234567"))
        peer.until(lambda: peer.pongs == [b"01234567"])

    def test_the_reserved_bit_is_ignored(self, peer: Peer) -> None:
        peer.send(raw(PING, 0, 1 << 31, b"01234567"))
        peer.until(lambda: peer.pongs == [b"01234567"])

    @must("RFC 9113 4.2")
    def test_a_frame_of_the_largest_size_is_taken(self, peer: Peer) -> None:
        peer.begin(1)
        peer.send(peer.data(1, bytes(16384), end=True))
        assert peer.response(1).status == 200

    @must("RFC 9113 4.2")
    @pytest.mark.parametrize("kind", [DATA, HEADERS, SETTINGS])
    def test_one_that_is_larger_is_not(self, peer: Peer, kind: int) -> None:
        stream = 0 if kind == SETTINGS else 1
        peer.begin(1) if kind == DATA else None
        peer.send(raw(kind, 0, stream, bytes(16386)))
        peer.connection_error(FRAME_SIZE_ERROR)

    @must("RFC 9113 4.3")
    def test_a_block_that_cannot_be_decoded_ends_the_connection(self, peer: Peer) -> None:
        peer.send(raw(HEADERS, 5, 1, b"\xff\xff\xff\xff\xff\xff"))
        peer.connection_error(COMPRESSION_ERROR)

    @must("RFC 9113 4.3")
    @pytest.mark.parametrize(
        "between",
        [
            raw(PRIORITY, 0, 1, bytes(5)),
            raw(HEADERS, 4, 3, b"\x82"),
            raw(PING, 0, 0, bytes(8)),
            raw(0x42, 0, 0),
            raw(DATA, 0, 1, b"x"),
            raw(CONTINUATION, 4, 3, b""),
            raw(SETTINGS),
            raw(WINDOW_UPDATE, 0, 0, b"\0\0\0\1"),
        ],
    )
    def test_nothing_stands_within_a_block(self, peer: Peer, between: bytes) -> None:
        peer.send(raw(HEADERS, 1, 1, peer.block(GET)), between)
        peer.connection_error(PROTOCOL_ERROR)


@must("RFC 9113 6.1")
class TestData:
    def test_it_belongs_to_a_stream(self, peer: Peer) -> None:
        peer.send(raw(DATA, 1, 0, b"x"))
        peer.connection_error(PROTOCOL_ERROR)

    def test_not_to_one_that_has_ended(self, peer: Peer) -> None:
        peer.get(1)
        peer.send(peer.data(1, b"x"))
        peer.stream_error(1, STREAM_CLOSED)

    def test_padding_is_no_body(self, peer: Peer) -> None:
        peer.begin(1)
        peer.send(raw(DATA, 9, 1, b"\x05hello" + bytes(5)))
        assert b'"hello"' in peer.response(1).body

    @pytest.mark.parametrize("payload", [b"\x01", b"\x06hello", b"\xff"])
    def test_padding_that_is_longer_than_the_frame(self, peer: Peer, payload: bytes) -> None:
        peer.begin(1)
        peer.send(raw(DATA, 9, 1, payload))
        peer.connection_error(PROTOCOL_ERROR)

    def test_padding_without_a_length(self, peer: Peer) -> None:
        peer.begin(1)
        peer.send(raw(DATA, 9, 1))
        peer.connection_error(FRAME_SIZE_ERROR, PROTOCOL_ERROR)


@must("RFC 9113 6.2")
class TestHeaders:
    def test_they_belong_to_a_stream(self, peer: Peer) -> None:
        peer.send(raw(HEADERS, 5, 0, peer.block(GET)))
        peer.connection_error(PROTOCOL_ERROR)

    def test_padding_and_priority(self, peer: Peer) -> None:
        payload = b"\x08" + struct.pack(">LB", 0, 15) + peer.block(GET) + bytes(8)
        peer.send(raw(HEADERS, 0x2D, 1, payload))
        assert peer.response(1).status == 200

    def test_padding_that_is_longer_than_the_frame(self, peer: Peer) -> None:
        peer.send(raw(HEADERS, 0x0D, 1, b"\xff" + peer.block(GET)))
        peer.connection_error(PROTOCOL_ERROR)

    def test_a_priority_that_breaks_off(self, peer: Peer) -> None:
        peer.send(raw(HEADERS, 0x25, 1, b"123"))
        peer.connection_error(FRAME_SIZE_ERROR, PROTOCOL_ERROR)


@must("RFC 9113 6.3")
class TestPriority:
    def test_it_belongs_to_a_stream(self, peer: Peer) -> None:
        peer.send(raw(PRIORITY, 0, 0, bytes(5)))
        peer.connection_error(PROTOCOL_ERROR)

    @pytest.mark.parametrize("size", [0, 4, 6])
    def test_it_has_five_octets(self, peer: Peer, size: int) -> None:
        peer.begin(1)
        peer.send(raw(PRIORITY, 0, 1, bytes(size)))
        peer.stream_error(1, FRAME_SIZE_ERROR)

    @pytest.mark.parametrize("stream", [1, 5, 99])
    def test_it_may_come_for_any_stream(self, peer: Peer, stream: int) -> None:
        peer.send(raw(PRIORITY, 0, stream, struct.pack(">LB", 3, 255)))
        peer.fine()

    def test_and_when_the_stream_has_ended(self, peer: Peer) -> None:
        peer.get(1)
        peer.send(raw(PRIORITY, 0, 1, struct.pack(">LB", 3, 255)))
        peer.fine()


@must("RFC 9113 6.4")
class TestResets:
    def test_they_belong_to_a_stream(self, peer: Peer) -> None:
        peer.send(raw(RST_STREAM, 0, 0, bytes(4)))
        peer.connection_error(PROTOCOL_ERROR)

    def test_which_has_begun(self, peer: Peer) -> None:
        peer.send(raw(RST_STREAM, 0, 1, bytes(4)))
        peer.connection_error(PROTOCOL_ERROR)

    @pytest.mark.parametrize("size", [0, 3, 5])
    def test_they_have_four_octets(self, peer: Peer, size: int) -> None:
        peer.begin(1)
        peer.send(raw(RST_STREAM, 0, 1, bytes(size)))
        peer.connection_error(FRAME_SIZE_ERROR)

    def test_a_stream_that_was_reset_gets_no_more(self, peer: Peer) -> None:
        peer.begin(1, [*POST[:3], (b":path", b"/sleep/1/x")], end=True)
        peer.send(raw(RST_STREAM, 0, 1, b"\0\0\0\x08"))
        peer.ping()
        assert peer.get(3).status == 200
        assert not peer.answers.get(1) or not peer.answers[1].fields

    def test_they_may_cross_the_end(self, peer: Peer) -> None:
        peer.get(1)
        peer.send(raw(RST_STREAM, 0, 1, b"\0\0\0\x08"))
        peer.fine()

    def test_unknown_codes_do_no_harm(self, peer: Peer) -> None:
        peer.begin(1)
        peer.send(raw(RST_STREAM, 0, 1, b"\xff\xff\xff\xff"))
        peer.fine()


@must("RFC 9113 6.5")
class TestSettings:
    def test_they_are_acknowledged(self, peer: Peer) -> None:
        before = peer.acknowledged
        peer.send(raw(SETTINGS, 0, 0, setting(3, 10)))
        peer.until(lambda: peer.acknowledged > before)

    @must("RFC 9113 6.5.3")
    def test_each_of_them(self, peer: Peer) -> None:
        before = peer.acknowledged
        peer.send(raw(SETTINGS) * 5)
        peer.until(lambda: peer.acknowledged == before + 5)

    def test_they_belong_to_the_connection(self, peer: Peer) -> None:
        peer.send(raw(SETTINGS, 0, 1, setting(3, 10)))
        peer.connection_error(PROTOCOL_ERROR)

    def test_an_acknowledgement_is_empty(self, peer: Peer) -> None:
        peer.send(raw(SETTINGS, 1, 0, setting(3, 10)))
        peer.connection_error(FRAME_SIZE_ERROR)

    @pytest.mark.parametrize("size", [1, 3, 7])
    def test_their_size_is_a_multiple_of_six(self, peer: Peer, size: int) -> None:
        peer.send(raw(SETTINGS, 0, 0, bytes(size)))
        peer.connection_error(FRAME_SIZE_ERROR)

    @must("RFC 9113 6.5.2")
    @pytest.mark.parametrize(
        ("identifier", "value", "code"),
        [
            (2, 2, PROTOCOL_ERROR),
            (4, 2**31, FLOW_CONTROL_ERROR),
            (5, 16383, PROTOCOL_ERROR),
            (5, 2**24, PROTOCOL_ERROR),
        ],
    )
    def test_values_that_none_may_have(self, peer: Peer, identifier: int, value: int, code: int) -> None:
        peer.send(raw(SETTINGS, 0, 0, setting(identifier, value)))
        peer.connection_error(code)

    @must("RFC 8441 3, RFC 9218 2.1")
    @pytest.mark.parametrize("identifier", [8, 9])
    def test_flags_of_later_documents(self, peer: Peer, identifier: int) -> None:
        peer.send(raw(SETTINGS, 0, 0, setting(identifier, 2)))
        peer.connection_error(PROTOCOL_ERROR)

    @must("RFC 9113 6.5.2")
    def test_unknown_ones_are_ignored(self, peer: Peer) -> None:
        peer.send(raw(SETTINGS, 0, 0, setting(0xFF, 7) + setting(0xABCD, 2**32 - 1)))
        peer.fine()

    @should("RFC 9113 6.5.2")
    def test_what_the_server_says(self, peer: Peer) -> None:
        assert peer.settings[3] >= 100
        assert 6 in peer.settings
        assert peer.settings.get(5, 16384) >= 16384


@must("RFC 9113 6.6, 8.4")
def test_a_client_cannot_push(peer: Peer) -> None:
    peer.send(raw(PUSH_PROMISE, 4, 1, b"\0\0\0\x02" + peer.block(GET)))
    peer.connection_error(PROTOCOL_ERROR)


@must("RFC 9113 6.7")
class TestPing:
    def test_it_is_answered_with_the_same_octets(self, peer: Peer) -> None:
        peer.send(raw(PING, 0, 0, b"12345678"), raw(PING, 0, 0, b"abcdefgh"))
        peer.until(lambda: peer.pongs == [b"12345678", b"abcdefgh"])

    def test_an_answer_is_not_answered(self, peer: Peer) -> None:
        peer.send(raw(PING, 1, 0, b"12345678"))
        peer.fine()
        assert peer.pongs == [b"are-you?"]

    def test_it_belongs_to_the_connection(self, peer: Peer) -> None:
        peer.send(raw(PING, 0, 1, bytes(8)))
        peer.connection_error(PROTOCOL_ERROR)

    @pytest.mark.parametrize("size", [0, 7, 9])
    def test_it_has_eight_octets(self, peer: Peer, size: int) -> None:
        peer.send(raw(PING, 0, 0, bytes(size)))
        peer.connection_error(FRAME_SIZE_ERROR)


@must("RFC 9113 6.8")
class TestGoaway:
    def test_it_belongs_to_the_connection(self, peer: Peer) -> None:
        peer.send(raw(GOAWAY, 0, 1, bytes(8)))
        peer.connection_error(PROTOCOL_ERROR)

    def test_what_is_under_way_is_completed(self, peer: Peer) -> None:
        peer.begin(1)
        peer.send(raw(GOAWAY, 0, 0, bytes(8)), peer.data(1, b"x", end=True))
        assert peer.response(1).status == 200


@must("RFC 9113 6.9")
class TestWindowUpdates:
    @pytest.mark.parametrize("size", [0, 3, 5])
    def test_they_have_four_octets(self, peer: Peer, size: int) -> None:
        peer.send(raw(WINDOW_UPDATE, 0, 0, bytes(size)))
        peer.connection_error(FRAME_SIZE_ERROR)

    def test_none_opens_the_connection_by_nothing(self, peer: Peer) -> None:
        peer.send(raw(WINDOW_UPDATE, 0, 0, bytes(4)))
        peer.connection_error(PROTOCOL_ERROR)

    def test_nor_a_stream(self, peer: Peer) -> None:
        peer.begin(1)
        peer.send(raw(WINDOW_UPDATE, 0, 1, bytes(4)))
        peer.stream_error(1, PROTOCOL_ERROR)

    def test_not_on_a_stream_that_has_not_begun(self, peer: Peer) -> None:
        peer.send(raw(WINDOW_UPDATE, 0, 1, b"\0\0\0\1"))
        peer.connection_error(PROTOCOL_ERROR)

    def test_they_may_cross_the_end_of_a_stream(self, peer: Peer) -> None:
        peer.get(1)
        peer.send(raw(WINDOW_UPDATE, 0, 1, b"\0\0\0\1"))
        peer.fine()

    @must("RFC 9113 6.9.1")
    def test_the_window_of_the_connection_ends_at_2_31_minus_1(self, peer: Peer) -> None:
        peer.send(raw(WINDOW_UPDATE, 0, 0, b"\x7f\xff\xff\xff"))
        peer.connection_error(FLOW_CONTROL_ERROR)

    @must("RFC 9113 6.9.1")
    def test_and_that_of_a_stream(self, peer: Peer) -> None:
        peer.begin(1)
        peer.send(raw(WINDOW_UPDATE, 0, 1, b"\x7f\xff\xff\xff"))
        peer.stream_error(1, FLOW_CONTROL_ERROR)


@must("RFC 9113 6.10")
class TestContinuation:
    @pytest.mark.parametrize("pieces", [1, 2, 5])
    def test_a_block_in_pieces(self, peer: Peer, pieces: int) -> None:
        block = peer.block(GET)
        parts = [block[index::pieces] for index in range(pieces)]
        cut = [0]
        for part in parts:
            cut.append(cut[-1] + len(part))
        sent = [block[start:end] for start, end in itertools.pairwise(cut)]
        peer.send(raw(HEADERS, 1, 1, b""), *(raw(CONTINUATION, 0, 1, piece) for piece in sent[:-1]))
        peer.send(raw(CONTINUATION, 4, 1, sent[-1]))
        assert peer.response(1).status == 200

    def test_it_belongs_to_a_stream(self, peer: Peer) -> None:
        peer.send(raw(HEADERS, 1, 1, peer.block(GET)), raw(CONTINUATION, 4, 0))
        peer.connection_error(PROTOCOL_ERROR)

    def test_it_follows_headers(self, peer: Peer) -> None:
        peer.send(raw(CONTINUATION, 4, 1, peer.block(GET)))
        peer.connection_error(PROTOCOL_ERROR)

    def test_not_those_that_have_ended(self, peer: Peer) -> None:
        peer.send(peer.headers(1), raw(CONTINUATION, 4, 1))
        peer.connection_error(PROTOCOL_ERROR)

    def test_nor_data(self, peer: Peer) -> None:
        peer.begin(1)
        peer.send(peer.data(1, b"x"), raw(CONTINUATION, 4, 1))
        peer.connection_error(PROTOCOL_ERROR)
