"""The tables of other servers' options: complete against the installed releases, and true to the settings."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from appserver.cli.habits import ACCEPTED, HABITS
from appserver.cli.peers import answer
from appserver.cli.peers.document import document
from appserver.cli.peers.migrate import Translation
from appserver.cli.peers.table import PEERS, Option, Table, read_table, tables
from appserver.errors import SettingsError
from appserver.settings import Override, load
from appserver.settings.keys import KEYS

ROOT = Path(__file__).parents[3]

# What each server's own parser says: name, flags, flags of the negation, and what it takes.
CLICK = """
import importlib, json, click
module = importlib.import_module(MODULE)
[command] = {id(one): one for one in vars(module).values() if isinstance(one, click.Command)}.values()
print(json.dumps([
    [one.name, one.opts, one.secondary_opts, "nothing" if one.is_flag else "values" if one.multiple else "value"]
    for one in command.params if isinstance(one, click.Option)
]))
"""
PROGRAMS = {
    "uvicorn": CLICK.replace("MODULE", "'uvicorn.main'"),
    "granian": CLICK.replace("MODULE", "'granian.cli'"),
    "gunicorn": """
import json
from gunicorn.config import Config
takes = {"store_true": "nothing", "store_const": "nothing", "append": "values"}
print(json.dumps([
    [name, one.cli or [], [], ("perhaps" if one.nargs == "?" else takes.get(one.action, "value")) if one.cli else "value"]
    for name, one in Config().settings.items()
]))
""",
    "hypercorn": """
import argparse, json
def takes(one):
    return "nothing" if one.nargs == 0 else "values" if isinstance(one, argparse._AppendAction) else "value"
def show(self, arguments=None):
    print(json.dumps([
        [None, one.option_strings, [], takes(one)] for one in self._actions if one.option_strings
    ]))
    raise SystemExit
argparse.ArgumentParser.parse_args = show
from hypercorn.__main__ import main
main([])
""",
    "daphne": """
import json
from daphne.cli import CommandLineInterface
print(json.dumps([
    [None, one.option_strings, [], "nothing" if one.nargs == 0 else "values" if "Append" in type(one).__name__ else "value"]
    for one in CommandLineInterface().parser._actions if one.option_strings
]))
""",
}
PROGRAMS["fastapi"] = """
import json, typer
from fastapi_cli.cli import app
commands = typer.main.get_command(app).commands
options = {one.name: one for name in ("run", "dev") for one in commands[name].params if one.param_type_name == "option"}
print(json.dumps([
    [one.name, one.opts, one.secondary_opts, "nothing" if one.is_flag else "values" if one.multiple else "value"]
    for one in options.values()
]))
"""
DISTRIBUTIONS = {"fastapi": "fastapi-cli"}
"""Those that have another name than the command."""

NAMED_BY_THE_PARSER = ("uvicorn", "granian", "gunicorn", "fastapi")
"""The parsers of the others have names that are not those of a configuration."""

HYPERCORN_CONFIGURATION = """
import inspect, json
from hypercorn.config import Config
names = [name for name, value in vars(Config).items() if not name.startswith("_") and not inspect.isroutine(value)]
print(json.dumps([name for name in names if not isinstance(vars(Config)[name], property) or vars(Config)[name].fset]))
"""


def ask(program: str) -> Any:
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", program], capture_output=True, text=True, check=False)
    assert done.stdout, done.stderr
    return json.loads(done.stdout)


def installed(peer: str) -> str:
    if importlib.util.find_spec(DISTRIBUTIONS.get(peer, peer).replace("-", "_")) is None:
        pytest.skip(f"{peer} is not installed (extra: peers)")
    return peer


OPTIONS = [(table, option) for table in tables() for option in table.options.values()]


def named(found: tuple[Table, Option]) -> str:
    return f"{found[0].peer} {found[1].name}"


class TestComplete:
    @pytest.mark.parametrize("peer", PEERS)
    def test_the_table_is_of_the_installed_release(self, peer: str) -> None:
        assert metadata.version(DISTRIBUTIONS.get(installed(peer), peer)).startswith(f"{read_table(peer).release}.")

    @pytest.mark.parametrize("peer", PEERS)
    def test_every_option_of_the_command_line_is_there_with_its_flags_and_no_other(self, peer: str) -> None:
        theirs = [row for row in ask(PROGRAMS[installed(peer)]) if "--help" not in row[1]]
        ours = list(read_table(peer).options.values())
        if peer in NAMED_BY_THE_PARSER:
            assert {row[0] for row in theirs} == {option.name for option in ours}
        by_flags = {frozenset(option.flags + option.negated): option for option in ours if option.flags}
        assert {frozenset(flags + negated) for _, flags, negated, _ in theirs if flags} == set(by_flags)
        for _, flags, negated, takes in theirs:
            if flags:
                option = by_flags[frozenset(flags + negated)]
                assert (set(option.flags), set(option.negated)) == (set(flags), set(negated))
                assert option.takes == takes, option

    def test_every_name_of_hypercorns_configuration_is_there(self) -> None:
        installed("hypercorn")
        assert set(ask(HYPERCORN_CONFIGURATION)) <= set(read_table("hypercorn").options)


class TestTrue:
    @pytest.mark.parametrize("found", OPTIONS, ids=named)
    def test_an_option_has_a_counterpart_or_a_reason(self, found: tuple[Table, Option]) -> None:
        option = found[1]
        assert bool(option.none) != bool(option.counterpart() or option.by), option
        assert not (option.by and not hasattr(Translation, f"by_{option.by}")), option
        assert option.settings() <= set(KEYS), option

    @pytest.mark.parametrize("found", OPTIONS, ids=named)
    def test_what_it_comes_to_is_what_the_setting_takes(self, found: tuple[Table, Option]) -> None:
        option = found[1]
        meant = [(option.setting, value) for value in option.values.values()]
        for key, value in [*meant, *option.on.items(), *option.off.items()]:
            if not key.startswith("listeners."):
                needed = [
                    Override("app.target", "a:b", "-"),
                    Override("listeners", [{"tls": True}], "-"),
                    Override("tls.certificate", __file__, "-"),
                    Override("tls.client_ca", __file__, "-"),
                    Override("tls.client_verify", "none", "-"),
                ]
                load(None, environ={}, overrides=[*needed, Override(key, value, "-")])

    def test_an_option_that_a_run_takes_is_the_setting_of_the_table(self) -> None:
        for flag, setting in ACCEPTED.items():
            found = [option for _, option in OPTIONS if flag in option.flags + option.negated]
            assert found, flag
            for option in found:
                if flag in ("-b", "--ws", "--http", "--config", "-c", "--reload"):  # of different meanings
                    continue
                assert setting in option.settings() | {option.here, "access_log.file"}, (flag, option)

    def test_a_habit_has_a_setting_that_there_is(self) -> None:
        assert {habit.setting for habit in HABITS} <= set(KEYS)

    def test_the_document_is_fresh(self) -> None:
        assert (ROOT / "deploy" / "MIGRATION.md").read_text(encoding="utf-8") == document(), (
            "regenerate it: python -m appserver.cli.peers.document > deploy/MIGRATION.md"
        )


class TestAnswers:
    @pytest.mark.parametrize("found", OPTIONS, ids=named)
    def test_every_flag_is_answered(self, found: tuple[Table, Option]) -> None:
        table, option = found
        for flag in (*option.flags, *option.negated):
            said = answer(flag)
            assert said
            assert table.peer in said
            assert all(len(line) > len(flag) + 10 for line in said.splitlines())

    def test_an_answer_shows_what_to_write(self) -> None:
        assert answer("--limit-request-fields") == (
            "--limit-request-fields (gunicorn): here it is http.max_headers: --set http.max_headers=..."
        )
        assert answer("--no-server-header") == '--no-server-header (uvicorn): here it is --set http.server_header=""'

    def test_an_option_that_means_different_things_has_an_answer_for_each(self) -> None:
        said = answer("-p")
        assert said
        assert [line.split(")")[0] for line in said.splitlines()] == ["-p (gunicorn, hypercorn", "-p (daphne"]

    def test_a_value_may_be_attached_to_a_short_flag(self) -> None:
        assert "workers.stall_timeout" in (answer("-t30") or "")

    def test_what_nobody_has_is_not_answered(self) -> None:
        assert answer("--colour") is None


def test_a_setting_that_does_not_exist_would_be_found() -> None:
    with pytest.raises(SettingsError):
        load(None, environ={}, overrides=[Override("app.target", "a:b", "-"), Override("http.nothing", 1, "-")])
