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

from appserver.telemetry.console import Console, clock, printable, short_traceback, source
from appserver.telemetry.log_capture import StructlogProcessor
from appserver.telemetry.record import Record

WORKER = {"pid": 7, "process": "worker", "worker": 1, "generation": 2}


def format_plainly(
    event: str = "worker crashed",
    fields: Mapping[str, Any] = {},
    *,
    level: str = "info",
    logger: str = "appserver.worker",
    error: BaseException | None = None,
) -> str:
    """Format a record without colours; the time of day, which depends on where this runs, is left out."""
    record = Record(0.0, level, event, logger, WORKER, fields, error)
    line = Console(colours=False).format(record).decode()
    assert re.match(r"\d\d:\d\d:\d\d  ", line)
    return line[10:]


class TestLine:
    def test_what_matters_stands_in_columns(self) -> None:
        line = format_plainly(fields={"seconds": 0.3123456789, "address": "[::1]:80"})
        assert line == "worker 1   worker crashed seconds=0.312346 address=[::1]:80\n"

    def test_a_level_is_named_if_it_is_not_the_usual_one(self) -> None:
        assert format_plainly(level="warning") == "worker 1   warning  worker crashed\n"

    def test_a_line_that_would_be_wider_than_a_terminal_goes_on_below(self) -> None:
        lines = format_plainly(fields={f"field{number}": "x" * 20 for number in range(6)}).splitlines()
        assert [line.count("field") for line in lines] == [1, 2, 2, 1]
        assert all(line.startswith("    ") for line in lines[1:])
        assert max(map(len, lines[1:])) <= 80

    def test_one_word_that_is_too_wide_stays_whole(self) -> None:
        assert f"    value={'x' * 90}" in format_plainly(fields={"value": "x" * 90})

    def test_an_event_without_fields_is_not_followed_by_blanks(self) -> None:
        assert format_plainly().endswith("worker crashed\n")

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


class TestPhrases:
    """What a person has done has one line."""

    def lines(self, *records: tuple[str, dict[str, Any]], verbose: bool = False, level: str = "info") -> list[str]:
        console = Console(colours=False, verbose=verbose)
        formatted = [
            console.format(Record(0.0, level, event, "appserver.master", {"process": "dev"}, fields)).decode()
            for event, fields in records
        ]
        return [line[10:] for line in "".join(formatted).splitlines()]

    def test_a_start_is_a_line_and_another_when_it_serves(self) -> None:
        assert self.lines(
            ("starting", {"application": "main:app", "addresses": [], "workers": 1, "settings": "/x/server.toml"}),
            ("listening", {"listener": "127.0.0.1:80", "address": "127.0.0.1:80"}),
            ("zygote ready", {"generation": 1}),
            ("worker ready", {"worker": 1}),
            ("serving", {"generation": 1, "workers": 1, "urls": ["http://127.0.0.1:80"]}),
        ) == ["starting main:app, 1 worker, settings of /x/server.toml", "serving http://127.0.0.1:80"]

    def test_a_reload_is_a_line(self) -> None:
        finished = {"result": "ok", "reason": "generation 2 serves", "generation": 2, "seconds": 0.7391}
        assert self.lines(
            ("reload started", {"generation": 2}), ("worker exited", {"worker": 1}), ("reload finished", finished)
        ) == ["reloaded in 0.74 s: generation 2 serves"]

    def test_a_reload_that_failed_keeps_its_reason(self) -> None:
        fields = {"result": "rolled_back", "reason": "broken", "seconds": 1.0}
        [line] = self.lines(("reload finished", fields), level="error")
        assert line == "error  reload rolled back: broken"
        # It has had its record, and it is at the end of the screen that people look.
        assert self.lines(("worker exited", {"worker": 3, "reason": "boot_failed"}), level="warning") == []

    def test_a_long_sentence_goes_on_below(self) -> None:
        record = Record(0.0, "error", "boot failed", "appserver.master", {"process": "master"}, {"reason": "no " * 40})
        lines = Console(colours=False).format(record).decode().splitlines()
        assert lines[0][10:].startswith("master     error  boot failed: no no")
        assert (len(lines), max(map(len, lines)) <= 80, lines[1][:7]) == (3, True, "    no ")
        assert " ".join(" ".join(lines).split()).endswith("boot failed: " + "no " * 39 + "no")

    def test_what_an_application_says_stays_on_one_line(self) -> None:
        record = Record(0.0, "info", "no " * 40, "shop", {"process": "master"}, {})
        assert len(Console(colours=False).format(record).decode().splitlines()) == 1

    def test_files_that_are_here_have_short_names(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        fields = {"application": "main:app", "workers": 2, "settings": f"{tmp_path}/server.toml, /etc/host.toml"}
        assert self.lines(("starting", fields)) == [
            "starting main:app, 2 workers, settings of server.toml, /etc/host.toml"
        ]

    @pytest.mark.parametrize(
        ("changed", "said"),
        [
            (["a.py"], ": a.py changed"),
            (["a", "b", "c"], ": a, b, c changed"),
            (["a", "b", "c", "d"], ": a, b and 2 more changed"),
            ([], ""),
        ],
    )
    def test_a_save_is_a_line(self, changed: list[str], said: str) -> None:
        assert self.lines(("reloaded", {"changed": changed, "seconds": 0.5})) == [f"reloaded in 0.5 s{said}"]

    def test_a_stop_says_what_it_waits_for(self) -> None:
        said = self.lines(("stopping", {"delay": 0, "graceful": True, "waiting_for": ["GET /slow", "1 request"]}))
        assert said == ["stopping after GET /slow, 1 request (Ctrl-C: stop at once)"]
        assert self.lines(("stopping", {"delay": 0}), ("stopped", {"exit_code": 0})) == ["stopping", "stopped"]

    def test_after_a_boot_that_failed_nothing_is_said_any_more(self) -> None:
        assert self.lines(("worker exited", {"worker": 1}), ("stopped", {"exit_code": 4})) == []

    def test_at_the_level_debug_everything_is_shown(self) -> None:
        assert self.lines(("worker ready", {"worker": 1}), verbose=True) == ["worker ready worker=1"]

    def test_what_went_wrong_is_shown(self) -> None:
        assert self.lines(("worker exited", {"worker": 1}), level="warning") == ["warning  worker exited worker=1"]

    def test_a_record_of_another_shape_has_the_usual_form(self) -> None:
        assert self.lines(("serving", {"urls": None}), ("reloaded", {})) == ["serving urls=None", "reloaded"]


class TestParts:
    def test_the_time_of_day_has_seconds(self) -> None:
        assert re.fullmatch(r"\d\d:\d\d:\d\d", clock(1_000_000_000.25))

    def test_printable_text_stays(self) -> None:
        assert printable("é \N{SNOWMAN}") == "é \N{SNOWMAN}"
        assert printable("a\nb\x9b") == "a\\nb\\x9b"

    @pytest.mark.parametrize(
        ("identity", "shown"),
        [
            ({"process": "master"}, "master   "),
            ({"process": "zygote", "generation": 3}, "zygote   "),
            ({"process": "worker", "worker": 2, "generation": 3}, "worker 2 "),
            ({"process": "dev"}, ""),
            ({"pid": 1}, ""),
        ],
    )
    def test_a_process_has_a_column_unless_it_is_the_only_one(self, identity: dict[str, Any], shown: str) -> None:
        assert source(identity) == shown


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
