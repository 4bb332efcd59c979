"""Values as TOML, for files and for messages."""

from __future__ import annotations

import datetime as dt
import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appserver.settings.rendering import show, toml_key, toml_size, toml_value

SCALARS = (
    st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False)
    | st.text(st.characters(blacklist_categories=["Cs"]))
)


@given(
    st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text("aB-_9 ä.\n"), inner), max_leaves=10)
)
def test_toml_reads_back_what_was_written(value: Any) -> None:
    written = toml_value(value)
    assert "\n" not in written
    assert tomllib.loads(f"value = {written}")["value"] == value


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (60.0, "60"),
        (0.5, "0.5"),
        (1e300, "1e+300"),
        (float("inf"), "inf"),
        (float("nan"), "nan"),
        (("a", 1), '["a", 1]'),
        ({"a": None, "b c": 1}, '{"b c" = 1}'),
        (dt.date(2026, 11, 1), "2026-11-01"),
        ("a\udcff\x7f\u2028b", '"a\\udcff\\u007f\\u2028b"'),
        ("\U000e0001", '"\\U000e0001"'),
        pytest.param(10**5000, hex(10**5000), id="more digits than Python converts"),
    ],
)
def test_every_value_can_be_written(value: Any, written: str) -> None:
    assert toml_value(value) == written


@pytest.mark.parametrize(("name", "written"), [("a-B_9", "a-B_9"), ("", '""'), ("a b", '"a b"'), ("a\nb", '"a\\nb"')])
def test_a_key_is_quoted_where_it_has_to_be(name: str, written: str) -> None:
    assert toml_key(name) == written


@pytest.mark.parametrize(("size", "written"), [(0, "0"), (1000, "1000"), (8192, '"8KiB"')])
def test_a_size_is_written_in_units_where_it_is_round(size: int, written: str) -> None:
    assert toml_size(size) == written


def test_a_long_value_is_shortened_for_a_message() -> None:
    shown = show("x" * 1000)
    assert len(shown) == 100
    assert shown.endswith("...")


def test_a_value_that_is_nested_too_deeply_can_still_be_mentioned() -> None:
    value: list[Any] = []
    for _ in range(100_000):
        value = [value]
    assert show(value) == "..."
    while value:  # taken apart by hand: Python would do it recursively
        value = value.pop()
