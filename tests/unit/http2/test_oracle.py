"""Beside another implementation (`h2`): one answer to the same octets, however they are split, and a client that agrees."""

from __future__ import annotations

import itertools

import h2.config
import h2.connection
import h2.events
import h2.exceptions
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appserver.http.limits import Limits
from appserver.http2.errors import Code
from appserver.http2.options import Options
from tests.unit.http2.client import (
    ACK,
    GOAWAY,
    PREFACE,
    RST_STREAM,
    Client,
    frame,
    frames,
    number,
)
from tests.unit.http2.client import settings as settings_frame

IDS = st.sampled_from([0, 1, 1, 3, 3, 5, 2, 7])
FLAGS = st.sampled_from([0, 1, 4, 5, 5, 5, 0xC, 0x24, 0x25, 0xFF])
BLOCKS = st.sampled_from(
    [
        b"\x82\x87\x84\x41\x07example",
        b"\x83\x87\x84\x41\x07example",
        b"\x83\x87\x84\x41\x07example\x0f\x0d\x011",  # content-length: 1
        b"\x82\x87\x84",
        b"\x00\x01a\x01b",
        b"\xbe",
        b"\x80",
        b"",
    ]
)
PAYLOADS = st.one_of(
    BLOCKS,
    st.binary(max_size=12),
    st.sampled_from([number(0), number(1), number(2**31 - 1), number(8), bytes(8), number(1) + b"\0"]),
)
FRAMES = st.lists(st.builds(frame, st.integers(0, 10) | st.just(16), FLAGS, IDS, PAYLOADS), max_size=15)


def outcome(pieces: list[bytes]) -> tuple[list[tuple[object, ...]], bytes]:
    """What a connection tells its handler, and what it writes."""
    client = Client(Options(Limits(), max_concurrent_streams=3))
    for piece in pieces:
        client.send(piece)
    return client.events, client.connection.octets_to_send(1 << 20)


@given(FRAMES, st.lists(st.integers(0, 300), max_size=6))
def test_the_answer_does_not_depend_on_how_octets_are_split(sent: list[bytes], cuts: list[int]) -> None:
    octets = b"".join(sent)
    places = sorted({0, len(octets), *(cut for cut in cuts if cut < len(octets))})
    pieces = [octets[start:end] for start, end in itertools.pairwise(places)]
    assert outcome(pieces) == outcome([octets]) == outcome([bytes((octet,)) for octet in octets])


def answer_of_h2(sent: list[bytes]) -> str:
    """Whether `h2` takes frames, or ends a stream or the connection; it raises at the first violation."""
    server = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding=None))
    server.initiate_connection()
    server.receive_data(PREFACE + settings_frame() + frame(4, ACK, 0))
    server.data_to_send()
    for octets in sent:
        try:
            events = server.receive_data(octets)
        except (h2.exceptions.ProtocolError, UnicodeDecodeError):
            return "connection"
        written = frames(server.data_to_send())
        if any(isinstance(event, h2.events.StreamReset) and not event.remote_reset for event in events):
            return "stream"
        if any(found.kind == RST_STREAM for found in written):
            return "stream"
    return "taken"


def answer_of_ours(sent: list[bytes]) -> str:
    client = Client(Options(Limits()))
    for octets in sent:
        client.send(octets)
        if client.failure is not None:
            return "connection"
        if any(found.kind == RST_STREAM for found in client.sent()):
            return "stream"
        if any(event[0] == "reset" for event in client.events):
            return "taken"  # by the client
    return "taken"


@settings(max_examples=300)
@given(FRAMES)
def test_what_is_taken_another_implementation_takes(sent: list[bytes]) -> None:
    """It is stricter than `h2` in some places, and ends the stream in others where `h2` ends the connection."""
    ours, theirs = answer_of_ours(sent), answer_of_h2(sent)
    if ours == "taken":
        assert theirs == "taken" or lenient(sent), f"{theirs} ends with {[frames(octets) for octets in sent]}"


def lenient(sent: list[bytes]) -> bool:
    """Whether `h2` refuses frames for reasons that RFC 9113 does not have."""
    found = [part for octets in sent for part in frames(octets)]
    return any(
        part.kind in (GOAWAY, 10, RST_STREAM)  # h2 takes nothing behind GOAWAY; 10 is ALTSVC, which it knows
        or (part.kind == 2 and part.stream_id > 0)  # h2 ends the connection where a priority of a closed stream arrives
        or part.kind == 16
        for part in found
    )


class OtherClient:
    """A client by `h2`, and a server of ours, connected."""

    def __init__(self) -> None:
        self.client = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True, header_encoding=None))
        self.server = Client(greet=False)
        self.client.initiate_connection()
        self.arrived = {stream_id: bytearray() for stream_id in (1, 3, 5)}
        self.ended: list[int] = []
        self.trailers: list[list[tuple[bytes, bytes]]] = []

    def exchange(self) -> None:
        """Let both read what the other writes until neither has anything to say."""
        while True:
            to_server, to_client = self.client.data_to_send(), self.server.connection.octets_to_send(50_000)
            if not to_client and not to_server:
                return
            self.server.send(to_server)
            for event in self.client.receive_data(to_client):
                self.take(event)

    def take(self, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.DataReceived):
            self.arrived[event.stream_id] += event.data
            self.client.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, h2.events.TrailersReceived):
            self.trailers.append([(bytes(name), bytes(value)) for name, value in event.headers])
        elif isinstance(event, h2.events.StreamEnded):
            self.ended.append(event.stream_id)


@pytest.mark.parametrize("sizes", [[], [5], [100_000], [0, 1, 70_000, 3], [16_384] * 10])
def test_a_client_of_another_implementation_agrees(sizes: list[int]) -> None:
    """Three requests with bodies, three responses with these pieces and trailers, through windows of 64 KiB."""
    both = OtherClient()
    server = both.server
    head = [(":method", "POST"), (":scheme", "https"), (":authority", "example.org"), (":path", "/")]
    for stream_id in both.arrived:
        both.client.send_headers(stream_id, head)
        both.client.send_data(stream_id, b"request", end_stream=True)
    both.exchange()
    for stream_id in both.arrived:
        server.connection.send_head(server.streams[stream_id], [(b":status", b"200")])
    for size in sizes:
        for stream_id in both.arrived:
            server.connection.send_data(server.streams[stream_id], bytes(size))
    for stream_id in both.arrived:
        server.connection.send_trailers(server.streams[stream_id], [(b"grpc-status", b"0")])
    both.exchange()
    assert server.failure is None
    assert [event for event in server.events if event[0] == "data"] == [("data", id_, b"request") for id_ in (1, 3, 5)]
    assert sorted(both.ended) == [1, 3, 5]
    assert both.trailers == [[(b"grpc-status", b"0")]] * 3
    assert {len(body) for body in both.arrived.values()} == {sum(sizes)}


def test_codes_are_those_of_the_library() -> None:
    import h2.errors

    assert {code.name: code.value for code in Code} == {code.name: code.value for code in h2.errors.ErrorCodes}
