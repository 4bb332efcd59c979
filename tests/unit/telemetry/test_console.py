"""Records for people."""

from __future__ import annotations

import json
import re
import sysconfig
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appserver.telemetry.capture import StructlogProcessor
from appserver.telemetry.console import Console, clock, printable, short_traceback, source
from appserver.telemetry.record import Record

WORKER = {"pid": 7, "process": "worker", "worker": 1, "generation": 2}


def format_plainly(
    event: str = "worker ready",
    fields: Mapping[str, Any] = {},
    *,
    level: str = "info",
    logger: str = "appserver.worker",
    error: BaseException | None = None,
) -> str:
    """Format a record without colours; the time of day, which depends on where this runs, is left out."""
    record = Record(0.0, level, event, logger, WORKER, fields, error)
    line = Console(colours=False).format(record).decode()
    assert re.match(r"\d\d:\d\d:\d\d\.\d\d\d  ", line)
    return line[14:]


class TestLine:
    def test_what_matters_stands_in_columns(self) -> None:
        line = format_plainly(fields={"seconds": 0.3123456789, "address": "[::1]:80"})
        assert line == "info      worker 1 g2   worker ready             seconds=0.312346 address=[::1]:80\n"

    def test_an_event_without_fields_is_not_followed_by_blanks(self) -> None:
        assert format_plainly().endswith("worker ready\n")

    def test_the_logger_is_named_if_it_is_not_the_servers(self) -> None:
        assert format_plainly("connected", {"a": 1}, logger="sqlalchemy.pool").endswith(
            "  sqlalchemy.pool: connected a=1\n"
        )

    @pytest.mark.parametrize(
        ("value", "shown"),
        [
            ("", "''"),
            ("two words", "'two words'"),
            ("a=b", "'a=b'"),
            ("it's", '"it\'s"'),
            ("\x1b[31m", "'\\x1b[31m'"),
            ("\udc80", "'\\\\udc80'"),
            (None, "None"),
            (1e-9, "1e-09"),
            (["a", 1], "['a', 1]"),
        ],
    )
    def test_values_are_short_and_unambiguous(self, value: object, shown: str) -> None:
        assert format_plainly(fields={"value": value}).endswith(f" value={shown}\n")

    def test_what_has_several_lines_stands_below(self) -> None:
        lines = format_plainly("first\nsecond\tpart", {"stack": "a\nb", "output": "c\nd\n", "n": 1}).splitlines()
        assert lines[0].split()[-2:] == ["first", "n=1"]
        assert lines[1:] == ["    second  part", "    a", "    b", "    output:", "    c", "    d"]

    def test_an_empty_event_is_a_line_too(self) -> None:
        assert format_plainly("").count("\n") == 1

    def test_every_level_has_a_colour_and_others_have_none(self) -> None:
        console = Console(colours=True)
        lines = [
            console.format(Record(0.0, level, "event", "appserver", WORKER, {})).decode()
            for level in ("debug", "info", "warning", "error", "critical", "trace")
        ]
        assert len({re.sub(r"debug|info|warning|error|critical|trace", "", line) for line in lines}) == 6
        assert all("\x1b[" in line for line in lines)

    @given(st.text(st.characters()), st.dictionaries(st.text(), st.text(st.characters())))
    def test_nothing_poses_as_another_record_or_talks_to_the_terminal(self, event: str, fields: dict[str, str]) -> None:
        first, *more = format_plainly(event, fields, level=event, logger=event).removesuffix("\n").split("\n")
        assert first.isprintable()
        assert all(line.startswith("    ") and line.isprintable() for line in more)


class TestParts:
    def test_the_time_of_day_has_milliseconds(self) -> None:
        assert re.fullmatch(r"\d\d:\d\d:\d\d\.250", clock(1_000_000_000.25))

    def test_printable_text_stays(self) -> None:
        assert printable("é \N{SNOWMAN}") == "é \N{SNOWMAN}"
        assert printable("a\nb\x9b") == "a\\nb\\x9b"

    @pytest.mark.parametrize(
        ("identity", "shown"),
        [
            ({"process": "master"}, "master"),
            ({"process": "zygote", "generation": 3}, "zygote g3"),
            ({"process": "worker", "worker": 2, "generation": 3}, "worker 2 g3"),
            ({"pid": 1}, ""),
        ],
    )
    def test_a_process_is_called_as_in_its_title(self, identity: dict[str, Any], shown: str) -> None:
        assert source(identity) == f"{shown:<12}"


class TestTraceback:
    def test_frames_of_libraries_are_counted_except_the_innermost(self) -> None:
        with pytest.raises(ValueError, match="Expecting") as caught:
            json.loads("{")
        lines = short_traceback(caught.value).splitlines()
        assert lines[0] == "Traceback (most recent call last):"
        assert "in test_frames_of_libraries_are_counted" in lines[1]
        assert "  ... 2 frames of Python" in lines
        assert any("in raw_decode" in line for line in lines)
        assert lines[-1].startswith("json.decoder.JSONDecodeError: ")

    def test_the_frames_of_the_server_are_counted(self) -> None:
        def fail(*args: object, **more: object) -> None:
            raise ValueError("mine")

        with pytest.raises(ValueError, match="mine") as caught:
            StructlogProcessor(fail)(None, "info", {})
        assert "  ... 1 frame of appserver\n" in short_traceback(caught.value)

    def test_all_frames_are_shown_where_none_is_the_applications(self) -> None:
        with pytest.raises(ValueError, match="Expecting") as caught:
            json.loads("{")
        error = caught.value.with_traceback(caught.tb.tb_next)
        assert short_traceback(error).count("  File ") == 3
        assert "..." not in short_traceback(error)

    def test_causes_are_shortened_too(self) -> None:
        def fail() -> None:
            try:
                json.loads("{")
            except ValueError as error:
                raise ExceptionGroup("outer", [error]) from error

        with pytest.raises(ExceptionGroup) as caught:
            fail()
        assert short_traceback(caught.value).count("  ... 2 frames of Python") == 2

    def test_installed_packages_are_named(self) -> None:
        folder = Path(sysconfig.get_path("purelib"))
        assert "site-packages" in str(folder)
        names: dict[str, Any] = {}
        exec(compile("def call(function): function()", str(folder / "framework" / "routing.py"), "exec"), names)

        def fail() -> None:
            raise ValueError("mine")

        with pytest.raises(ValueError, match="mine") as caught:
            names["call"](fail)
        assert "  ... 1 frame of framework\n" in short_traceback(caught.value)

    def test_it_stands_below_the_line(self) -> None:
        error = ValueError("wrong\nindeed")
        assert format_plainly(error=error).split("\n", 1)[1] == textwrap.indent("ValueError: wrong\nindeed\n", "    ")
