"""RFC 9113 section 6.5.2, RFC 8441 section 3, RFC 9218 section 2.1: which values a client may set."""

from __future__ import annotations

import struct

import pytest

from appserver.http2.errors import Code, ConnectionFailure
from appserver.http2.peer import read_settings, table_sizes


def payload(*pairs: tuple[int, int]) -> bytes:
    return b"".join(struct.pack(">HL", *pair) for pair in pairs)


def test_the_last_value_counts_and_unknown_ones_do_no_harm() -> None:
    assert read_settings(payload((1, 5), (0x99, 7), (1, 6))) == {1: 6, 0x99: 7}
    assert read_settings(b"") == {}


def test_of_the_size_of_the_table_all_values_are_known() -> None:
    assert table_sizes(payload((1, 5), (4, 7), (1, 0), (1, 6))) == [5, 0, 6]


@pytest.mark.parametrize(
    ("identifier", "value"),
    [(1, 0), (2, 0), (2, 1), (3, 0), (4, 0), (4, 2**31 - 1), (5, 16384), (5, 2**24 - 1), (6, 0), (8, 1), (9, 0)],
)
def test_good_values(identifier: int, value: int) -> None:
    assert read_settings(payload((identifier, value))) == {identifier: value}


@pytest.mark.parametrize(
    ("identifier", "value", "code"),
    [
        (2, 2, Code.PROTOCOL_ERROR),
        (4, 2**31, Code.FLOW_CONTROL_ERROR),
        (5, 16383, Code.PROTOCOL_ERROR),
        (5, 2**24, Code.PROTOCOL_ERROR),
        (8, 2, Code.PROTOCOL_ERROR),
        (9, 2, Code.PROTOCOL_ERROR),
    ],
)
def test_bad_values(identifier: int, value: int, code: Code) -> None:
    with pytest.raises(ConnectionFailure) as caught:
        read_settings(payload((identifier, value), (identifier, 0)))
    assert caught.value.code == code


@pytest.mark.parametrize("size", [1, 5, 7])
def test_the_size_is_a_multiple_of_six(size: int) -> None:
    with pytest.raises(ConnectionFailure) as caught:
        read_settings(bytes(size))
    assert caught.value.code == Code.FRAME_SIZE_ERROR
