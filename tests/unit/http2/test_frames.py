from __future__ import annotations

import pytest
from hyperframe.frame import ContinuationFrame, DataFrame, Frame, GoAwayFrame, HeadersFrame, SettingsFrame

from appserver.http2.errors import Code, ConnectionFailure, StreamFailure
from appserver.http2.frames import (
    END_STREAM,
    PADDED,
    SHAPES,
    check_shape,
    frame,
    goaway_frame,
    header_frames,
    settings_frame,
    unpad,
)


def parse(octets: bytes) -> list[Frame]:
    """Take frames apart with the library that the tests have for that."""
    found = []
    while octets:
        parsed, size = Frame.parse_frame_header(memoryview(octets[:9]))
        parsed.parse_body(memoryview(octets[9 : 9 + size]))
        found.append(parsed)
        octets = octets[9 + size :]
    return found


def test_a_frame_is_what_another_implementation_reads() -> None:
    (parsed,) = parse(frame(0x0, END_STREAM, 2**31 - 1, b"abc"))
    assert isinstance(parsed, DataFrame)
    assert (parsed.stream_id, list(parsed.flags), parsed.data) == (2**31 - 1, ["END_STREAM"], b"abc")


def test_the_length_of_a_frame_has_three_octets() -> None:
    assert frame(0x0, 0, 1, bytes(0x012345))[:3] == b"\x01\x23\x45"


@pytest.mark.parametrize(("size", "pieces"), [(0, 1), (10, 1), (11, 2), (30, 3), (31, 4)])
def test_a_header_block_is_cut_into_frames_of_the_size_that_the_client_takes(size: int, pieces: int) -> None:
    block = bytes(range(size))
    first, *others = parse(header_frames(7, block, end_stream=True, max_frame_size=10))
    assert isinstance(first, HeadersFrame)
    assert all(isinstance(other, ContinuationFrame) for other in others)
    assert len(others) + 1 == pieces
    assert b"".join(part.data for part in (first, *others)) == block  # type: ignore[attr-defined]
    assert "END_STREAM" in first.flags
    assert ["END_HEADERS" in part.flags for part in (first, *others)] == [False] * (pieces - 1) + [True]


def test_settings_and_goaway() -> None:
    settings, goaway = parse(settings_frame([(1, 2), (3, 4)]) + goaway_frame(5, 6, b"why"))
    assert isinstance(settings, SettingsFrame)
    assert isinstance(goaway, GoAwayFrame)
    assert settings.settings == {1: 2, 3: 4}
    assert (goaway.last_stream_id, goaway.error_code, goaway.additional_data) == (5, 6, b"why")


class TestShapes:
    """RFC 9113 section 6: where a frame may stand, and how large it is."""

    @pytest.mark.parametrize("kind", [kind for kind, shape in SHAPES.items() if shape.on_stream is True])
    def test_frames_of_streams_do_not_belong_to_the_connection(self, kind: int) -> None:
        with pytest.raises(ConnectionFailure) as caught:
            check_shape(kind, 0, SHAPES[kind].least)
        assert caught.value.code == Code.PROTOCOL_ERROR

    @pytest.mark.parametrize("kind", [kind for kind, shape in SHAPES.items() if shape.on_stream is False])
    def test_frames_of_the_connection_do_not_belong_to_a_stream(self, kind: int) -> None:
        with pytest.raises(ConnectionFailure) as caught:
            check_shape(kind, 1, SHAPES[kind].least)
        assert caught.value.code == Code.PROTOCOL_ERROR

    @pytest.mark.parametrize("stream_id", [0, 1])
    def test_a_window_update_belongs_to_either(self, stream_id: int) -> None:
        check_shape(0x8, stream_id, 4)

    @pytest.mark.parametrize(
        ("kind", "stream_id", "size"),
        [(0x3, 1, 3), (0x3, 1, 5), (0x6, 0, 7), (0x6, 0, 9), (0x7, 0, 7), (0x8, 0, 3), (0x8, 1, 5), (0x10, 0, 3)],
    )
    def test_wrong_sizes_end_the_connection(self, kind: int, stream_id: int, size: int) -> None:
        with pytest.raises(ConnectionFailure) as caught:
            check_shape(kind, stream_id, size)
        assert caught.value.code == Code.FRAME_SIZE_ERROR

    @pytest.mark.parametrize("size", [0, 4, 6])
    def test_a_wrong_size_of_priority_ends_the_stream_only(self, size: int) -> None:
        with pytest.raises(StreamFailure) as caught:
            check_shape(0x2, 1, size)
        assert caught.value.code == Code.FRAME_SIZE_ERROR


class TestPadding:
    """RFC 9113 section 6.1."""

    def test_padding_is_taken_off(self) -> None:
        assert unpad(b"\x02abc\x00\x00", PADDED) == b"abc"
        assert unpad(b"\x02\x00\x00", PADDED) == b""
        assert unpad(b"\x00abc", PADDED) == b"abc"

    def test_without_the_flag_there_is_none(self) -> None:
        assert unpad(b"\x02abc\x00\x00", 0) == b"\x02abc\x00\x00"

    @pytest.mark.parametrize("payload", [b"\x01", b"\x04abc", b"\xff"])
    def test_padding_that_is_longer_than_the_frame_is_a_violation(self, payload: bytes) -> None:
        with pytest.raises(ConnectionFailure) as caught:
            unpad(payload, PADDED)
        assert caught.value.code == Code.PROTOCOL_ERROR

    def test_a_padded_frame_has_a_length_of_its_padding(self) -> None:
        with pytest.raises(ConnectionFailure) as caught:
            unpad(b"", PADDED)
        assert caught.value.code == Code.FRAME_SIZE_ERROR
