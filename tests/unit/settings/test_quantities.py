"""Durations and sizes in both spellings."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appserver.settings.quantities import (
    MAX_DURATION,
    MAX_SIZE,
    format_duration,
    format_size,
    parse_duration,
    parse_size,
)

NUMBERS_THAT_ARE_NONE: list[object] = [True, None, [], {}, -1, -0.5, float("nan"), float("inf"), 10**400]


class TestDuration:
    @pytest.mark.parametrize(
        ("written", "seconds"),
        [
            (0, 0.0),
            (30, 30.0),
            (0.25, 0.25),
            ("90", 90.0),
            ("1.5", 1.5),
            ("0", 0.0),
            ("0s", 0.0),
            ("30s", 30.0),
            ("500ms", 0.5),
            ("1m30s", 90.0),
            ("2h", 7200.0),
            ("1h0m1s", 3601.0),
            ("1d2h3m4s5ms", 93784.005),
            ("1.5h", 5400.0),
            ("366d", MAX_DURATION),
        ],
    )
    def test_both_spellings_are_read(self, written: object, seconds: float) -> None:
        assert parse_duration(written) == seconds
        assert type(parse_duration(written)) is float

    @pytest.mark.parametrize(
        "written",
        [
            *NUMBERS_THAT_ARE_NONE,
            *(
                "",
                " ",
                "s",
                "1x",
                "-1s",
                "30s1m",
                "1s1s",
                "1 m",
                "1m 30s",
                "nan",
                "inf",
                "1e3",
                "1_000",
                "٣s",
                "1.s",
                ".5",
            ),
            *("367d", "31622401", "9" * 100_000, "1M", "1min", "1\n"),
        ],
    )
    def test_everything_else_is_refused_with_what_is_expected(self, written: object) -> None:
        with pytest.raises(ValueError, match=r"^expected a duration from 0 to 366d.*1m30s"):
            parse_duration(written)

    @given(st.floats(min_value=0, max_value=MAX_DURATION))
    def test_what_is_written_is_read_back_exactly(self, seconds: float) -> None:
        assert parse_duration(format_duration(seconds)) == seconds

    @given(st.integers(0, 365), st.integers(0, 23), st.integers(0, 59), st.integers(0, 59))
    def test_the_units_add_up(self, days: int, hours: int, minutes: int, seconds: int) -> None:
        assert (
            parse_duration(f"{days}d{hours}h{minutes}m{seconds}s")
            == ((days * 24 + hours) * 60 + minutes) * 60 + seconds
        )

    @given(st.text())
    def test_any_text_is_a_duration_or_a_value_error(self, text: str) -> None:
        try:
            assert 0 <= parse_duration(text) <= MAX_DURATION
        except ValueError:
            pass

    @pytest.mark.parametrize(
        ("seconds", "written"),
        [(0, "0s"), (0.5, "0.5s"), (30, "30s"), (60, "1m"), (90, "1m30s"), (86400.5, "1d0.5s"), (10, "10s")],
    )
    def test_they_are_written_as_people_do(self, seconds: float, written: str) -> None:
        assert format_duration(seconds) == written


class TestSize:
    @pytest.mark.parametrize(
        ("written", "size"),
        [
            (0, 0),
            (1024, 1024),
            ("1024", 1024),
            ("0", 0),
            ("1B", 1),
            ("64KiB", 65536),
            ("16MiB", 16777216),
            ("16 mib", 16777216),
            ("1.5GiB", 1610612736),
            ("1kB", 1000),
            ("2MB", 2_000_000),
            ("1TB", 10**12),
            ("1024TiB", MAX_SIZE),
        ],
    )
    def test_both_spellings_are_read(self, written: object, size: int) -> None:
        assert parse_size(written) == size
        assert type(parse_size(written)) is int

    @pytest.mark.parametrize(
        "written",
        [
            *NUMBERS_THAT_ARE_NONE,
            *(
                1.0,
                "",
                "B",
                "1.5B",
                "0.1KiB",
                "16M",
                "16iB",
                "1 K",
                "-1B",
                "1  KiB",
                "1e3",
                "٣B",
                "1025TiB",
                "9" * 100_000,
            ),
        ],
    )
    def test_everything_else_is_refused_with_what_is_expected(self, written: object) -> None:
        with pytest.raises(ValueError, match=r"^expected a size from 0 to 1024TiB.*16MiB"):
            parse_size(written)

    @given(st.integers(0, MAX_SIZE))
    def test_what_is_written_is_read_back_exactly(self, size: int) -> None:
        assert parse_size(format_size(size)) == size

    @given(st.text())
    def test_any_text_is_a_size_or_a_value_error(self, text: str) -> None:
        try:
            assert 0 <= parse_size(text) <= MAX_SIZE
        except ValueError:
            pass

    @pytest.mark.parametrize(
        ("size", "written"),
        [
            (0, "0B"),
            (1000, "1000B"),
            (8192, "8KiB"),
            (2**24, "16MiB"),
            (3 * 2**30, "3GiB"),
            (2**40, "1TiB"),
            (1536, "1536B"),
        ],
    )
    def test_they_are_written_in_the_largest_unit_that_divides_them(self, size: int, written: str) -> None:
        assert format_size(size) == written
