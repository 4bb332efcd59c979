"""What an operator wrote, from each place where it can stand: the file, the environment, the command line.

Every source is read into a flat list of assignments; problems of a source as such (unreadable, not TOML, unknown
sections and variables) are added to the list that the caller passes. Whether the values are right is decided later,
when all sources have been merged (`loading`).
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from appserver.errors import Problem
from appserver.settings import keys
from appserver.settings.problems import shown_value
from appserver.settings.rendering import toml_key

CONFIG_VARIABLE = "APPSERVER_CONFIG"
"""The environment variable that names the settings file where the command line does not."""

# Kubernetes and Docker links describe a service of the name "appserver" to every container by variables like these.
_SERVICE_LINK = re.compile(
    r"APPSERVER_([A-Z0-9_]+_)?(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)"
)


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a value came from: the kind of source, and its name ("server.toml", "APPSERVER_WORKERS__COUNT", "--bind").

    `where` is empty for a default.
    """

    source: Literal["default", "file", "environment", "command line"]
    where: str = ""

    def __str__(self) -> str:
        return f"{self.source}: {self.where}" if self.where else self.source


@dataclass(frozen=True, slots=True)
class Override:
    """A setting from the command line: the dotted key, its value, and the option that it was given with.

    Text that came as such is converted to what the key wants ("4" for workers.count).
    """

    key: str
    value: Any
    where: str

    @classmethod
    def parse(cls, text: str, where: str) -> Override:
        """Read "section.key=value", the value as TOML or else as text; raises ValueError if it has another form."""
        key, equals, value = text.partition("=")
        if not equals or not key.strip():
            raise ValueError("expected section.key=value")
        return cls(key.strip(), _toml_or_text(key.strip(), value.strip()), where)


def _toml_or_text(key: str, text: str) -> Any:
    try:
        document = tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError):
        return text
    value = document.pop("value")
    wants_text = key in keys.KEYS and keys.KEYS[key].is_text
    # "8000" is TOML for a number, and text to a key that wants text; a line break could bring in further keys.
    return text if document or (wants_text and not isinstance(value, str)) else value


@dataclass(frozen=True, slots=True)
class Assignment:
    """One value for one key of one section, or (without a name) for a whole list of tables."""

    section: str
    name: str | None
    value: Any
    origin: Origin


def read_file(path: Path, problems: list[Problem]) -> list[Assignment] | None:
    """Read a TOML file; None if it cannot be read at all."""
    where = str(path)
    try:
        document = tomllib.loads(path.read_bytes().decode("utf-8-sig"))
    except FileNotFoundError:
        problem = "no such file"
    except IsADirectoryError:
        problem = "is a directory; expected a TOML file"
    except (OSError, ValueError, RecursionError) as error:
        problem = _reading_problem(error)
    else:
        return list(_tables(document, Origin("file", where), problems))
    problems.append(Problem(where, "", "", problem))
    return None


def _reading_problem(error: OSError | ValueError | RecursionError) -> str:
    match error:
        case OSError():
            return f"cannot be read: {error.strerror}"
        case UnicodeDecodeError():
            line = error.object.count(b"\n", 0, error.start) + 1
            return f"not UTF-8 (at line {line}); expected a TOML file"
        case RecursionError():
            return "not TOML: nested too deeply"
        case _:
            return f"not TOML: {error}"


def read_conventional(environ: Mapping[str, str]) -> list[Assignment]:
    """Read the variables that other servers know too; they stand for defaults, below the file."""
    assignments = []
    if environ.get("WEB_CONCURRENCY"):
        origin = Origin("environment", "WEB_CONCURRENCY")
        assignments.append(Assignment("workers", "count", environ["WEB_CONCURRENCY"], origin))
    if environ.get("FORWARDED_ALLOW_IPS"):
        origin = Origin("environment", "FORWARDED_ALLOW_IPS")
        trusted = [part.strip() for part in environ["FORWARDED_ALLOW_IPS"].split(",")]
        assignments.append(Assignment("proxy", "trusted", trusted, origin))
    return assignments


def read_environment(environ: Mapping[str, str], problems: list[Problem]) -> list[Assignment]:
    """Read the APPSERVER_ variables: scalars as they are, lists and tables as JSON. Whole sections come first."""
    assignments: list[Assignment] = []
    for variable in sorted(environ, key=lambda name: (name.count("__"), name)):
        if not variable.upper().startswith(keys.ENVIRONMENT_PREFIX) or variable == CONFIG_VARIABLE:
            continue
        name, text = keys.VARIABLES.get(variable), environ[variable]
        if name is None:
            if not _is_service_link(variable, text):
                hint = keys.nearest_variable(variable)
                problems.append(Problem(variable, "", "", f"unknown environment variable; {hint}"))
            continue
        origin = Origin("environment", variable)
        if name in keys.KEYS and not keys.KEYS[name].is_list:
            key = keys.KEYS[name]
            assignments.append(Assignment(key.section, key.name, text, origin))
            continue
        try:
            value = json.loads(text)
        except (ValueError, RecursionError) as error:
            reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)
            problems.append(
                Problem(
                    variable,
                    name,
                    shown_value(tuple(name.split(".")), text),
                    f"expected {_json_form(name)} as JSON ({reason})",
                )
            )
        else:
            assignments += _nested(name, value, origin, problems)
    return assignments


def _json_form(name: str) -> str:
    if name in keys.KEYS:
        return "a list"
    return "a list of tables" if name in keys.LISTS_OF_TABLES else "a table"


def _is_service_link(variable: str, text: str) -> bool:
    if variable == f"{keys.ENVIRONMENT_PREFIX}PORT":
        # Somebody who wants to set a port writes a number here.
        return "://" in text
    return "__" not in variable and _SERVICE_LINK.fullmatch(variable) is not None


def read_overrides(overrides: Sequence[Override], problems: list[Problem]) -> list[Assignment]:
    """Read what the command line sets, in its order."""
    assignments: list[Assignment] = []
    for override in overrides:
        assignments += _nested(override.key, override.value, Origin("command line", override.where), problems)
    return assignments


def _nested(dotted: str, value: Any, origin: Origin, problems: list[Problem]) -> Iterator[Assignment]:
    """Yield the assignments of a value for a section ("workers") or for a key ("workers.count")."""
    section, dot, name = dotted.partition(".")
    return _tables({section: {name: value} if dot else value}, origin, problems)


def _tables(document: Mapping[str, Any], origin: Origin, problems: list[Problem]) -> Iterator[Assignment]:
    """Yield the assignments of a whole document, and note the sections that there are not."""
    for section, content in document.items():
        is_table = isinstance(content, dict)
        if section not in keys.SECTIONS:
            hint = keys.nearest_section(section, is_table=is_table)
            kind = "section" if is_table else "key"
            shown = "" if is_table else shown_value((section,), content)
            problems.append(Problem(origin.where, toml_key(section), shown, f"unknown {kind}; {hint}"))
        elif section in keys.LISTS_OF_TABLES:
            yield Assignment(section, None, content, origin)
        elif is_table:
            for name, value in content.items():
                yield Assignment(section, name, value, origin)
        else:
            problems.append(
                Problem(origin.where, section, shown_value((section,), content), f"expected a table: [{section}]")
            )
