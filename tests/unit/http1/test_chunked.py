"""The chunked decoder on its own: where it stops, what it keeps, and what it refuses."""

from __future__ import annotations

import pytest

from appserver.errors import RequestError
from appserver.http.limits import Limits
from appserver.http1.chunked import MAX_EXTENSIONS, ChunkedDecoder


def decode(*segments: bytes, limits: Limits | None = None) -> tuple[bytes, bytes, bool]:
    """Feed the segments as the parser does; return the body, what is left over, and whether the end was reached."""
    decoder = ChunkedDecoder(limits or Limits())
    pieces: list[bytes | bytearray] = []
    rest = b""
    for segment in segments:
        data = rest + segment
        rest = data[decoder.decode(data, 0, pieces) :]
    return b"".join(pieces), rest, decoder.finished


def test_it_stops_behind_the_empty_line() -> None:
    assert decode(b"3\r\nabc\r\n0\r\n\r\nGET /") == (b"abc", b"GET /", True)


def test_it_begins_where_it_is_told_to() -> None:
    pieces: list[bytes | bytearray] = []
    assert ChunkedDecoder(Limits()).decode(b"xx1\r\na\r\n", 2, pieces) == 8
    assert pieces == [b"a"]


@pytest.mark.parametrize(
    ("segment", "body", "rest"),
    [
        (b"3", b"", b"3"),
        (b"3\r", b"", b"3\r"),
        (b"3;a=", b"", b"3;a="),
        (b"3\r\n", b"", b""),
        (b"3\r\na", b"a", b""),
        (b"3\r\nabc", b"abc", b""),
        (b"3\r\nabc\r", b"abc", b"\r"),
        (b"3\r\nabc\r\n", b"abc", b""),
        (b"3\r\nabc\r\n0\r\n", b"abc", b""),
        (b"3\r\nabc\r\n0\r\n\r", b"abc", b"\r"),
        (b"3\r\nabc\r\n0\r\nA: b", b"abc", b"A: b"),
        (b"3\r\nabc\r\n0\r\nA: b\r\n", b"abc", b""),
    ],
)
def test_it_keeps_only_the_start_of_a_line(segment: bytes, body: bytes, rest: bytes) -> None:
    assert decode(segment) == (body, rest, False)


def test_a_chunk_may_come_in_many_segments() -> None:
    assert decode(b"a\r\n01", b"2345", b"6789", b"\r", b"\n0\r\n\r", b"\n") == (b"0123456789", b"", True)


def test_15_digits_are_the_largest_size() -> None:
    assert decode(b"fffffffffffffff\r\nabc") == (b"abc", b"", False)
    assert decode(b"000000000000003\r\nabc\r\n0\r\n\r\n")[2]
    with pytest.raises(RequestError):
        decode(b"0000000000000003\r\nabc\r\n0\r\n\r\n")


def test_one_size_line_is_bounded() -> None:
    line = b"1;" + b"a" * (MAX_EXTENSIONS - 1)
    assert decode(line + b"\r\nx\r\n0\r\n\r\n")[2]
    for data in (line + b"a\r\n", b"000000000000001;" + b"a" * (MAX_EXTENSIONS + 1)):
        with pytest.raises(RequestError):
            decode(data)
        with pytest.raises(RequestError):
            decode(*(data[index : index + 1] for index in range(len(data))), b"a" * 20)


def test_data_makes_room_for_extensions() -> None:
    chunk = b"10;aaaaaaaaaaaaaaaaaaa\r\n0123456789abcdef\r\n"  # 20 octets of extension for 16 of data
    allowed = MAX_EXTENSIONS // 4 - 4
    assert len(decode(chunk * allowed)[0]) == 16 * allowed
    with pytest.raises(RequestError, match="extensions"):
        decode(chunk * (allowed + 10))


def test_chunks_without_extensions_make_room_too() -> None:
    extended, plain = b"1;" + b"a" * 4000 + b"\r\nx\r\n", b"fa0\r\n" + b"x" * 4000 + b"\r\n"
    assert len(decode((extended + plain) * 3)[0]) == 3 * 4001


def test_room_is_not_saved_up() -> None:
    extended, plain = b"1;" + b"a" * 4000 + b"\r\nx\r\n", b"fffff\r\n" + b"x" * 0xFFFFF + b"\r\n"
    with pytest.raises(RequestError, match="extensions"):
        decode(plain + extended + extended)


def test_what_came_before_a_violation_is_handed_over() -> None:
    pieces: list[bytes | bytearray] = []
    with pytest.raises(RequestError):
        ChunkedDecoder(Limits()).decode(b"3\r\nabc\r\n3\r\ndefX", 0, pieces)
    assert pieces == [b"abc", b"def"]


def test_limits_that_are_switched_off_do_no_harm() -> None:
    import sys

    off = Limits(max_target_size=sys.maxsize, max_header_size=sys.maxsize, max_headers=sys.maxsize)
    assert decode(b"0\r\n", b"A: b\r\n", b"\r\n", limits=off)[2]
