from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appserver.http2.priority import MAX_FIELD, Priority, read_priority


@pytest.mark.parametrize(
    ("value", "urgency", "incremental"),
    [
        (b"", 3, False),
        (b"u=0", 0, False),
        (b"u=7, i", 7, True),
        (b"i", 3, True),
        (b"i=?0", 3, False),
        (b"i=?1,u=5", 5, True),
        (b"u=1;x=y, i;z", 1, True),
        (b" u=2 ,\ti ", 2, True),
        (b"u=1, u=4", 4, False),  # the last one counts (RFC 8941 section 3.2)
        (b"u=8", 3, False),
        (b"u=-1", 3, False),
        (b"u=1.5", 3, False),
        (b"u", 3, False),
        (b"i=1", 3, False),
        (b"other=5, u=6", 6, False),
        (b"U=1", 3, False),
        (b"u=1 i", 3, False),
        (b"u=1,,i", 3, False),
        (b"\xff", 3, False),
        (b"u=1, " + b"x" * MAX_FIELD, 3, False),
    ],
)
def test_values(value: bytes, urgency: int, incremental: bool) -> None:
    assert read_priority(value) == Priority(urgency, incremental)


@given(st.binary(max_size=300))
def test_nothing_is_an_error(value: bytes) -> None:
    assert 0 <= read_priority(value).urgency <= 7
