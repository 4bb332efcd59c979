"""Each known flood ends with ENHANCE_YOUR_CALM, and what clients do otherwise does not."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appserver.http.limits import Limits
from appserver.http2.errors import Code
from appserver.http2.floods import Allowance
from appserver.http2.options import Options
from tests.unit.http2.client import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PING,
    POST,
    PRIORITY,
    PRIORITY_UPDATE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    Client,
    frame,
    number,
    settings,
)

INITIAL_WINDOW_SIZE = 4
CONTROL = 50
RESETS = 20
OPTIONS = Options(Limits(), max_resets=RESETS, max_control_frames=CONTROL)


class TestAllowance:
    def test_the_burst_comes_back_with_time(self) -> None:
        allowance = Allowance(10)
        assert all(allowance.spend(0.0) for _ in range(10))
        assert not allowance.spend(0.0)
        assert allowance.spend(3.0)
        assert allowance.spend(3.0)

    def test_what_comes_back_is_never_more_than_the_burst(self) -> None:
        allowance = Allowance(10)
        assert allowance.spend(0.0)
        assert sum(allowance.spend(1000.0) for _ in range(100)) <= 20

    def test_work_earns(self) -> None:
        allowance = Allowance(1)
        for _ in range(100):
            assert allowance.spend(0.0)
            allowance.earn()
        allowance.earn(50)
        assert allowance.spend(0.0)
        assert not allowance.spend(0.0)

    @given(st.lists(st.tuples(st.floats(0, 5), st.integers(0, 3)), max_size=200))
    def test_no_more_is_spent_than_the_burst_and_what_time_and_work_have_brought(
        self, steps: list[tuple[float, int]]
    ) -> None:
        allowance, now, spent, earned = Allowance(10), 0.0, 0, 0
        for seconds, earn in steps:
            now += seconds
            allowance.earn(earn)
            earned += earn
            if not allowance.spend(now):
                return
            spent += 1
        assert spent <= 10 + earned + now + 10


FLOODS: dict[str, Callable[[int], bytes]] = {
    "PING": lambda _: frame(PING, 0, 0, bytes(8)),
    "acknowledged PING": lambda _: frame(PING, ACK, 0, bytes(8)),
    "SETTINGS": lambda _: settings(),
    "SETTINGS that acknowledge nothing": lambda _: frame(SETTINGS, ACK, 0),
    "PRIORITY": lambda index: frame(PRIORITY, 0, 2 * index + 5, number(0) + b"\x10"),
    "PRIORITY_UPDATE": lambda index: frame(PRIORITY_UPDATE, 0, 0, number(2 * index + 5) + b"u=1"),
    "WINDOW_UPDATE of 1": lambda _: frame(WINDOW_UPDATE, 0, 0, number(1)),
    "WINDOW_UPDATE of 1 on a stream": lambda _: frame(WINDOW_UPDATE, 0, 1, number(1)),
    "empty DATA": lambda _: frame(DATA, 0, 1),
    "padded empty DATA": lambda _: frame(DATA, 8, 1, b"\x01\x00"),
    "unknown frames": lambda _: frame(0x42, 0, 1),
    "GOAWAY": lambda _: frame(GOAWAY, 0, 0, bytes(8)),
}


@pytest.mark.parametrize("kind", FLOODS)
def test_a_flood_of_frames_ends_the_connection(kind: str) -> None:
    client = Client(OPTIONS)
    client.request(1, POST, end=False)
    for index in range(CONTROL // 2):
        client.send(FLOODS[kind](index))
        client.sent()
    assert not client.failure, "half of the burst is no flood"
    for index in range(CONTROL):
        client.send(FLOODS[kind](index))
        if client.failure:
            break
        client.sent()
    assert client.goaway() == Code.ENHANCE_YOUR_CALM
    assert client.failure is not None
    assert client.failure.reason == "http2_flood"


@pytest.mark.parametrize("kind", FLOODS)
def test_the_same_frames_do_no_harm_when_time_goes_by(kind: str) -> None:
    client = Client(OPTIONS)
    client.request(1, POST, end=False)
    for index in range(4 * CONTROL):
        client.now += 1.0
        client.send(FLOODS[kind](index))
        client.sent()
    assert client.failure is None


def test_settings_with_many_values_count_for_more() -> None:
    client = Client(OPTIONS)
    client.send(settings(*[(4, 65535)] * 600))
    assert client.goaway() == Code.ENHANCE_YOUR_CALM


class TestRapidReset:
    """CVE-2023-44487."""

    def test_a_client_that_begins_streams_and_resets_them(self) -> None:
        client = Client(OPTIONS)
        for index in range(RESETS + 1):
            client.request(2 * index + 1)
            client.send(frame(RST_STREAM, 0, 2 * index + 1, number(8)))
        assert client.goaway() == Code.ENHANCE_YOUR_CALM
        assert sum(event[0] == "request" for event in client.events) == RESETS + 1

    def test_one_whose_other_requests_are_completed_may_reset_as_many(self) -> None:
        client = Client(OPTIONS)
        for index in range(0, 8 * RESETS, 2):
            client.request(2 * index + 1)
            client.send(frame(RST_STREAM, 0, 2 * index + 1, number(8)))
            client.request(2 * index + 3)
            client.connection.send_head(client.streams[2 * index + 3], [(b":status", b"204")], end=True)
        assert client.failure is None

    def test_streams_count_once_while_their_applications_are_at_work(self) -> None:
        client = Client(Options(Limits(), max_concurrent_streams=2))
        client.request(1, end=False)
        client.connection.send_head(client.streams[1], [(b":status", b"413")], end=True)
        client.connection.abandoned({1})
        client.request(3)
        assert client.resets() == {}
        client.send(frame(RST_STREAM, 0, 1, number(8)))
        client.request(5)
        assert client.resets() == {5: Code.REFUSED_STREAM}

    def test_applications_that_are_at_work_for_streams_that_are_gone_count_as_streams(self) -> None:
        client = Client(Options(Limits(), max_concurrent_streams=2))
        client.request(1)
        client.send(frame(RST_STREAM, 0, 1, number(8)))
        client.connection.abandoned({1})
        client.request(3)
        client.request(5)
        assert client.resets() == {5: Code.REFUSED_STREAM}
        client.connection.abandoned(set())
        client.request(7)
        assert client.resets() == {}


class TestMadeYouReset:
    """CVE-2025-8671: what makes the server reset a stream counts as if the client had."""

    @pytest.mark.parametrize(
        "offence",
        [
            lambda stream_id: frame(WINDOW_UPDATE, 0, stream_id, number(0)),
            lambda stream_id: frame(WINDOW_UPDATE, 0, stream_id, number(2**31 - 1)) * 2,
            lambda stream_id: frame(PRIORITY, 0, stream_id, b"1234"),
            lambda stream_id: frame(PRIORITY, 0, stream_id, number(stream_id) + b"\0"),
            lambda stream_id: frame(DATA, 0, stream_id, b"behind the end"),
            lambda stream_id: frame(HEADERS, END_HEADERS, stream_id),
        ],
    )
    def test_offences_after_which_the_server_resets(self, offence: Callable[[int], bytes]) -> None:
        client = Client(OPTIONS)
        for index in range(RESETS + 1):
            assert client.failure is None
            client.request(2 * index + 1)
            client.send(offence(2 * index + 1))
        assert client.goaway() == Code.ENHANCE_YOUR_CALM

    def test_malformed_requests(self) -> None:
        client = Client(OPTIONS)
        for index in range(RESETS + 1):
            assert client.failure is None
            client.request(2 * index + 1, [(b"no-pseudo", b"header")])
        assert client.goaway() == Code.ENHANCE_YOUR_CALM

    def test_streams_beyond_the_limit(self) -> None:
        client = Client(Options(Limits(), max_concurrent_streams=1, max_resets=RESETS))
        for index in range(RESETS + 2):
            assert client.failure is None
            client.request(2 * index + 1)
        assert client.goaway() == Code.ENHANCE_YOUR_CALM


class TestHeaderBlocks:
    def test_empty_continuations_have_an_end(self) -> None:
        client = Client()
        client.send(frame(HEADERS, 0, 1))
        for _ in range(32):
            client.send(frame(CONTINUATION, 0, 1))
        assert client.goaway() == Code.ENHANCE_YOUR_CALM

    def test_a_block_is_not_put_together_beyond_its_limit(self) -> None:
        client = Client(Options(Limits(max_header_size=20_000)))
        client.send(frame(HEADERS, 0, 1, bytes(16384)) + frame(CONTINUATION, 0, 1, bytes(3000)))
        assert client.failure is None
        client.send(frame(CONTINUATION, 0, 1, bytes(4000)))
        assert client.goaway() == Code.ENHANCE_YOUR_CALM

    def test_a_bomb_does_not_go_off(self) -> None:
        """One entry of 4,000 octets in the table, and 16,000 references to it of one octet each: 64 MB."""
        client = Client()
        client.send(frame(HEADERS, END_HEADERS, 1, b"\x40\x01a\x7f\xa1\x1e" + bytes(4000)))
        client.send(frame(HEADERS, END_HEADERS, 3, b"\xbe" * 16_000))
        assert client.goaway() == Code.ENHANCE_YOUR_CALM

    def test_up_to_four_times_the_limit_it_costs_the_stream_only(self) -> None:
        client = Client(Options(Limits(max_header_size=1000)))
        client.request(1, [*POST, (b"a", b"v" * 900)])
        assert client.taken() == [("unservable", 1, 431)]
        assert client.failure is None


def test_a_client_that_does_not_read_gets_no_endless_row_of_answers() -> None:
    client = Client(Options(Limits(), max_control_frames=1_000_000))
    for _ in range(65536 // 17 + 1):
        assert client.failure is None
        client.send(frame(PING, 0, 0, bytes(8)))
    assert client.goaway() == Code.ENHANCE_YOUR_CALM


def test_what_is_remembered_of_streams_that_have_ended_is_bounded() -> None:
    client = Client(Options(Limits(), max_resets=1_000_000))
    for index in range(3000):
        number_of_stream = 8 * index + 1
        client.request(number_of_stream)
        client.connection.reset(client.streams[number_of_stream], Code.CANCEL)
    assert client.failure is None
    assert client.connection._reset_streams is not None
    assert client.connection._gaps is not None
    assert len(client.connection._reset_streams) <= 1000
    assert len(client.connection._gaps) <= 1000
    assert not client.connection.streams


def test_priorities_of_streams_that_never_begin_are_bounded() -> None:
    client = Client(Options(Limits(), max_control_frames=1_000_000))
    for index in range(1000):
        client.send(frame(PRIORITY_UPDATE, 0, 0, number(2 * index + 5) + b"u=1"))
    assert client.connection._early_priorities is not None
    assert len(client.connection._early_priorities) <= 100


def test_blocks_of_thousands_of_fields_are_no_way_to_keep_the_server_busy() -> None:
    """Each stays below the limit beyond which it ends the connection, and its stream is answered with 431."""
    client = Client()
    for index in range(20):
        client.send(frame(HEADERS, END_HEADERS | END_STREAM, 2 * index + 1, b"\x00\x00\x00" * 5000))
        for stream in list(client.streams.values()):
            client.connection.send_head(stream, [(b":status", b"431")], end=True)
        client.streams.clear()
        if client.failure is not None:
            break
        client.sent()
    assert client.goaway() == Code.ENHANCE_YOUR_CALM
    assert index < 15


def test_a_response_in_pieces_of_one_octet() -> None:
    """CVE-2019-9511: each piece is asked for by a window of one octet more."""
    client = Client(OPTIONS)
    client.send(settings((INITIAL_WINDOW_SIZE, 0)))
    client.request(1)
    client.connection.send_head(client.streams[1], [(b":status", b"200")])
    client.connection.send_data(client.streams[1], bytes(50_000), end=True)
    for _ in range(4 * CONTROL):
        client.send(frame(WINDOW_UPDATE, 0, 1, number(1)))
        if client.failure is not None:
            break
        client.sent()
    assert client.goaway() == Code.ENHANCE_YOUR_CALM


def test_a_client_that_opens_its_windows_by_what_it_has_read_may_go_on() -> None:
    client = Client(OPTIONS)
    client.send(settings((INITIAL_WINDOW_SIZE, 1000)))
    client.request(1)
    client.connection.send_head(client.streams[1], [(b":status", b"200")])
    client.connection.send_data(client.streams[1], bytes(400_000), end=True)
    for _ in range(400):
        got = sum(len(found.payload) for found in client.sent() if found.kind == DATA)
        if got:
            client.send(frame(WINDOW_UPDATE, 0, 1, number(got)) + frame(WINDOW_UPDATE, 0, 0, number(got)))
    assert client.failure is None
    assert not client.connection.streams


def test_windows_of_many_streams_that_are_changed_again_and_again() -> None:
    """Each SETTINGS changes the windows of all, which costs the more the more there are."""
    client = Client(Options(Limits(), max_control_frames=2000))
    for index in range(100):
        client.request(2 * index + 1)
        client.connection.send_head(client.streams[2 * index + 1], [(b":status", b"200")])
        client.connection.send_data(client.streams[2 * index + 1], bytes(100_000), end=True)
    client.sent()
    for index in range(400):
        client.send(settings((INITIAL_WINDOW_SIZE, index % 2)))
        if client.failure is not None:
            break
        client.connection.octets_to_send(0)
    assert client.goaway() == Code.ENHANCE_YOUR_CALM


def test_answers_to_a_drain_that_was_not_announced_count_as_any_other() -> None:
    client = Client(OPTIONS)
    for _ in range(CONTROL + 1):
        client.send(frame(PING, ACK, 0, b"draining"))
    assert client.goaway() == Code.ENHANCE_YOUR_CALM
    assert ("drained",) not in client.events
