"""Records, whatever is in them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appserver.telemetry.record import Record, exception_of, plain, timestamp, to_json, to_portable_json


class Colour(StrEnum):
    RED = "red"


@dataclass
class Point:
    x: int


class Unspeakable:
    def __repr__(self) -> str:
        raise RuntimeError("no")


def a_record(fields: Mapping[str, Any] = {}, **members: Any) -> Record:
    known = {"created": 0.0, "level": "info", "event": "tested", "logger": "appserver.test", "identity": {"pid": 7}}
    return Record(**{**known, **members, "fields": fields})


both = pytest.mark.parametrize("write", [to_json, to_portable_json])


values = st.recursive(
    st.text(st.characters()) | st.binary() | st.integers() | st.floats() | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


def a_cycle() -> list[object]:
    cycle: list[object] = []
    cycle.append(cycle)
    return cycle


ODD_VALUES = [
    pytest.param({1, 2}, [1, 2], id="set"),
    pytest.param((1, (2, 3)), [1, [2, 3]], id="tuple"),
    pytest.param(deque([1]), "deque([1])", id="container"),
    pytest.param(b"\xffabc", "\\xffabc", id="octets"),
    pytest.param("\udc80", "\\udc80", id="lone surrogate"),
    pytest.param("é\N{SNOWMAN}", "é\N{SNOWMAN}", id="text"),
    pytest.param(10**30, "1" + "0" * 30, id="large integer"),
    pytest.param(-(2**63), -(2**63), id="smallest integer"),
    pytest.param(float("nan"), None, id="not a number"),
    pytest.param(float("inf"), None, id="infinity"),
    pytest.param(0.5, 0.5, id="fraction"),
    pytest.param(True, True, id="boolean"),
    pytest.param(datetime(2026, 1, 2, tzinfo=UTC), "2026-01-02T00:00:00+00:00", id="moment"),
    pytest.param(date(2026, 1, 2), "2026-01-02", id="day"),
    pytest.param(Path("/a"), "/a", id="path"),
    pytest.param(UUID(int=0), "00000000-0000-0000-0000-000000000000", id="uuid"),
    pytest.param(Decimal("1.10"), "1.10", id="decimal"),
    pytest.param(Colour.RED, "red", id="enumeration"),
    pytest.param(Point(1), "Point(x=1)", id="object"),
    pytest.param({(1, 2): {3: None}}, {"[1, 2]": {"3": None}}, id="odd keys"),
    pytest.param({"\udc80": 1}, {"\\udc80": 1}, id="odd text as key"),
    pytest.param(Unspeakable(), "<Unspeakable, whose repr raises RuntimeError>", id="failing repr"),
    pytest.param(a_cycle(), ["[[...]]"], id="cycle"),
]


class TestJSON:
    @both
    def test_members_come_in_a_fixed_order(self, write: Any) -> None:
        error = ValueError("wrong")
        line = write(a_record({"b": 1, "a": 2}, error=error))
        assert list(json.loads(line)) == ["timestamp", "level", "event", "logger", "pid", "b", "a", "exception"]
        assert line.endswith(b"}\n")

    @both
    def test_a_field_may_be_about_another_process_but_not_pose_as_another_record(self, write: Any) -> None:
        members = json.loads(write(a_record({"pid": 8, "timestamp": "never", "level": "none", "logger": "liar"})))
        assert members["pid"] == 8
        assert (members["timestamp_"], members["level_"], members["logger_"]) == ("never", "none", "liar")
        assert members["timestamp"] == "1970-01-01T00:00:00.000000Z"

    @pytest.mark.parametrize(("value", "expected"), ODD_VALUES)
    @both
    def test_odd_values_are_written_as_what_comes_nearest(self, write: Any, value: object, expected: object) -> None:
        assert json.loads(write(a_record({"value": value})))["value"] == expected

    def test_what_nobody_reads_is_cut_off(self) -> None:
        deep: list[object] = []
        for _ in range(20):
            deep = [deep]
        assert to_portable_json(a_record({"value": deep})).count(b'"') < 50

    @both
    @given(event=st.text(st.characters()), fields=st.dictionaries(st.text(), values, max_size=4))
    def test_every_record_is_one_object_on_one_line(self, write: Any, event: str, fields: dict[str, object]) -> None:
        line = write(a_record(fields, event=event))
        assert line.count(b"\n") == 1
        assert isinstance(json.loads(line), dict)

    @both
    def test_an_exception_is_there_with_its_causes(self, write: Any) -> None:
        try:
            try:
                raise KeyError("inner")
            except KeyError as error:
                raise ValueError("outer") from error
        except ValueError as error:
            text = json.loads(write(a_record(error=error)))["exception"]
        assert "KeyError: 'inner'" in text
        assert text.endswith("ValueError: outer")

    def test_it_works_without_orjson(self) -> None:
        program = """
import sys
sys.modules["orjson"] = None
from appserver.telemetry.record import FAST, Record, to_json
assert not FAST
sys.stdout.buffer.write(to_json(Record(0.0, "info", "tested", "test", {}, {"value": {1}})))
"""
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
        assert json.loads(done.stdout)["value"] == [1]


class TestParts:
    def test_time_is_utc(self) -> None:
        assert timestamp(1_000_000_000.25) == "2001-09-09T01:46:40.250000Z"

    def test_a_mapping_of_any_kind_becomes_an_object(self) -> None:
        class Settings(dict[str, int]):
            pass

        assert plain(Settings(a=1)) == {"a": 1}

    def test_an_exception_is_found_however_it_is_handed_over(self) -> None:
        error = ValueError()
        assert exception_of(error) is error
        assert exception_of((ValueError, error, None)) is error
        assert exception_of((None, None, None)) is None
        assert exception_of(None) is exception_of(False) is exception_of(True) is None
        try:
            raise error
        except ValueError:
            assert exception_of(True) is error
