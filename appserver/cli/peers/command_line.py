"""The configuration of another server: its command line, its environment, its configuration file.

Each becomes a list of `Given`, the weakest first: what comes later takes the place of what was said before.
"""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from appserver.cli.peers import configuration, entry
from appserver.cli.peers.table import PEERS, Option, Table, read_table
from appserver.errors import UsageError
from appserver.files.kinds import is_regular

# How those who read their options from the environment take text for a flag.
_TRUE = ("1", "true", "t", "yes", "y", "on")


@dataclass(frozen=True, slots=True)
class Given:
    """An option with its value, as text or (from a configuration file) as what Python has; `where` is its source."""

    option: Option
    value: Any
    where: str


@dataclass(frozen=True, slots=True)
class Invocation:
    """How another server is started: which one, the application that it is to serve, and everything that it was told."""

    table: Table
    target: str
    given: tuple[Given, ...]
    environment: Mapping[str, str]


def read_invocation(words: Sequence[str], environ: Mapping[str, str]) -> Invocation:
    """Read a command line with all that it leads to. Raises UsageError if it is none of a server that is known.

    Assignments in front (`PORT=80 gunicorn ...`) join the environment; other words in front (`exec`, `uv run`,
    `python -m`) mean nothing.
    """
    environment = dict(environ)
    position = next((index for index, word in enumerate(words) if Path(word).name in PEERS), None)
    if position is None:
        raise UsageError(f"expected the command line of another server: one of {', '.join(PEERS)}, and its arguments")
    for word in words[:position]:
        name, equals, value = word.partition("=")
        if equals and name.isidentifier():
            environment[name] = value
    table = read_table(peer := Path(words[position]).name)
    if peer == "fastapi":
        return _read_fastapi(table, words[position + 1 :], environment)
    target, told = _parse(table, words[position + 1 :])
    variables = list(_from_environment(table, environment))
    if peer == "gunicorn":
        told_before = _parse(table, _words("GUNICORN_CMD_ARGS", environment))
        variables += [Given(one.option, one.value, "GUNICORN_CMD_ARGS") for one in told_before[1]]
        target = target or told_before[0]
    given = [*_from_file(table, [*variables, *told], environment), *variables, *told]
    return Invocation(table, target or _app_variable(table, environment), tuple(given), environment)


def _read_fastapi(table: Table, words: Sequence[str], environment: Mapping[str, str]) -> Invocation:
    command = next((index for index, word in enumerate(words) if not word.startswith("-")), len(words))
    kind = "".join(words[command : command + 1])
    if kind not in ("run", "dev"):
        raise UsageError("expected fastapi run or fastapi dev, and their arguments")
    path, told = _parse(table, words[command + 1 :])
    named = {one.option.name: str(one.value) for one in told if one.option.by == "entry"}
    found = entry.find(path, named.get("app", ""), named.get("entrypoint", ""))
    usual = {"host": "127.0.0.1" if kind == "dev" else "0.0.0.0", "port": environment.get("PORT")}  # noqa: S104 - as it does
    given = [Given(table.options[name], value, f"fastapi {kind}") for name, value in usual.items() if value]
    if kind == "dev" and not any(one.option.by == "develop" for one in told):
        given.append(Given(table.options["reload"], True, "fastapi dev"))
    if found.directory != ".":
        given.append(Given(Option("path", setting="app.directory"), found.directory, path))
    return Invocation(table, found.target, (*given, *told), environment)


def _words(variable: str, environment: Mapping[str, str]) -> list[str]:
    try:
        return shlex.split(environment.get(variable, ""))
    except ValueError as error:  # a quotation without an end
        raise UsageError(f"{variable}: {error}") from None


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{self.prog}: {message}")


def _parse(table: Table, words: Sequence[str]) -> tuple[str, list[Given]]:
    """Take a command line apart as its server does; returns the application, and what is told, in its order."""
    told: list[Given] = []

    class Note(argparse.Action):
        def __call__(self, _parser: object, _namespace: object, values: Any, flag: str | None = None) -> None:
            option = table.options[self.dest]
            value = values
            if option.takes == "nothing":
                value = flag not in option.negated
            elif option.takes == "perhaps" and values is None:
                value = True
            told.append(Given(option, value, flag or self.dest))

    # The servers on click do not take abbreviations, those on argparse do.
    parser = _Parser(prog=table.peer, add_help=False, allow_abbrev=not table.environment)
    for name, option in table.options.items():
        if option.flags:
            nargs: Any = {"nothing": 0, "perhaps": "?"}.get(option.takes)
            parser.add_argument(*option.flags, *option.negated, dest=name, action=Note, nargs=nargs)
    parser.add_argument("target", nargs="?", default="")
    options, unknown = parser.parse_known_args(words)
    if unknown:
        raise UsageError(f"{table.name} has no argument {unknown[0]}")
    return options.target, told


def _from_environment(table: Table, environment: Mapping[str, str]) -> Iterator[Given]:
    if not table.environment:
        return
    for name, option in table.options.items():
        variable = f"{table.environment}{name.upper()}"
        if not (text := environment.get(variable)):
            continue
        if option.takes == "nothing":
            yield Given(option, text.lower() in _TRUE, variable)
        elif option.takes == "values":
            for part in text.split():
                yield Given(option, part, variable)
        else:
            yield Given(option, text, variable)


def _app_variable(table: Table, environment: Mapping[str, str]) -> str:
    return environment.get(f"{table.environment}APP", "") if table.environment else ""


def _from_file(table: Table, given: Sequence[Given], environment: Mapping[str, str]) -> Iterator[Given]:
    """Read the configuration file that was named, or the one that the server finds by itself."""
    named = [one.value for one in given if one.option.by == "config"]
    directory = next((one.value for one in reversed(given) if one.option.name == "chdir"), ".")
    path = named[-1] if named else _usual_file(table, Path(directory))
    if not path:
        return
    for name, value in configuration.read(path, environment).items():
        if (option := table.options.get(_configuration_name(table, name))) is not None:
            yield from _each(option, value, path)


def _usual_file(table: Table, directory: Path) -> str:
    usual = directory / "gunicorn.conf.py"
    return str(usual) if table.peer == "gunicorn" and is_regular(usual) else ""


def _configuration_name(table: Table, name: str) -> str:
    """Return the option that a name in a configuration file stands for; hypercorn has some twice."""
    return {"errorlog": "errorlog", "log_level": "loglevel"}.get(name, name) if table.peer == "hypercorn" else name


def _each(option: Option, value: Any, where: str) -> Iterator[Given]:
    if option.takes == "values":
        for part in _parts(value):
            yield Given(option, part, where)
    else:
        yield Given(option, value, where)


def _parts(value: Any) -> Iterable[Any]:
    if isinstance(value, str):
        return value.split(",")
    if isinstance(value, Iterable):
        return value
    return (value,) if value else ()
