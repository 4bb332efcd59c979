"""RFC 9113 section 5: states of streams, their numbers, flow control, errors; and RFC 9218."""

from __future__ import annotations

import struct
from functools import partial

import pytest

from tests.conformance.http2.peer import (
    FLOW_CONTROL_ERROR,
    GET,
    POST,
    PROTOCOL_ERROR,
    REFUSED_STREAM,
    STREAM_CLOSED,
    Fields,
    Peer,
    changed,
    raw,
)
from tests.conformance.levels import must, should
from tests.support.address import Address

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)


def path(value: str) -> Fields:
    return changed(GET, path=value.encode())


def update(stream: int, size: int) -> bytes:
    return raw(WINDOW_UPDATE, 0, stream, struct.pack(">L", size))


@must("RFC 9113 5.1")
class TestStates:
    def test_idle_takes_no_data(self, peer: Peer) -> None:
        peer.send(peer.data(1, b"x", end=True))
        peer.connection_error(PROTOCOL_ERROR, STREAM_CLOSED)

    def test_idle_takes_no_reset(self, peer: Peer) -> None:
        peer.send(raw(RST_STREAM, 0, 1, bytes(4)))
        peer.connection_error(PROTOCOL_ERROR)

    def test_idle_takes_no_window(self, peer: Peer) -> None:
        peer.send(update(1, 1))
        peer.connection_error(PROTOCOL_ERROR)

    def test_half_closed_takes_no_data(self, peer: Peer) -> None:
        peer.begin(1, path("/sleep/1/x"), end=True)
        peer.send(peer.data(1, b"x"))
        peer.stream_error(1, STREAM_CLOSED)

    def test_half_closed_takes_no_headers(self, peer: Peer) -> None:
        peer.begin(1, path("/sleep/1/x"), end=True)
        peer.send(peer.headers(1))
        peer.stream_error(1, STREAM_CLOSED)

    def test_half_closed_takes_windows_and_priorities(self, peer: Peer) -> None:
        peer.begin(1, path("/sleep/1/x"), end=True)
        peer.send(update(1, 1), raw(PRIORITY, 0, 1, bytes(5)))
        assert peer.response(1).status == 200

    @pytest.mark.parametrize("flags", [0, 1])
    def test_closed_takes_no_data(self, peer: Peer, flags: int) -> None:
        peer.get(1)
        peer.send(raw(DATA, flags, 1, b"x"))
        peer.stream_error(1, STREAM_CLOSED)

    def test_closed_takes_no_headers(self, peer: Peer) -> None:
        peer.get(1)
        peer.send(peer.headers(1))
        peer.connection_error(STREAM_CLOSED, PROTOCOL_ERROR)

    def test_what_the_client_has_reset_takes_no_data(self, peer: Peer) -> None:
        peer.begin(1)
        peer.send(raw(RST_STREAM, 0, 1, b"\0\0\0\x08"), peer.data(1, b"x"))
        peer.stream_error(1, STREAM_CLOSED)

    def test_nor_headers(self, peer: Peer) -> None:
        peer.begin(1)
        peer.send(raw(RST_STREAM, 0, 1, b"\0\0\0\x08"), peer.headers(1))
        peer.stream_error(1, STREAM_CLOSED)

    def test_what_is_on_its_way_when_the_server_resets_is_ignored(self, peer: Peer) -> None:
        peer.begin(1)
        peer.send(update(1, 0))
        peer.stream_error(1, PROTOCOL_ERROR)
        if peer.goaway is None:
            peer.send(peer.data(1, b"x"), update(1, 1), peer.headers(1), raw(RST_STREAM, 0, 1, bytes(4)))
            peer.ping()
            assert peer.goaway is None


@must("RFC 9113 5.1.1")
class TestNumbers:
    @pytest.mark.parametrize("stream", [2, 4, 100])
    def test_even_ones_are_the_servers(self, peer: Peer, stream: int) -> None:
        peer.send(peer.headers(stream))
        peer.connection_error(PROTOCOL_ERROR)

    def test_they_only_grow(self, peer: Peer) -> None:
        assert peer.get(5).status == 200
        peer.send(peer.headers(3))
        peer.connection_error(PROTOCOL_ERROR)

    @pytest.mark.parametrize("left_out", [1, 3, 9, 99])
    def test_those_that_were_left_out_are_lost(self, peer: Peer, left_out: int) -> None:
        for stream in (5, 7, 101):
            assert peer.get(stream).status == 200
        peer.send(peer.headers(left_out))
        peer.connection_error(PROTOCOL_ERROR)

    def test_some_may_be_left_out(self, peer: Peer) -> None:
        for stream in (1, 7, 1001):
            assert peer.get(stream).status == 200

    def test_the_last_one(self, peer: Peer) -> None:
        assert peer.get(2**31 - 1).status == 200


@must("RFC 9113 5.1.2")
class TestConcurrency:
    def test_as_many_as_were_promised(self, peer: Peer) -> None:
        limit = min(peer.settings[3], 200)
        streams = [2 * index + 1 for index in range(limit)]
        for stream in streams:
            peer.begin(stream)
        for stream in streams:
            peer.send(peer.data(stream, b"x", end=True))
        assert {peer.response(stream).status for stream in streams} == {200}

    def test_and_one_more_is_refused(self, peer: Peer) -> None:
        limit = peer.settings[3]
        if limit > 1000:
            pytest.skip("there is hardly a limit")
        for index in range(limit):
            peer.begin(2 * index + 1)
        peer.begin(2 * limit + 1)
        peer.stream_error(2 * limit + 1, REFUSED_STREAM, PROTOCOL_ERROR)

    def test_one_that_has_ended_makes_room(self, peer: Peer) -> None:
        for index in range(min(peer.settings[3], 200) + 20):
            assert peer.get(2 * index + 1).status == 200


@must("RFC 9113 5.2")
class TestWindowsOfTheClient:
    def test_nothing_is_sent_into_a_window_of_0(self, address: Address) -> None:
        peer = Peer(address, settings={4: 0})
        peer.send(peer.headers(1, path("/stream/3")))
        peer.until(lambda: peer.answers.get(1) and peer.answers[1].fields)
        peer.ping()
        assert peer.answers[1].body == b""
        peer.send(update(1, 100_000))
        assert peer.response(1).body
        peer.close()

    def test_one_of_1_lets_an_octet_through(self, address: Address) -> None:
        peer = Peer(address, settings={4: 1})
        peer.send(peer.headers(1))
        peer.until(lambda: peer.answers.get(1) and peer.answers[1].sizes)
        peer.ping()
        assert peer.answers[1].body == peer.answers[1].body[:1]
        for _ in range(3):
            before = len(peer.answers[1].body)
            peer.send(update(1, 1))
            peer.until(partial(lambda wanted: len(peer.answers[1].body) == wanted, before + 1))
        peer.close()

    @must("RFC 9113 6.9.2")
    def test_settings_change_the_windows_of_open_streams(self, address: Address) -> None:
        peer = Peer(address, settings={4: 0})
        peer.send(peer.headers(1))
        peer.ping()
        peer.send(raw(SETTINGS, 0, 0, struct.pack(">HL", 4, 5)))
        peer.until(lambda: peer.answers.get(1) and len(peer.answers[1].body) == 5)
        peer.send(raw(SETTINGS, 0, 0, struct.pack(">HL", 4, 3)))
        peer.send(update(1, 2))  # from -2 to 0
        peer.ping()
        assert len(peer.answers[1].body) == 5
        peer.send(update(1, 1))
        peer.until(lambda: len(peer.answers[1].body) == 6)
        peer.close()

    @must("RFC 9113 6.9.2")
    def test_settings_cannot_make_them_too_large(self, peer: Peer) -> None:
        peer.begin(1, path("/sleep/5/x"), end=True)
        peer.send(update(1, 2**31 - 1 - 65535), raw(SETTINGS, 0, 0, struct.pack(">HL", 4, 65536)))
        peer.connection_error(FLOW_CONTROL_ERROR)

    def test_the_window_of_the_connection_is_kept(self, peer: Peer) -> None:
        for stream in (1, 3, 5):
            peer.send(peer.headers(stream, path(f"/huge/40000/{stream}")))
        for stream in (1, 3, 5):
            peer.send(update(stream, 100_000))
        peer.until(lambda: sum(len(answer.body) for answer in peer.answers.values()) == 65_535)
        peer.ping()
        assert sum(len(answer.body) for answer in peer.answers.values()) == 65_535
        peer.send(update(0, 1_000_000))
        for stream in (1, 3, 5):
            assert len(peer.response(stream).body) == 40_000

    @must("RFC 9113 4.2")
    def test_no_frame_is_larger_than_the_client_takes(self, peer: Peer) -> None:
        peer.send(update(0, 1_000_000), peer.headers(1, path("/huge/300000/x")), update(1, 1_000_000))
        answer = peer.response(1)
        assert len(answer.body) == 300_000
        assert max(answer.sizes) <= 16_384


@must("RFC 9113 5.2, 6.9")
class TestWindowsOfTheServer:
    def test_they_are_opened_again(self, peer: Peer) -> None:
        window = peer.settings.get(4, 65_535)

        def allowed() -> int:
            return min(window + peer.windows.get(1, 0), 65_535 + peer.windows.get(0, 0))

        peer.begin(1, changed(POST, path=b"/count"))
        for sent in range(0, 3 * window, 10_000):
            peer.until(partial(lambda wanted: allowed() >= wanted, sent + 10_000))
            peer.send(peer.data(1, bytes(10_000)))
        peer.send(peer.data(1, end=True))
        assert peer.response(1).status == 200

    def test_a_client_that_sends_more_than_its_window(self, peer: Peer) -> None:
        window = peer.settings.get(4, 65_535)
        peer.begin(1, changed(POST, path=b"/late/5/x"))
        size = 0
        while size <= window + 16_384:
            peer.send(peer.data(1, bytes(16_384)))
            size += 16_384
        peer.stream_error(1, FLOW_CONTROL_ERROR)

    def test_padding_counts(self, peer: Peer) -> None:
        peer.begin(1, changed(POST, path=b"/count"))
        for _ in range(400):
            peer.send(raw(DATA, 8, 1, b"\xff" + b"x" + bytes(255)))
        peer.send(peer.data(1, end=True))
        assert peer.response(1).status == 200


@must("RFC 9113 5.3.2")
@pytest.mark.parametrize("weight", [0, 255])
def test_a_stream_cannot_depend_on_itself(peer: Peer, weight: int) -> None:
    peer.send(raw(HEADERS, 0x25, 1, struct.pack(">LB", 1, weight) + peer.block(GET)))
    peer.ping()
    if peer.goaway is None and peer.answers.get(1) and peer.answers[1].reset is not None:
        assert peer.answers[1].reset == PROTOCOL_ERROR


@must("RFC 9113 5.4.1")
def test_goaway_names_the_last_stream(peer: Peer) -> None:
    peer.get(1)
    peer.get(7)
    peer.send(raw(PING, 0, 1, bytes(8)))
    peer.connection_error(PROTOCOL_ERROR)
    assert peer.goaway is not None
    assert peer.goaway.last_stream_id == 7


@must("RFC 9113 5.4.2")
def test_an_error_of_a_stream_leaves_the_others_alone(peer: Peer) -> None:
    peer.begin(1)
    peer.begin(3)
    peer.send(update(1, 0))
    peer.stream_error(1, PROTOCOL_ERROR)
    peer.send(peer.data(3, b"x", end=True))
    assert peer.response(3).status == 200


@must("RFC 9113 5.5")
class TestExtensions:
    def test_unknown_frames_may_stand_anywhere_but_in_a_block(self, peer: Peer) -> None:
        peer.begin(1)
        peer.send(raw(0x77, 0, 1, b"x"), peer.data(1, b"x"), raw(0x78, 0, 0), peer.data(1, end=True))
        assert peer.response(1).status == 200


@should("RFC 9218")
class TestPriorities:
    def test_the_most_urgent_response_comes_first(self, peer: Peer) -> None:
        """Ten large responses wait for the window of the connection; it opens when all are there."""
        for stream in (1, 3, 5, 7, 9):
            urgency = b"u=%d" % (7 - stream // 2)
            fields = [*path(f"/huge/30000/p{stream}"), (b"priority", urgency)]
            peer.send(peer.headers(stream, fields), update(stream, 100_000))
        peer.until(lambda: sum(len(answer.body) for answer in peer.answers.values()) == 65_535)
        peer.ping()
        peer.order.clear()
        peer.send(update(0, 1_000_000))
        for stream in (1, 3, 5, 7, 9):
            peer.response(stream)
        last = [stream for index, stream in enumerate(peer.order) if stream not in peer.order[index + 1 :]]
        assert last == sorted(last, reverse=True)

    def test_a_frame_changes_that(self, peer: Peer) -> None:
        fields = (b"priority", b"u=5")
        for stream in (1, 3, 5, 7, 9):
            peer.send(peer.headers(stream, [*path(f"/huge/30000/q{stream}"), fields]), update(stream, 100_000))
        peer.until(lambda: sum(len(answer.body) for answer in peer.answers.values()) == 65_535)
        peer.send(raw(0x10, 0, 0, struct.pack(">L", 9) + b"u=0"))
        peer.ping()
        peer.order.clear()
        peer.send(update(0, 1_000_000))
        for stream in (1, 3, 5, 7, 9):
            peer.response(stream)
        assert peer.order[0] == 9

    @must("RFC 9218 7.1")
    @pytest.mark.parametrize("stream", [0, 2])
    def test_a_frame_for_what_no_client_begins(self, peer: Peer, stream: int) -> None:
        peer.send(raw(0x10, 0, 0, struct.pack(">L", stream) + b"u=0"))
        peer.connection_error(PROTOCOL_ERROR)

    @must("RFC 9218 7.1")
    def test_a_frame_on_a_stream(self, peer: Peer) -> None:
        peer.send(raw(0x10, 0, 1, struct.pack(">L", 1) + b"u=0"))
        peer.connection_error(PROTOCOL_ERROR)

    @pytest.mark.parametrize("value", [b"", b"u=9", b"rubbish;;", b"\xff"])
    def test_what_cannot_be_understood_is_passed_over(self, peer: Peer, value: bytes) -> None:
        peer.send(raw(0x10, 0, 0, struct.pack(">L", 1) + value))
        assert peer.get(1).status == 200
