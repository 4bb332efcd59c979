"""A connection from its preface to its end (RFC 9113 sections 3 to 6)."""

from __future__ import annotations

import pytest

from appserver.http.limits import Limits
from appserver.http2.connection import Connection
from appserver.http2.errors import Code, ConnectionFailure
from appserver.http2.options import Options
from appserver.http2.priority import Priority
from tests.unit.http2.client import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GET,
    GOAWAY,
    HEADERS,
    PADDED,
    PING,
    POST,
    PREFACE,
    PRIORITY,
    PRIORITY_UPDATE,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    WITH_PRIORITY,
    Client,
    frame,
    number,
    settings,
)

OK = [(b":status", b"200")]


class TestPreface:
    """Section 3.4."""

    def test_the_server_begins_with_its_settings(self) -> None:
        client = Client(Options(Limits(max_header_size=5000), max_concurrent_streams=7), greet=False)
        first, second = client.sent()
        assert (first.kind, first.flags, first.stream_id) == (SETTINGS, 0, 0)
        pairs = {first.payload[at + 1]: int.from_bytes(first.payload[at + 2 : at + 6]) for at in range(0, 36, 6)}
        assert pairs == {1: 4096, 3: 7, 4: 256 * 1024, 6: 5000, 8: 1, 9: 1}
        assert (second.kind, second.stream_id, second.number) == (WINDOW_UPDATE, 0, 1024 * 1024 - 65535)

    def test_the_preface_may_come_an_octet_at_a_time(self) -> None:
        client = Client(greet=False)
        octets = PREFACE + settings() + client.headers(1)
        for octet in octets:
            client.send(bytes((octet,)))
        assert client.taken() == [("request", 1, True)]
        assert client.connection.incomplete_since is None

    @pytest.mark.parametrize("octets", [b"GET / HTTP/1.1\r\n", PREFACE[:10] + b"x", b"\0" * 30])
    def test_what_is_no_preface_ends_the_connection(self, octets: bytes) -> None:
        client = Client(greet=False)
        client.send(octets)
        assert client.goaway() == Code.PROTOCOL_ERROR

    @pytest.mark.parametrize("first", [frame(PING, 0, 0, bytes(8)), frame(SETTINGS, ACK, 0), frame(0x42, 0, 0)])
    def test_the_first_frame_is_settings(self, first: bytes) -> None:
        client = Client(greet=False)
        client.send(PREFACE + first)
        assert client.goaway() == Code.PROTOCOL_ERROR


class TestFrames:
    """Sections 4 and 5.5."""

    def test_unknown_frames_and_flags_are_ignored(self) -> None:
        client = Client()
        client.send(frame(0x77, 0xFF, 1, b"x") + frame(PING, 0xFE, 0, b"12345678"))
        assert [(found.kind, found.payload) for found in client.sent()] == [(PING, b"12345678")]
        assert client.failure is None

    def test_the_reserved_bit_is_ignored(self) -> None:
        client = Client()
        client.send(client.headers(2**31 + 1))
        assert client.taken() == [("request", 1, True)]

    def test_a_frame_that_is_too_large_ends_the_connection(self) -> None:
        client = Client()
        client.send((16385).to_bytes(3) + b"\0\0\0\0\0\1")
        assert client.goaway() == Code.FRAME_SIZE_ERROR

    def test_nothing_is_read_behind_a_failure(self) -> None:
        client = Client()
        client.send(frame(PING, 0, 0) + client.headers(1))
        client.request(3)
        assert client.taken() == []
        assert client.goaway() == Code.FRAME_SIZE_ERROR

    @pytest.mark.parametrize(
        "between", [frame(PING, 0, 0, bytes(8)), frame(CONTINUATION, 4, 3), frame(0x42, 0, 1), frame(DATA, 0, 1, b"x")]
    )
    def test_nothing_may_stand_within_a_header_block(self, between: bytes) -> None:
        client = Client()
        client.send(frame(HEADERS, END_STREAM, 1, b"\x82") + between)
        assert client.goaway() == Code.PROTOCOL_ERROR

    def test_a_continuation_continues_something(self) -> None:
        client = Client()
        client.send(frame(CONTINUATION, END_HEADERS, 1))
        assert client.goaway() == Code.PROTOCOL_ERROR

    def test_a_client_cannot_push(self) -> None:
        client = Client()
        client.send(frame(PUSH_PROMISE, END_HEADERS, 1, number(2)))
        assert client.goaway() == Code.PROTOCOL_ERROR

    def test_the_message_of_goaway_says_what_was_wrong(self) -> None:
        client = Client()
        client.request(1)
        client.send(frame(PING, 0, 1, bytes(8)))
        (goaway,) = client.sent()
        assert goaway.payload[:4] == number(1)
        assert b"PING" in goaway.payload


class TestHeaders:
    """Sections 5.1, 6.2 and 6.10."""

    def test_a_block_may_come_in_pieces(self) -> None:
        client = Client()
        block = client.encoder.encode(GET)
        client.send(frame(HEADERS, END_STREAM, 1, block[:2]) + frame(CONTINUATION, 0, 1, b""))
        assert client.connection.incomplete_since == client.now
        assert client.taken() == []
        client.send(frame(CONTINUATION, END_HEADERS, 1, block[2:]))
        assert client.taken() == [("request", 1, True)]
        assert client.connection.incomplete_since is None

    def test_padding_and_priority_are_taken_off(self) -> None:
        client = Client()
        payload = b"\x03" + number(0) + b"\x10" + client.encoder.encode(GET) + bytes(3)
        client.send(frame(HEADERS, END_STREAM | END_HEADERS | PADDED | WITH_PRIORITY, 1, payload))
        assert client.taken() == [("request", 1, True)]

    def test_a_priority_that_breaks_off(self) -> None:
        client = Client()
        client.send(frame(HEADERS, END_HEADERS | WITH_PRIORITY, 1, b"1234"))
        assert client.goaway() == Code.FRAME_SIZE_ERROR

    def test_a_stream_that_depends_on_itself_costs_the_stream_and_not_the_table(self) -> None:
        client = Client()
        fields = [*GET, (b"x-new", b"value")]
        payload = number(1) + b"\x10" + client.encoder.encode(fields)
        client.send(frame(HEADERS, END_STREAM | END_HEADERS | WITH_PRIORITY, 1, payload))
        assert client.resets() == {1: Code.PROTOCOL_ERROR}
        client.request(3, fields)
        assert client.requests[3].headers[1] == (b"x-new", b"value")

    def test_streams_of_a_client_are_odd(self) -> None:
        client = Client()
        client.request(2)
        assert client.goaway() == Code.PROTOCOL_ERROR

    def test_numbers_of_streams_only_grow(self) -> None:
        client = Client()
        client.request(5)
        client.request(3)
        assert client.goaway() == Code.PROTOCOL_ERROR

    def test_headers_behind_the_end_of_the_request(self) -> None:
        client = Client()
        client.request(1)
        client.request(1)
        assert client.resets() == {1: Code.STREAM_CLOSED}
        assert client.taken()[-1] == ("reset", 1, Code.STREAM_CLOSED)

    def test_headers_on_a_stream_that_is_complete(self) -> None:
        client = Client()
        client.request(1)
        client.connection.send_head(client.streams[1], OK, end=True)
        client.request(1)
        assert client.goaway() == Code.STREAM_CLOSED

    def test_headers_on_a_stream_that_the_server_has_reset_only_change_the_table(self) -> None:
        client = Client()
        client.request(1, POST, end=False)
        client.connection.reset(client.streams[1], Code.CANCEL)
        client.request(1, [(b"x-new", b"value")])
        client.request(3, [*GET, (b"x-new", b"value")])
        assert client.failure is None
        assert client.requests[3].headers[1] == (b"x-new", b"value")

    def test_more_streams_than_the_limit_are_refused_and_can_be_tried_again(self) -> None:
        client = Client(Options(Limits(), max_concurrent_streams=2))
        for stream_id in (1, 3, 5):
            client.request(stream_id, [*GET, (b"x-new", b"%d" % stream_id)])
        assert client.resets() == {5: Code.REFUSED_STREAM}
        client.connection.send_head(client.streams[1], OK, end=True)
        client.request(7, [*GET, (b"x-new", b"5")])
        assert client.requests[7].headers[1] == (b"x-new", b"5")

    def test_a_request_that_repeats_another_is_the_same_and_not_the_same_object(self) -> None:
        client = Client()
        for stream_id in (1, 3, 5, 7):
            client.request(stream_id, [*GET, (b"x", b"y")])
            client.requests[stream_id].headers.append((b"added", b"by the application"))
        assert [len(request.headers) for request in client.requests.values()] == [3, 3, 3, 3]

    def test_what_is_remembered_of_requests_ends_with_a_change_of_the_table(self) -> None:
        client = Client()
        block = b"\x82\x87\x84\x41\x07example\xbe"  # `\xbe` is, each time, what was added last
        client.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, b"\x82\x87\x84\x01\x01a\x40\x01x\x011"))
        repeated = b"\x82\x87\x84\x01\x01a\xbe"
        for stream_id, value in ((3, b"1"), (5, b"1"), (9, b"2"), (11, b"2")):
            if stream_id == 9:
                client.send(frame(HEADERS, END_HEADERS | END_STREAM, 7, b"\x82\x87\x84\x01\x01a\x40\x01x\x012"))
            client.send(frame(HEADERS, END_HEADERS | END_STREAM, stream_id, repeated))
            assert client.requests[stream_id].headers == [(b"host", b"a"), (b"x", value)]
        assert block

    @pytest.mark.parametrize(("crumbs", "kept"), [(2, True), (15, False)])
    def test_a_request_that_unpacks_to_much_is_not_kept(self, crumbs: int, kept: bool) -> None:
        """Sixteen of them, which a client has sent with some hundred octets, would be a megabyte for as long as it stays."""
        client = Client()
        start = b"\x82\x87\x84\x01\x01a"
        client.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, start + b"\x60\x7f\xa1\x16" + b"c" * 2976))
        for stream_id in (3, 5, 7, 9):
            client.send(frame(HEADERS, END_HEADERS | END_STREAM, stream_id, start + b"\xbe" * crumbs))
        assert client.failure is None
        cookies = [dict(client.requests[stream_id].headers)[b"cookie"] for stream_id in (7, 9)]
        assert cookies[0] == cookies[1] == b"; ".join([b"c" * 2976] * crumbs)
        assert (cookies[0] is cookies[1]) == kept


class TestBodies:
    """Sections 6.1 and 8.1."""

    def test_a_body_and_trailers(self) -> None:
        client = Client()
        client.request(1, POST, end=False)
        client.data(1, b"abc")
        client.send(frame(DATA, PADDED, 1, b"\x02def\0\0"))
        client.request(1, [(b"x-checksum", b"1")])
        assert client.taken() == [("request", 1, False), ("data", 1, b"abc"), ("data", 1, b"def"), ("end", 1)]

    def test_the_last_data_may_be_empty(self) -> None:
        client = Client()
        client.request(1, POST, end=False)
        client.data(1, end=True)
        assert client.taken() == [("request", 1, False), ("end", 1)]

    @pytest.mark.parametrize(("pieces", "good"), [([5], True), ([2, 3], True), ([4], False), ([6], False), ([], False)])
    def test_the_length_that_was_announced_is_kept(self, pieces: list[int], good: bool) -> None:
        client = Client()
        client.request(1, [*POST, (b"content-length", b"5")], end=False)
        for size in pieces:
            client.data(1, bytes(size))
        if client.connection.streams:
            client.data(1, end=True)
        assert client.resets() == ({} if good else {1: Code.PROTOCOL_ERROR})
        assert client.taken()[-1] == (("end", 1) if good else ("reset", 1, Code.PROTOCOL_ERROR))

    def test_the_length_counts_with_trailers_too(self) -> None:
        client = Client()
        client.request(1, [*POST, (b"content-length", b"5")], end=False)
        client.request(1, [(b"x-checksum", b"1")])
        assert client.resets() == {1: Code.PROTOCOL_ERROR}

    @pytest.mark.parametrize("fields", [[(b":path", b"/")], [(b"connection", b"close")]])
    def test_malformed_trailers(self, fields: list[tuple[bytes, bytes]]) -> None:
        client = Client()
        client.request(1, POST, end=False)
        client.request(1, fields)
        assert client.resets() == {1: Code.PROTOCOL_ERROR}

    def test_trailers_end_the_stream(self) -> None:
        client = Client()
        client.request(1, POST, end=False)
        client.request(1, [(b"x", b"y")], end=False)
        assert client.resets() == {1: Code.PROTOCOL_ERROR}

    def test_data_behind_the_end_of_the_request(self) -> None:
        client = Client()
        client.request(1)
        client.data(1, b"x")
        assert client.resets() == {1: Code.STREAM_CLOSED}

    def test_data_on_a_stream_that_has_not_begun(self) -> None:
        client = Client()
        client.data(1, b"x")
        assert client.goaway() == Code.PROTOCOL_ERROR

    def test_data_on_a_stream_that_is_complete(self) -> None:
        client = Client()
        client.request(1)
        client.connection.send_head(client.streams[1], OK, end=True)
        client.data(1, b"x")
        assert client.goaway() == Code.STREAM_CLOSED

    def test_a_body_that_nobody_waits_for_is_called_off_behind_the_end_of_the_response(self) -> None:
        client = Client()
        client.request(1, POST, end=False)
        client.connection.send_head(client.streams[1], OK, end=True)
        assert client.resets() == {}
        assert client.taken() == [("request", 1, False), ("unread", 1)]
        client.data(1, b"not wanted")
        assert client.taken() == [("data", 1, b"not wanted")]
        client.connection.reset(client.streams[1], Code.NO_ERROR)
        assert client.resets() == {1: Code.NO_ERROR}
        client.data(1, b"on its way")
        assert client.failure is None
        assert client.taken() == []

    def test_a_body_that_ends_behind_the_response_is_not_called_off(self) -> None:
        client = Client()
        client.request(1, [*POST, (b"content-length", b"10")], end=False)
        client.connection.send_head(client.streams[1], OK, end=True)
        client.data(1, b"less", end=True)
        client.connection.reset(client.streams[1], Code.NO_ERROR)
        assert client.resets() == {}
        assert not client.connection.streams

    def test_a_client_may_call_its_body_off_itself(self) -> None:
        client = Client()
        client.request(1, POST, end=False)
        client.connection.send_head(client.streams[1], OK, end=True)
        client.send(frame(RST_STREAM, 0, 1, number(Code.CANCEL)))
        assert client.resets() == {}
        assert not client.connection.streams


class TestReset:
    """Section 6.4."""

    def test_a_client_resets_a_stream(self) -> None:
        client = Client()
        client.request(1)
        client.send(frame(RST_STREAM, 0, 1, number(8)))
        assert client.taken()[-1] == ("reset", 1, None)
        client.connection.send_head(client.streams[1], OK)
        client.connection.send_data(client.streams[1], b"x", end=True)
        client.connection.reset(client.streams[1], Code.INTERNAL_ERROR)
        assert client.sent() == []
        client.send(frame(RST_STREAM, 0, 1, number(8)))
        assert client.failure is None

    def test_a_stream_that_has_not_begun_cannot_be_reset(self) -> None:
        client = Client()
        client.send(frame(RST_STREAM, 0, 1, number(8)))
        assert client.goaway() == Code.PROTOCOL_ERROR

    def test_what_waits_on_a_stream_that_was_reset_is_dropped(self) -> None:
        client = Client()
        client.request(1)
        client.connection.send_head(client.streams[1], OK)
        client.connection.send_data(client.streams[1], bytes(500_000))
        client.send(frame(RST_STREAM, 0, 1, number(8)))
        assert client.taken()[-2:] == [("writable", 1), ("reset", 1, None)]
        assert {found.kind for found in client.sent()} == {HEADERS}
        assert client.streams[1].queued == 0


class TestSettings:
    """Section 6.5."""

    def test_settings_are_acknowledged(self) -> None:
        client = Client()
        client.send(settings((1, 0), (0x99, 1)))
        assert client.sent() == [(SETTINGS, ACK, 0, b"")]

    def test_our_own_are_waited_for(self) -> None:
        client = Client(greet=False)
        assert client.connection.unanswered_settings == client.now
        client.send(PREFACE + settings() + frame(SETTINGS, ACK, 0))
        assert client.connection.unanswered_settings is None

    def test_an_acknowledgement_has_no_payload(self) -> None:
        client = Client()
        client.send(frame(SETTINGS, ACK, 0, bytes(6)))
        assert client.goaway() == Code.FRAME_SIZE_ERROR

    def test_a_client_without_a_table_gets_literals(self) -> None:
        client = Client()
        client.send(settings((1, 0)))
        client.decoder.max_allowed_table_size = 0
        for stream_id in (1, 3, 5):
            client.request(stream_id)
            client.connection.send_head(client.streams[stream_id], [*OK, (b"a", b"b")], end=True)
        blocks = [found.payload for found in client.sent() if found.kind == HEADERS]
        assert [client.decoder.decode(block, raw=True) for block in blocks] == [[*OK, (b"a", b"b")]] * 3

    def test_larger_frames_are_sent_to_a_client_that_takes_them(self) -> None:
        client = Client()
        client.send(settings((5, 30_000), (4, 100_000)))
        client.send(frame(WINDOW_UPDATE, 0, 0, number(100_000)))
        client.request(1)
        client.connection.send_data(client.streams[1], bytes(70_000))
        assert [len(found.payload) for found in client.sent() if found.kind == DATA] == [30_000, 30_000, 10_000]

    def test_a_table_of_ours_that_is_smaller_counts_from_the_acknowledgement_on(self) -> None:
        client = Client(Options(Limits(), header_table_size=0), greet=False)
        client.send(PREFACE + settings())
        client.request(1)
        client.send(frame(SETTINGS, ACK, 0))
        client.request(3)
        assert client.goaway() == Code.COMPRESSION_ERROR


class TestPing:
    """Section 6.7."""

    def test_a_ping_is_answered_with_its_octets(self) -> None:
        client = Client()
        client.send(frame(PING, 0, 0, b"abcdefgh"))
        assert client.sent() == [(PING, ACK, 0, b"abcdefgh")]

    def test_an_answer_is_not_answered(self) -> None:
        client = Client()
        client.send(frame(PING, ACK, 0, b"abcdefgh"))
        assert client.sent() == []


class TestPriorities:
    """Section 5.3.2, and RFC 9218."""

    @pytest.mark.parametrize("stream_id", [1, 2, 7])
    def test_those_of_rfc_7540_have_no_effect(self, stream_id: int) -> None:
        client = Client()
        client.send(frame(PRIORITY, 0, stream_id, number(9) + b"\xff"))
        assert client.failure is None
        assert client.sent() == []

    def test_a_wrong_size_costs_the_stream(self) -> None:
        client = Client()
        client.request(1)
        client.send(frame(PRIORITY, 0, 1, b"1234"))
        assert client.resets() == {1: Code.FRAME_SIZE_ERROR}

    def test_a_priority_by_the_field(self) -> None:
        client = Client()
        client.request(1, [*GET, (b"priority", b"u=1, i")])
        assert client.streams[1].priority == Priority(1, True)

    def test_a_priority_by_a_frame_before_the_stream_begins(self) -> None:
        client = Client()
        client.send(frame(PRIORITY_UPDATE, 0, 0, number(3) + b"u=5"))
        client.request(1)
        client.request(3, [*GET, (b"priority", b"u=1, i")])
        assert client.streams[3].priority == Priority(5, False)

    @pytest.mark.parametrize("stream_id", [0, 2])
    def test_a_frame_for_what_is_no_stream_of_the_client(self, stream_id: int) -> None:
        client = Client()
        client.send(frame(PRIORITY_UPDATE, 0, 0, number(stream_id) + b"u=5"))
        assert client.goaway() == Code.PROTOCOL_ERROR

    def test_a_frame_changes_whose_turn_it_is(self) -> None:
        client = Client()
        for stream_id in (1, 3):
            client.request(stream_id)
            client.connection.send_data(client.streams[stream_id], bytes(40_000), end=True)
        client.send(frame(PRIORITY_UPDATE, 0, 0, number(3) + b"u=0"))
        assert [found.stream_id for found in client.sent() if found.kind == DATA] == [3, 3, 3, 1, 1]


class TestEnd:
    """Section 6.8."""

    def test_a_drain_is_announced_first(self) -> None:
        client = Client()
        client.request(1)
        client.connection.announce_end(ask=True)
        client.connection.announce_end(ask=True)
        goaway, ping = client.sent()
        assert (goaway.kind, goaway.payload) == (GOAWAY, number(2**31 - 1) + number(0))
        client.request(3)  # sent before the client knew
        client.send(frame(PING, ACK, 0, ping.payload))
        assert client.taken() == [("request", 1, True), ("request", 3, True), ("drained",)]
        client.connection.refuse_streams()
        client.connection.refuse_streams()
        (goaway,) = client.sent()
        assert goaway.payload == number(3) + number(0)
        client.request(5)
        assert client.resets() == {5: Code.REFUSED_STREAM}
        client.connection.send_head(client.streams[3], OK, end=True)
        assert [found.stream_id for found in client.sent()] == [3]

    def test_a_client_that_leaves_gets_what_it_has_asked_for(self) -> None:
        client = Client()
        client.request(1)
        client.send(frame(GOAWAY, 0, 0, bytes(8)))
        assert client.connection.client_leaves
        client.connection.send_head(client.streams[1], OK, end=True)
        assert len(client.sent()) == 1

    def test_a_failure_from_outside(self) -> None:
        client = Client()
        client.failure = ConnectionFailure(Code.SETTINGS_TIMEOUT, "too late")
        client.connection.fail(client.failure)
        assert client.goaway() == Code.SETTINGS_TIMEOUT
        client.connection.announce_end(ask=True)
        client.connection.refuse_streams()
        assert client.sent() == []


def test_a_connection_that_nobody_uses_is_small() -> None:
    slots = {name for base in Connection.__mro__ for name in getattr(base, "__slots__", ())}
    assert not hasattr(Client().connection, "__dict__")
    assert len(slots) < 50
