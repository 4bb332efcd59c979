"""A session on the wire: RFC 6455 sections 5 (framing), 7 (closing), 8 (UTF-8), RFC 7692 (compression)."""

from __future__ import annotations

import random
import sys
import tracemalloc
import zlib
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.extensions import Extension

from appserver.websocket.compression import MAX_STREAMS
from appserver.websocket.handshake import shake_hands
from appserver.websocket.protocol import BINARY as BINARY_MESSAGE
from appserver.websocket.protocol import FRAMES_PER_TURN, MAX_FRAGMENTS, FrameProtocol, Message
from appserver.websocket.protocol import TEXT as TEXT_MESSAGE
from tests.unit.websocket.frames import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, Sent, close, frame, parse, text
from tests.unit.websocket.test_handshake import GOOD


def deflate(offer: bytes = b"permessage-deflate; client_max_window_bits") -> list[Extension]:
    return shake_hands("GET", "1.1", [*GOOD, (b"sec-websocket-extensions", offer)], compression=True).extensions


def make(extensions: Sequence[Extension] = (), *, max_size: int = 1 << 20, max_queue: int = 1 << 20) -> FrameProtocol:
    return FrameProtocol(list(extensions), max_size=max_size, max_queue=max_queue)


def sent(protocol: FrameProtocol) -> list[Sent]:
    return parse(b"".join(protocol.data_to_send()))


def take(protocol: FrameProtocol) -> list[Message]:
    """Take the messages as an application that is quick does, reading on while something is held."""
    taken = []
    while protocol.messages or protocol.held:
        taken += protocol.messages
        protocol.messages.clear()
        protocol.queued = 0
        if protocol.held:
            protocol.receive_data(b"")
    return taken


def feed(protocol: FrameProtocol, *pieces: bytes) -> list[Message]:
    taken = []
    for piece in pieces:
        protocol.receive_data(piece)
        taken += take(protocol)
    return taken


def failed(protocol: FrameProtocol) -> int:
    """The code with which the session has failed."""
    assert protocol.eof_sent
    return sent(protocol)[-1].code


class TestMessages:
    @pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65535, 65536, 300_000])
    def test_every_length_is_read_and_written(self, size: int) -> None:
        protocol = make()
        assert feed(protocol, frame(BINARY, b"x" * size)) == [b"x" * size]
        assert feed(protocol, frame(TEXT, b"y" * size)) == ["y" * size]
        assert parse(b"".join(protocol.encode(b"z" * size, BINARY_MESSAGE))) == [Sent(BINARY, b"z" * size)]
        assert parse(b"".join(protocol.encode(b"z" * size, TEXT_MESSAGE))) == [Sent(TEXT, b"z" * size)]

    def test_fragments_are_put_together(self) -> None:
        octets = frame(TEXT, b"a", fin=False) + frame(CONTINUATION, b"", fin=False) + frame(CONTINUATION, b"b")
        assert feed(make(), octets + frame(BINARY, b"", fin=False) + frame(CONTINUATION, b"c")) == ["ab", b"c"]

    def test_control_frames_come_between_fragments(self) -> None:
        protocol = make()
        octets = frame(TEXT, b"a", fin=False) + frame(PING, b"p") + frame(PONG) + frame(CONTINUATION, b"b")
        assert feed(protocol, octets) == ["ab"]
        assert sent(protocol) == [Sent(PONG, b"p")]

    @given(st.randoms(use_true_random=False), st.booleans())
    def test_pieces_make_no_difference(self, chance: random.Random, compressed: bool) -> None:
        """The same messages come out however the octets are cut, and however messages are cut into frames."""
        compressor = zlib.compressobj(wbits=-12)
        octets, messages = b"", []
        for _ in range(chance.randrange(1, 6)):
            choices: list[Message] = ["", "aé€😀" * chance.randrange(80), bytes(chance.randrange(400))]
            message = chance.choice(choices)
            messages.append(message)
            payload = message.encode() if isinstance(message, str) else message
            rsv = 4 if compressed and chance.random() < 0.5 else 0
            if rsv:
                payload = (compressor.compress(payload) + compressor.flush(zlib.Z_SYNC_FLUSH))[:-4]
            cuts = sorted(chance.randrange(len(payload) + 1) for _ in range(chance.randrange(3)))
            parts = [payload[start:end] for start, end in zip([0, *cuts], [*cuts, len(payload)], strict=True)]
            for number, part in enumerate(parts):
                opcode = CONTINUATION if number else TEXT if isinstance(message, str) else BINARY
                mask = chance.randbytes(4)
                octets += frame(opcode, part, fin=number == len(parts) - 1, rsv=0 if number else rsv, mask=mask)
                octets += frame(PING, b"?") if chance.random() < 0.3 else b""
        cuts = sorted(chance.randrange(len(octets) + 1) for _ in range(chance.randrange(20)))
        pieces = [octets[start:end] for start, end in zip([0, *cuts], [*cuts, len(octets)], strict=True)]
        protocol = make(deflate() if compressed else [])
        assert feed(protocol, *pieces) == messages
        assert not protocol.unfinished
        assert all(one == Sent(PONG, b"?") for one in sent(protocol))


class TestViolations:
    @pytest.mark.parametrize(
        ("octets", "code"),
        [
            (frame(TEXT, b"x", rsv=4), 1002),
            (frame(TEXT, b"x", rsv=2), 1002),
            (frame(PING, rsv=1), 1002),
            (frame(3), 1002),
            (frame(11), 1002),
            (frame(TEXT, b"x", mask=None), 1002),
            (frame(PING, mask=None), 1002),
            (frame(PING, b"x" * 126), 1002),
            (frame(PING, fin=False), 1002),
            (frame(CONTINUATION, b"x"), 1002),
            (frame(TEXT, b"x", fin=False) + frame(TEXT, b"x"), 1002),
            (frame(CLOSE, b"x"), 1002),
            (close(999), 1002),
            (close(1005), 1002),
            (close(5000), 1002),
            (frame(CLOSE, b"\x03\xe8\xff"), 1007),
            (frame(TEXT, b"\xff"), 1007),
            (frame(TEXT, b"\xe2\x82"), 1007),
            (frame(TEXT, b"\xe2\x82", fin=False) + frame(CONTINUATION, b""), 1007),
            (frame(TEXT, b"\xed\xa0\x80"), 1007),
            (frame(TEXT, b"\xff", fin=False), 1007),
        ],
    )
    def test_they_fail_the_session(self, octets: bytes, code: int) -> None:
        for pieces in ([octets], [octets[i : i + 1] for i in range(len(octets))]):
            protocol = make()
            assert feed(protocol, *pieces) == []
            assert failed(protocol) == code

    def test_text_is_checked_before_its_frame_is_complete(self) -> None:
        protocol = make()
        feed(protocol, frame(TEXT, b"abc\xffxxxxxxxxx")[:10])
        assert failed(protocol) == 1007

    def test_nothing_is_read_after_one(self) -> None:
        protocol = make()
        assert feed(protocol, frame(3) + text("x"), text("y")) == []

    def test_it_counts_when_the_messages_before_it_have_been_taken(self) -> None:
        protocol = make()
        protocol.receive_data(text("good") + frame(3))
        assert protocol.messages == ["good"]
        assert protocol.held
        assert not protocol.tired
        assert not protocol.eof_sent
        assert take(protocol) == ["good"]
        assert failed(protocol) == 1002

    def test_rsv1_belongs_to_compressed_messages_only(self) -> None:
        for octets in (frame(PING, rsv=4), frame(TEXT, b"", fin=False) + frame(CONTINUATION, b"", rsv=4)):
            protocol = make(deflate())
            feed(protocol, octets)
            assert failed(protocol) == 1002


class TestLimits:
    @pytest.mark.parametrize("opcode", [TEXT, BINARY])
    def test_a_message_as_large_as_allowed(self, opcode: int) -> None:
        half = frame(opcode, b"x" * 50, fin=False) + frame(CONTINUATION, b"x" * 50)
        assert len(feed(make(max_size=100), frame(opcode, b"x" * 100) + half)) == 2

    @pytest.mark.parametrize(
        "octets",
        [
            frame(TEXT, b"x" * 101),
            frame(BINARY, b"x" * 101)[:6],
            frame(BINARY, b"x" * 70000)[:14],
            frame(BINARY, b"x" * 50, fin=False) + frame(CONTINUATION, b"x" * 51),
            b"\x82\xff" + b"\xff" * 12,
        ],
        ids=["short", "short, only its header", "long, only its header", "fragments", "as long as can be"],
    )
    def test_a_larger_one_is_refused_as_soon_as_its_size_is_known(self, octets: bytes) -> None:
        protocol = make(max_size=100)
        assert feed(protocol, octets) == []
        assert failed(protocol) == 1009

    @pytest.mark.parametrize("size", [1, 100, 5000, 100_000])
    @pytest.mark.parametrize("memory", [1, 8])
    @pytest.mark.parametrize("fragments", [1, 3])
    def test_the_size_of_a_compressed_message_is_what_it_was_before(
        self, size: int, memory: int, fragments: int
    ) -> None:
        """Octets in which there is nothing to compress become more by it."""
        payload = random.Random(size).randbytes(size)
        compressor = zlib.compressobj(wbits=-12, memLevel=memory)
        octets = (compressor.compress(payload) + compressor.flush(zlib.Z_SYNC_FLUSH)).removesuffix(b"\0\0\xff\xff")
        step = len(octets) // fragments + 1
        pieces = [octets[at : at + step] for at in range(0, len(octets), step)]
        message = b"".join(
            frame(CONTINUATION if at else BINARY, piece, fin=at == len(pieces) - 1, rsv=0 if at else 4)
            for at, piece in enumerate(pieces)
        )
        assert feed(make(deflate(), max_size=size), message) == [payload]
        protocol = make(deflate(), max_size=size - 1)
        assert feed(protocol, message) == []
        assert failed(protocol) == 1009

    def test_a_bomb_is_not_unpacked(self) -> None:
        compressor = zlib.compressobj(wbits=-12)
        bomb = (compressor.compress(bytes(50_000_000)) + compressor.flush(zlib.Z_SYNC_FLUSH))[:-4]
        assert len(bomb) < 60_000
        protocol = make(deflate(), max_size=100_000)
        feed(protocol, frame(BINARY, bomb, rsv=4))
        assert failed(protocol) == 1009

    def test_nor_is_one_in_fragments(self) -> None:
        compressor = zlib.compressobj(wbits=-12)
        octets, opcode = b"", BINARY
        for _ in range(20):
            part = compressor.compress(bytes(10_000)) + compressor.flush(zlib.Z_SYNC_FLUSH)
            octets += frame(opcode, part, fin=False, rsv=4 if opcode == BINARY else 0)
            opcode = CONTINUATION
        protocol = make(deflate(), max_size=100_000)
        feed(protocol, octets)
        assert failed(protocol) == 1009

    def test_fragments_are_counted(self) -> None:
        protocol = make()
        feed(protocol, frame(BINARY, fin=False), frame(CONTINUATION, fin=False) * MAX_FRAGMENTS)
        assert not protocol.eof_sent
        feed(protocol, frame(CONTINUATION, fin=False))
        assert failed(protocol) == 1002

    @pytest.mark.parametrize(
        ("messages", "read"), [([text("x")] * 10, 4), ([frame(BINARY, bytes(50_000))] * 10, 2), ([text("")] * 10, 4)]
    )
    def test_no_more_is_read_than_may_wait(self, messages: list[bytes], read: int) -> None:
        protocol = make(max_queue=4)
        protocol.receive_data(b"".join(messages))
        assert len(protocol.messages) == read
        assert protocol.is_full
        assert protocol.held
        assert not protocol.unfinished
        assert len(take(protocol)) == 10

    def test_what_is_held_is_not_copied_for_each_message_that_is_taken(self) -> None:
        protocol = make(max_queue=1)
        data = text("x") * 100
        protocol.receive_data(data)
        for _ in range(98):
            protocol.messages.clear()
            protocol.receive_data(b"")
            assert protocol._rest is data
        protocol.messages.clear()
        protocol.receive_data(b"")
        assert (protocol.received, protocol._rest) == (100, b"")

    def test_a_flood_of_pings_lets_others_have_their_turn(self) -> None:
        protocol = make()
        protocol.receive_data(frame(PING, b"x") * (FRAMES_PER_TURN + 5))
        assert (protocol.held, protocol.tired) == (True, True)
        assert len(sent(protocol)) == FRAMES_PER_TURN
        protocol.receive_data(b"")
        assert (protocol.held, protocol.tired) == (False, False)
        assert len(sent(protocol)) == 5


class TestClosing:
    @pytest.mark.parametrize(("code", "reason"), [(1000, ""), (1001, "bye"), (3000, "ü" * 61), (4999, "")])
    def test_a_close_is_answered_with_the_same(self, code: int, reason: str) -> None:
        protocol = make()
        feed(protocol, close(code, reason))
        (answer,) = sent(protocol)
        assert (answer.code, answer.payload[2:].decode()) == (code, reason)
        assert protocol.eof_sent
        assert protocol.close_rcvd is not None
        assert protocol.close_rcvd.code == code

    def test_a_close_without_a_code(self) -> None:
        protocol = make()
        feed(protocol, close(None))
        assert sent(protocol) == [Sent(CLOSE, b"")]
        assert protocol.close_rcvd is not None
        assert protocol.close_rcvd.code == 1005

    def test_a_close_in_the_middle_of_a_message_is_clean(self) -> None:
        protocol = make()
        assert feed(protocol, frame(TEXT, b"x", fin=False) + close()) == []
        assert failed(protocol) == 1000

    def test_messages_are_read_until_the_client_has_closed_too(self) -> None:
        protocol = make()
        protocol.close(1012, "service restart")
        assert sent(protocol)[0].code == 1012
        assert feed(protocol, text("on its way") + close(1012) + text("after it")) == ["on its way"]
        assert protocol.eof_sent
        assert sent(protocol) == []

    @pytest.mark.parametrize("reason", ["x" * 200, "ü" * 100, "x" + "€" * 60])
    def test_a_long_reason_is_cut_between_characters(self, reason: str) -> None:
        protocol = make()
        protocol.close(4000, reason)
        (frame_sent,) = sent(protocol)
        assert len(frame_sent.payload) <= 125
        assert reason.startswith(frame_sent.payload[2:].decode())


class TestCompression:
    OFFERS = pytest.mark.parametrize(
        "offer",
        [
            b"permessage-deflate",
            b"permessage-deflate; client_max_window_bits",
            b"permessage-deflate; server_no_context_takeover; client_no_context_takeover",
            b"permessage-deflate; server_max_window_bits=10; client_max_window_bits=9",
        ],
    )

    @OFFERS
    def test_a_client_understands_what_is_written(self, offer: bytes) -> None:
        from websockets.extensions.permessage_deflate import PerMessageDeflate
        from websockets.frames import Frame, Opcode

        (agreed,) = extensions = deflate(offer)
        assert isinstance(agreed, PerMessageDeflate)
        mirror = PerMessageDeflate(
            agreed.local_no_context_takeover, agreed.remote_no_context_takeover,
            agreed.local_max_window_bits, agreed.remote_max_window_bits,
        )  # fmt: skip
        protocol = make(extensions)
        for number in range(3):
            message = f"message {number} " * 1000
            (written,) = parse(b"".join(protocol.encode(message.encode(), TEXT_MESSAGE)))
            assert len(written.payload) < 500
            decoded = mirror.decode(Frame(Opcode.TEXT, written.payload, rsv1=written.rsv == 4))
            assert bytes(decoded.data).decode() == message
            encoded = mirror.encode(Frame(Opcode.TEXT, message.encode()))
            assert feed(protocol, frame(TEXT, bytes(encoded.data), rsv=4)) == [message]

    def test_a_small_message_is_not_compressed(self) -> None:
        (written,) = parse(b"".join(make(deflate()).encode(b"x" * 255, BINARY_MESSAGE)))
        assert written == Sent(BINARY, b"x" * 255)

    @pytest.mark.parametrize("what", [lambda p: feed(p, text("small")), lambda p: p.encode(b"small", BINARY_MESSAGE)])
    def test_no_compressor_is_made_for_small_messages(self, what: Callable[[FrameProtocol], object]) -> None:
        extensions = deflate()
        what(make(extensions))
        assert not {"encoder", "decoder"} & set(vars(extensions[0]))

    def test_what_is_not_deflate_fails_the_session(self) -> None:
        protocol = make(deflate())
        feed(protocol, frame(BINARY, b"\xff\xff\xff\xff", rsv=4))
        assert failed(protocol) == 1002

    def test_compressed_text_has_to_be_utf_8_too(self) -> None:
        compressor = zlib.compressobj(wbits=-12)
        payload = (compressor.compress(b"\xff") + compressor.flush(zlib.Z_SYNC_FLUSH))[:-4]
        protocol = make(deflate())
        feed(protocol, frame(TEXT, payload, rsv=4))
        assert failed(protocol) == 1007


def stream(data: bytes) -> bytes:
    """A whole deflate stream, its last block with BFINAL."""
    compressor = zlib.compressobj(wbits=-12)
    return compressor.compress(data) + compressor.flush(zlib.Z_FINISH)


class TestEndsOfStreams:
    """RFC 7692 section 7.2.3.4: a block with BFINAL ends a deflate stream, but neither a message nor the session."""

    OFFERS = pytest.mark.parametrize(
        "offer", [b"permessage-deflate", b"permessage-deflate; client_no_context_takeover"]
    )

    @OFFERS
    @pytest.mark.parametrize("padding", [b"\0", b""], ids=["as in the RFC", "without the octet that begins a block"])
    def test_messages_behind_one_are_read(self, offer: bytes, padding: bytes) -> None:
        protocol = make(deflate(offer))
        messages = [f"message {number}" for number in range(3)]
        octets = [frame(TEXT, stream(message.encode()) + padding, rsv=4) for message in messages]
        assert feed(protocol, *octets) == messages

    @OFFERS
    def test_so_is_the_rest_of_the_message(self, offer: bytes) -> None:
        octets = frame(TEXT, stream(b"a") + stream(b"b") + stream(b"c")[:2], fin=False, rsv=4)
        octets += frame(CONTINUATION, stream(b"c")[2:], fin=False) + frame(CONTINUATION, stream(b"d") + b"\0")
        assert feed(make(deflate(offer)), octets) == ["abcd"]

    def test_what_follows_one_is_not_kept(self) -> None:
        protocol = make(deflate())
        junk = frame(CONTINUATION, stream(random.Random(1).randbytes(50_000)), fin=False)
        feed(protocol, frame(BINARY, stream(b""), fin=False, rsv=4))
        tracemalloc.start()
        for _ in range(40):
            feed(protocol, frame(CONTINUATION, fin=True) + frame(BINARY, stream(b""), fin=False, rsv=4) + junk)
        held, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert held < 400_000

    def test_octets_that_are_no_stream_fail_the_session(self) -> None:
        protocol = make(deflate())
        feed(protocol, frame(BINARY, stream(b"x"), fin=False, rsv=4), frame(CONTINUATION, b"\xff" * 100))
        assert failed(protocol) == 1002

    def test_all_of_them_count_as_one_message(self) -> None:
        protocol = make(deflate(), max_size=100)
        assert feed(protocol, frame(BINARY, stream(bytes(50)) * 2 + b"\0", rsv=4)) == [bytes(100)]
        feed(protocol, frame(BINARY, stream(bytes(50)) * 2 + stream(b"1"), rsv=4))
        assert failed(protocol) == 1009

    def test_a_frame_has_not_any_number_of_them(self) -> None:
        protocol = make(deflate())
        assert feed(protocol, frame(BINARY, stream(b"x") * (MAX_STREAMS - 1) + b"\0", rsv=4)) == [
            b"x" * (MAX_STREAMS - 1)
        ]
        feed(protocol, frame(BINARY, stream(b"x") * (MAX_STREAMS + 1), rsv=4))
        assert failed(protocol) == 1002

    def test_a_message_may_be_of_any_size_if_there_is_no_limit(self) -> None:
        assert feed(make(deflate(), max_size=sys.maxsize), frame(BINARY, stream(b"x") + b"\0", rsv=4)) == [b"x"]


@given(st.binary(max_size=300), st.booleans())
def test_no_octets_whatever_are_too_much_for_it(octets: bytes, compressed: bool) -> None:
    protocol = make(deflate() if compressed else [], max_size=1000, max_queue=3)
    feed(protocol, octets[: len(octets) // 2], octets[len(octets) // 2 :])
    sent(protocol)
