"""Flow control in both directions (RFC 9113 section 5.2), and what is sent when."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appserver.http.limits import Limits
from appserver.http2.control import DISCARD_LIMIT
from appserver.http2.errors import Code
from appserver.http2.options import Options
from appserver.http2.stream import QUEUE_LIMIT
from tests.unit.http2.client import (
    DATA,
    END_STREAM,
    GET,
    HEADERS,
    POST,
    RST_STREAM,
    WINDOW_UPDATE,
    Client,
    Frame,
    frame,
    number,
    settings,
)

OK = [(b":status", b"200")]


def sizes(sent: list[Frame]) -> list[tuple[int, int]]:
    return [(found.stream_id, len(found.payload)) for found in sent if found.kind == DATA]


class TestReceiving:
    def client(self, **windows: int) -> Client:
        client = Client(Options(Limits(), **windows))  # type: ignore[arg-type]
        client.request(1, POST, end=False)
        client.taken()
        return client

    def test_more_than_the_window_of_the_stream_costs_the_stream(self) -> None:
        client = self.client(stream_window=20_000)
        client.data(1, bytes(16_384))
        client.data(1, bytes(4_000))
        assert client.resets() == {1: Code.FLOW_CONTROL_ERROR}

    @pytest.mark.parametrize(
        ("length", "opened"),
        [
            (20_000, None),  # the window is large enough
            (100_000, 80_000),
            (DISCARD_LIMIT, DISCARD_LIMIT - 20_000),
            (DISCARD_LIMIT + 1, None),
            (None, DISCARD_LIMIT - 20_000),
        ],
    )
    def test_what_is_left_of_a_body_behind_the_response_is_let_in(self, length: int | None, opened: int | None) -> None:
        client = Client(Options(Limits(), stream_window=30_000, connection_window=200_000))
        # 10,000 octets have arrived, and the application has taken none.
        announced = [] if length is None else [(b"content-length", b"%d" % (length + 10_000))]
        client.request(1, [*POST, *announced], end=False)
        client.data(1, bytes(10_000))
        client.connection.send_head(client.streams[1], OK, end=True)
        updates = [(found.stream_id, found.number) for found in client.sent() if found.kind == WINDOW_UPDATE]
        beyond = 0 if opened is None else opened + 20_000 - 190_000
        assert updates == ([] if opened is None else [(1, opened)]) + ([(0, beyond)] if beyond > 0 else [])
        assert ("unread", 1) in client.taken()
        client.data(1, bytes(16_384))
        client.data(1, bytes(3616))
        assert client.resets() == {}
        client.data(1, bytes(1))
        assert client.resets() == ({1: Code.FLOW_CONTROL_ERROR} if opened is None else {})

    def test_more_than_the_window_of_the_connection_costs_the_connection(self) -> None:
        client = self.client(stream_window=1 << 20, connection_window=1 << 20)
        client.connection._receive_window = 10_000
        client.data(1, bytes(10_001))
        assert client.goaway() == Code.FLOW_CONTROL_ERROR

    def test_the_connection_is_opened_again_whatever_the_application_takes(self) -> None:
        client = self.client(stream_window=50_000, connection_window=65_535)
        for _ in range(3):
            client.data(1, bytes(16_384))
        updates = [(found.stream_id, found.number) for found in client.sent() if found.kind == WINDOW_UPDATE]
        assert updates == [(0, 32_768)]

    def test_the_stream_is_opened_again_by_what_the_application_takes(self) -> None:
        client = self.client(stream_window=40_000)
        client.data(1, bytes(16_000))
        client.connection.body_taken(client.streams[1], 16_000)
        assert client.sent() == []
        client.data(1, bytes(16_000))
        client.connection.body_taken(client.streams[1], 16_000)
        assert [(found.stream_id, found.number) for found in client.sent()] == [(1, 32_000)]
        client.data(1, bytes(16_000))
        client.data(1, bytes(16_000))
        client.data(1, bytes(8_000))
        assert client.resets() == {}

    def test_padding_counts_and_is_given_back_at_once(self) -> None:
        client = self.client(stream_window=1000)
        for _ in range(20):
            client.send(frame(DATA, 8, 1, b"\xff" + b"x" + bytes(255)))
            client.connection.body_taken(client.streams[1], 1)
        assert client.failure is None
        assert sum(found.number for found in client.sent() if found.kind == WINDOW_UPDATE) >= 20 * 257 - 500

    def test_what_a_stream_that_was_reset_gets_is_given_back_to_the_connection(self) -> None:
        client = self.client(stream_window=200_000, connection_window=65_535)
        client.connection.reset(client.streams[1], Code.CANCEL)
        client.sent()
        for _ in range(20):
            client.data(1, bytes(16_000))
        updates = [(found.stream_id, found.number) for found in client.sent()]
        assert {stream_id for stream_id, _ in updates} == {0}
        assert sum(size for _, size in updates) > 19 * 16_000 - 32_768

    def test_a_complete_request_is_given_no_window(self) -> None:
        client = self.client(stream_window=20_000)
        client.data(1, bytes(15_000), end=True)
        client.connection.body_taken(client.streams[1], 15_000)
        assert client.sent() == []


class TestSending:
    def client(self, *streams: int, window: int = 65_535) -> Client:
        client = Client()
        client.send(settings((4, window)))
        for stream_id in streams:
            client.request(stream_id)
        client.sent()
        client.taken()
        return client

    def test_a_response_is_two_frames(self) -> None:
        client = self.client(1)
        client.connection.send_head(client.streams[1], OK)
        client.connection.send_data(client.streams[1], b"hello", end=True)
        head, body = client.sent()
        assert (head.kind, head.flags) == (HEADERS, 4)
        assert (body.kind, body.flags, body.payload) == (DATA, END_STREAM, b"hello")
        assert not client.connection.streams

    def test_no_more_is_sent_than_the_window_of_the_stream(self) -> None:
        client = self.client(1, window=1000)
        client.connection.send_data(client.streams[1], bytes(2500), end=True)
        assert sizes(client.sent()) == [(1, 1000)]
        assert not client.connection.wants_to_send
        client.send(frame(WINDOW_UPDATE, 0, 1, number(1200)))
        assert sizes(client.sent()) == [(1, 1200)]
        client.send(frame(WINDOW_UPDATE, 0, 1, number(1200)))
        (last,) = client.sent()
        assert (len(last.payload), last.flags) == (300, END_STREAM)

    def test_no_more_is_sent_than_the_window_of_the_connection(self) -> None:
        client = self.client(1, 3, window=100_000)
        for stream_id in (1, 3):
            client.connection.send_data(client.streams[stream_id], bytes(40_000), end=True)
        assert sum(size for _, size in sizes(client.sent())) == 65_535
        client.send(frame(WINDOW_UPDATE, 0, 0, number(100_000)))
        assert sum(size for _, size in sizes(client.sent())) == 80_000 - 65_535

    def test_the_last_octets_need_a_window_the_end_does_not(self) -> None:
        client = self.client(1, window=0)
        client.connection.send_data(client.streams[1], b"")
        client.connection.send_data(client.streams[1], b"", end=True)
        assert [(found.kind, found.flags) for found in client.sent()] == [(DATA, END_STREAM)]

    def test_trailers_wait_for_the_body(self) -> None:
        client = self.client(1, window=10)
        client.connection.send_data(client.streams[1], bytes(15))
        client.connection.send_trailers(client.streams[1], [(b"grpc-status", b"0")])
        assert [found.kind for found in client.sent()] == [DATA]
        client.send(frame(WINDOW_UPDATE, 0, 1, number(10)))
        body, trailers = client.sent()
        assert (body.flags, trailers.kind, trailers.flags) == (0, HEADERS, 5)
        assert client.decoder.decode(trailers.payload, raw=True) == [(b"grpc-status", b"0")]
        assert not client.connection.streams

    def test_trailers_without_anything_in_the_way(self) -> None:
        client = self.client(1)
        client.connection.send_trailers(client.streams[1], [(b"grpc-status", b"0")])
        assert [(found.kind, found.flags) for found in client.sent()] == [(HEADERS, 5)]

    def test_nothing_is_sent_behind_the_end(self) -> None:
        client = self.client(1, 3, window=10)
        client.connection.send_data(client.streams[1], bytes(15), end=True)
        client.connection.send_data(client.streams[1], b"more", end=True)
        client.connection.send_trailers(client.streams[1], OK)
        client.send(frame(WINDOW_UPDATE, 0, 1, number(100)))
        assert sizes(client.sent()) == [(1, 10), (1, 5)] or sizes(client.sent()) == []
        assert 1 not in client.connection.streams

    def test_streams_take_turns(self) -> None:
        client = self.client(1, 3)
        for stream_id in (1, 3):
            client.connection.send_data(client.streams[stream_id], bytes(32_000))
        assert sizes(client.sent()) == [(1, 16_384), (3, 16_384), (1, 15_616), (3, 15_616)]

    def test_no_more_is_taken_out_at_once_than_there_is_room_for(self) -> None:
        client = self.client(1, 3)
        for stream_id in (1, 3):
            client.connection.send_data(client.streams[stream_id], bytes(32_000))
        assert sizes(client.sent(1)) == [(1, 16_384)]
        assert client.connection.wants_to_send
        assert sizes(client.sent(20_000)) == [(3, 16_384), (1, 15_616)]

    def test_small_pieces_that_wait_leave_in_one_frame(self) -> None:
        client = self.client(1, window=0)
        for _ in range(50):
            client.connection.send_data(client.streams[1], b"0123456789")
        client.send(frame(WINDOW_UPDATE, 0, 1, number(1000)))
        assert sizes(client.sent()) == [(1, 500)]

    def test_an_application_has_to_wait_while_too_much_waits(self) -> None:
        client = self.client(1, window=1000)
        stream = client.streams[1]
        client.connection.send_data(stream, bytes(QUEUE_LIMIT))
        assert stream.queued == QUEUE_LIMIT
        client.connection.send_data(stream, bytes(1))
        assert stream.congested
        client.sent()
        assert client.taken() == []
        client.send(frame(WINDOW_UPDATE, 0, 1, number(QUEUE_LIMIT)))
        client.sent()
        assert client.taken() == [("writable", 1)]
        assert stream.queued <= QUEUE_LIMIT // 2

    def test_it_waits_until_that_is_little_whatever_is_sent_meanwhile(self) -> None:
        client = self.client(1, window=1000)
        stream = client.streams[1]
        client.connection.send_data(stream, bytes(QUEUE_LIMIT + 1001))
        client.sent()
        client.send(frame(WINDOW_UPDATE, 0, 1, number(1000)))
        client.sent()
        assert QUEUE_LIMIT // 2 < stream.queued <= QUEUE_LIMIT
        client.connection.send_data(stream, b"little")
        assert stream.congested
        client.send(frame(WINDOW_UPDATE, 0, 1, number(QUEUE_LIMIT)))
        client.sent()
        assert client.taken() == [("writable", 1)]
        assert not stream.congested

    def test_when_something_was_sent_last_is_known(self) -> None:
        client = self.client(1, window=1000)
        stream = client.streams[1]
        client.now += 5
        client.send(b"")
        client.connection.send_data(stream, bytes(5000))
        client.sent()
        assert stream.moved == client.now
        client.now += 5
        client.send(frame(WINDOW_UPDATE, 0, 0, number(1)))
        assert stream.moved == client.now - 5

    def test_a_window_that_shrinks_below_zero(self) -> None:
        """Section 6.9.2."""
        client = self.client(1, window=1000)
        client.connection.send_data(client.streams[1], bytes(1500))
        assert sizes(client.sent()) == [(1, 1000)]
        client.send(settings((4, 400)))
        assert client.streams[1].send_window == -600
        client.send(frame(WINDOW_UPDATE, 0, 1, number(600)))
        assert sizes(client.sent()) == []
        client.send(frame(WINDOW_UPDATE, 0, 1, number(1)))
        assert sizes(client.sent()) == [(1, 1)]
        client.send(settings((4, 1000)))
        assert sizes(client.sent()) == [(1, 499)]

    @pytest.mark.parametrize("stream_id", [0, 1])
    def test_a_window_that_is_opened_by_nothing(self, stream_id: int) -> None:
        client = self.client(1)
        client.send(frame(WINDOW_UPDATE, 0, stream_id, number(0)))
        if stream_id:
            assert client.resets() == {1: Code.PROTOCOL_ERROR}
        else:
            assert client.goaway() == Code.PROTOCOL_ERROR

    @pytest.mark.parametrize("stream_id", [0, 1])
    def test_a_window_that_is_too_large(self, stream_id: int) -> None:
        client = self.client(1)
        client.send(frame(WINDOW_UPDATE, 0, stream_id, number(2**31 - 1)))
        if stream_id:
            assert client.resets() == {1: Code.FLOW_CONTROL_ERROR}
        else:
            assert client.goaway() == Code.FLOW_CONTROL_ERROR

    def test_settings_that_make_a_window_too_large(self) -> None:
        client = self.client(1)
        client.send(frame(WINDOW_UPDATE, 0, 1, number(1000)))
        client.send(settings((4, 2**31 - 1)))
        assert client.goaway() == Code.FLOW_CONTROL_ERROR

    def test_a_window_of_a_stream_that_has_not_begun(self) -> None:
        client = self.client()
        client.send(frame(WINDOW_UPDATE, 0, 1, number(1)))
        assert client.goaway() == Code.PROTOCOL_ERROR

    def test_a_window_of_a_stream_that_has_ended(self) -> None:
        client = self.client(1)
        client.connection.send_head(client.streams[1], OK, end=True)
        client.send(frame(WINDOW_UPDATE, 0, 1, number(1)))
        assert client.failure is None


class World:
    """Four responses on one connection, and what its client knows of their windows."""

    ids = (1, 3, 5, 7)

    def __init__(self) -> None:
        self.client = Client()
        for stream_id in self.ids:
            self.client.request(stream_id, GET)
        self.written = {stream_id: bytearray() for stream_id in self.ids}
        self.arrived = {stream_id: bytearray() for stream_id in self.ids}
        self.windows = dict.fromkeys((0, *self.ids), 65_535)
        self.initial = 65_535
        self.ended: set[int] = set()
        self.reset_: set[int] = set()
        self.complete: set[int] = set()

    def flush(self, _stream_id: int, room: int) -> None:
        for found in self.client.sent(room):
            if found.kind == DATA:
                size = len(found.payload)
                self.arrived[found.stream_id] += found.payload
                self.windows[found.stream_id] -= size
                self.windows[0] -= size
                assert self.windows[0] >= 0
                assert self.windows[found.stream_id] >= 0 or not size
                if found.flags & END_STREAM:
                    self.complete.add(found.stream_id)

    def body(self, stream_id: int, size: int) -> None:
        if stream_id in self.ended:
            return
        written = self.written[stream_id]
        data = bytes((len(written) + offset) % 251 for offset in range(size))
        self.client.connection.send_data(self.client.streams[stream_id], data)
        if stream_id not in self.reset_:
            written += data

    def end(self, stream_id: int, _size: int) -> None:
        if stream_id not in self.ended:
            self.ended.add(stream_id)
            self.client.connection.send_data(self.client.streams[stream_id], b"", end=True)

    def window(self, stream_id: int, size: int) -> None:
        self.windows[stream_id] += size
        self.client.send(frame(WINDOW_UPDATE, 0, stream_id, number(size)))

    def connection_window(self, _stream_id: int, size: int) -> None:
        self.window(0, size)

    def initial_window(self, _stream_id: int, size: int) -> None:
        self.flush(0, 1 << 20)  # what has been sent before the client said so
        for stream_id in self.ids:
            self.windows[stream_id] += size - self.initial
        self.initial = size
        self.client.send(settings((4, size)))

    def reset(self, stream_id: int, _size: int) -> None:
        if stream_id not in self.reset_:
            self.flush(0, 1 << 20)  # what is on its way counts
            self.reset_.add(stream_id)
            self.client.send(frame(RST_STREAM, 0, stream_id, number(8)))


KINDS = ["body", "body", "end", "window", "connection_window", "initial_window", "reset", "flush"]
STEPS = st.lists(st.tuples(st.sampled_from(KINDS), st.sampled_from(World.ids), st.integers(1, 40_000)), max_size=40)


@given(STEPS)
def test_whatever_happens_bodies_arrive_whole_in_order_and_within_the_windows(
    steps: list[tuple[str, int, int]],
) -> None:
    world = World()
    for kind, stream_id, size in steps:
        getattr(world, kind)(stream_id, size)
        assert world.client.failure is None
    for stream_id in (0, *world.ids):
        world.window(stream_id, 4_000_000)
    world.flush(0, 1 << 30)
    for stream_id in world.ids:
        if stream_id in world.reset_:
            assert world.written[stream_id].startswith(world.arrived[stream_id])
        else:
            assert world.arrived[stream_id] == world.written[stream_id]
            assert (stream_id in world.complete) == (stream_id in world.ended)
