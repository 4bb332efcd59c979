"""Configurations of Python's logging: what is read, and what is found wrong before anything is set up."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from appserver.errors import SettingsError
from appserver.settings import Settings
from appserver.settings.checks import find
from appserver.settings.locations import dotted
from appserver.settings.logging_config import mistakes, read_logging_config

INI = """
[loggers]
keys = root
[handlers]
keys = console
[formatters]
keys =
[logger_root]
handlers = console
[handler_console]
class = StreamHandler
args = ()
"""


def settings_findings(**logging: Any) -> list[tuple[str, str]]:
    settings = Settings.model_validate({"app": {"target": "a:b"}, "logging": logging})
    return [(dotted(finding.location), finding.expected) for finding in find(settings, [])]


class TestReading:
    @pytest.mark.parametrize(
        ("name", "text"),
        [
            ("log.json", '{"version": 1}'),
            ("log.yaml", "version: 1"),
            ("log.YML", "version: 1"),
            ("log.toml", "version = 1"),
        ],
    )
    def test_a_table_in_any_notation(self, tmp_path: Path, name: str, text: str) -> None:
        (tmp_path / name).write_text(text)
        assert read_logging_config(tmp_path / name) == {"version": 1}

    @pytest.mark.parametrize("name", ["log.ini", "log.conf", "logging"])
    def test_an_ini_file_stays_text(self, tmp_path: Path, name: str) -> None:
        (tmp_path / name).write_text(INI)
        assert read_logging_config(tmp_path / name) == INI

    @pytest.mark.parametrize(
        ("name", "content", "reason"),
        [
            ("log.json", b"{", "not JSON: Expecting property name"),
            ("log.yaml", b"a: [", "not YAML: while parsing a flow node"),
            ("log.toml", b"a =", "not TOML: Invalid value"),
            ("log.json", b"[]", "expected a table in the form of logging.config.dictConfig"),
            ("log.json", b"\xff", "not UTF-8"),
            ("log.json", b"[" * 100_000, "nested too deeply"),
            ("log.ini", b"version: 1", "not INI: File contains no section headers"),
            ("log.ini", b"[loggers]\nkeys=root", "expected [handlers] and [formatters] with keys"),
        ],
    )
    def test_what_is_wrong_with_a_file(self, tmp_path: Path, name: str, content: bytes, reason: str) -> None:
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(SettingsError) as caught:
            read_logging_config(path)
        (problem,) = caught.value.problems
        assert (problem.where, problem.expected[: len(reason)]) == (str(path), reason)

    def test_a_file_that_is_not_there(self, tmp_path: Path) -> None:
        path = tmp_path / "log.json"
        assert settings_findings(config_file=path) == [("logging.config_file", "no such file")]

    def test_a_directory(self, tmp_path: Path) -> None:
        ((_, reason),) = settings_findings(config_file=tmp_path)
        assert reason.startswith("cannot be read")

    def test_yaml_without_its_library(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "yaml", None)
        (tmp_path / "log.yaml").write_text("version: 1")
        with pytest.raises(SettingsError, match="YAML needs PyYAML, which is not installed: pip install PyYAML"):
            read_logging_config(tmp_path / "log.yaml")


class TestMistakes:
    @pytest.mark.parametrize(
        "document",
        [
            {"version": 1},
            {"version": 1, "x-anchors": {}, "incremental": True, "loggers": {"a": {"handlers": ["earlier"]}}},
            {
                "version": 1,
                "formatters": {"short": {"format": "%(message)s"}},
                "filters": {"mine": {"()": "main.Filter"}},
                "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "short", "filters": ["mine"]}},
                "loggers": {"shop": {"handlers": ["console"], "level": 15, "filters": []}},
                "root": {"handlers": ["console"], "level": "DEBUG"},
            },
        ],
    )
    def test_there_are_none(self, document: dict[str, Any]) -> None:
        assert list(mistakes(document)) == []

    @pytest.mark.parametrize(
        ("document", "expected"),
        [
            ({}, ("version", "expected 1")),
            ({"version": 1, "handler": {}}, ("handler", "unknown; did you mean handlers?")),
            ({"version": 1, "handlers": []}, ("handlers", "expected a table of tables")),
            ({"version": 1, "loggers": {"a": 1}}, ("loggers", "expected a table of tables")),
            ({"version": 1, "handlers": {"a": {}}}, ("handlers.a", 'expected a "class"')),
            (
                {"version": 1, "handlers": {"a": {"class": "x", "formatter": "f"}}},
                ("handlers.a.formatter", "'f' is not in formatters; there are none"),
            ),
            (
                {"version": 1, "handlers": {"console": {"class": "x"}}, "root": {"handlers": ["consol"]}},
                ("root.handlers", "'consol' is not in handlers; did you mean console?"),
            ),
            ({"version": 1, "root": []}, ("root", "expected a table")),
            ({"version": 1, "root": {"handlers": "console"}}, ("root.handlers", "expected a list")),
            (
                {"version": 1, "loggers": {"a": {"level": "LOUD"}}},
                ("loggers.a.level", "'LOUD' is unknown: expected a level such as INFO"),
            ),
        ],
    )
    def test_each_is_named_by_its_key(self, document: dict[str, Any], expected: tuple[str, str]) -> None:
        assert list(mistakes(document)) == [expected]

    def test_parts_of_a_server_that_is_not_installed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("appserver.settings.logging_config.find_spec", lambda name: None)
        document = {"version": 1, "formatters": {"default": {"()": "uvicorn.logging.DefaultFormatter"}}}
        ((key, reason),) = mistakes(document)
        assert key == "formatters.default"
        assert reason.startswith(
            "uvicorn.logging.DefaultFormatter is a part of uvicorn, which is not installed; leave it"
        )

    def test_parts_of_a_server_that_is_installed_stay(self) -> None:
        document = {"version": 1, "formatters": {"default": {"()": "uvicorn.logging.DefaultFormatter"}}}
        assert list(mistakes(document)) == []


class TestSettings:
    def test_a_table_of_the_settings(self) -> None:
        assert settings_findings(config={"version": 2}) == [("logging.config", "version: expected 1")]

    def test_a_file(self, tmp_path: Path) -> None:
        (tmp_path / "log.toml").write_text("version = 2")
        assert settings_findings(config_file=tmp_path / "log.toml") == [("logging.config_file", "version: expected 1")]

    def test_not_both(self, tmp_path: Path) -> None:
        (tmp_path / "log.toml").write_text("version = 1")
        assert settings_findings(config={"version": 1}, config_file=tmp_path / "log.toml") == [
            ("logging.config_file", "expected only one of logging.config and logging.config_file")
        ]
