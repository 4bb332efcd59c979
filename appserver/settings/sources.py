"""Where settings can stand, as sources of pydantic-settings: files, secrets, the environment, the command line.

The library decodes, nests and merges the values of files, variables and options. Each class here
adds what the library does not keep: the `origin` of its values, and the `problems` of the place as such (unreadable, not
TOML, unknown sections and variables). So that every mistake is found and every value keeps its origin, a source is one
place only: one file, one variable, one option. Whether the values are right is decided when all have been merged
(`loading`).
"""

from __future__ import annotations

import json
import os
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic_settings import EnvSettingsSource, InitSettingsSource, SettingsError, TomlConfigSettingsSource

from appserver.errors import Problem
from appserver.files import read_input
from appserver.files.kinds import is_directory, is_regular
from appserver.settings import keys
from appserver.settings.model import Settings
from appserver.settings.problems import shown_value
from appserver.settings.rendering import toml_key

CONFIG_VARIABLE = "APPSERVER_CONFIG"
"""The environment variable that names the settings files (with ":" between them) where the command line does not."""

SECRETS_VARIABLE = "APPSERVER_SECRETS_DIR"
"""The environment variable that names the directories of secrets (with ":" between them)."""

MAX_SIZE = 1024 * 1024
"""Bytes of a settings file, and of a secret: more is another file, or has no end."""

_DOCKER_SECRETS = "/run/secrets"
# The last one asks for a compiled build; whoever builds may go on to run the server in the same shell.
_OWN_VARIABLES = (CONFIG_VARIABLE, SECRETS_VARIABLE, "APPSERVER_COMPILE")
# Kubernetes and Docker links describe a service of the name "appserver" to every container by variables like these.
_SERVICE_LINK = (
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


class FileSource(TomlConfigSettingsSource):
    """A TOML file; `is_readable` is false if nothing could be read from it."""

    def __init__(self, path: Path) -> None:
        self.origin = Origin("file", str(path))
        self.problems: list[Problem] = []
        self.is_readable = True
        # The library passes over what is no regular file, and reads one of any size: a pipe is read here, anything else gets its problem.
        # Absolute, so that a "~" in front is the name of a directory, as in every other path of appserver.
        usual = is_regular(path) and path.stat().st_size <= MAX_SIZE
        super().__init__(Settings, toml_file=path.absolute() if usual else None)
        document = self.toml_data if self.toml_file_path else self._read_file(path)
        self.values = _known_sections(document, self.origin, self.problems)

    def _read_file(self, path: Any) -> dict[str, Any]:
        try:
            return tomllib.loads(read_input(path, MAX_SIZE).decode("utf-8-sig"))
        except FileNotFoundError:
            problem = "no such file"
        except IsADirectoryError:
            problem = "is a directory; expected a TOML file"
        except (OSError, ValueError, RecursionError) as error:
            problem = _reading_problem(error)
        self.is_readable = False
        self.problems.append(Problem(self.origin.where, "", "", problem))
        return {}

    def __call__(self) -> dict[str, Any]:
        return self.values


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


class VariableSource(EnvSettingsSource):
    """One variable of the environment, or a file that stands for one: scalars as they are, lists and tables as JSON.

    `name` is the section or key that the variable sets.
    """

    def __init__(self, variable: str, name: str, text: str, origin: Origin) -> None:
        super().__init__(Settings, case_sensitive=False, env_prefix=keys.ENVIRONMENT_PREFIX, env_nested_delimiter="__")
        self.env_vars = {variable.lower(): text}
        self.origin = origin
        self.problems: list[Problem] = []
        self.values = _known_sections(self._decoded(name, text), origin, self.problems)

    def _decoded(self, name: str, text: str) -> dict[str, Any]:
        try:
            if not text and (name not in keys.KEYS or keys.KEYS[name].is_list or keys.KEYS[name].is_table):
                json.loads(text)  # the library takes empty text for a list as it is
            values = super().__call__()
        except (ValueError, RecursionError) as error:
            reason = error.__cause__ if isinstance(error, SettingsError) else error
            why = "nested too deeply" if isinstance(reason, RecursionError) else str(reason)
            expected = f"expected {_json_form(name)} as JSON ({why})"
            self.problems.append(Problem(self.origin.where, name, shown_value(tuple(name.split(".")), text), expected))
            return {}
        # The library takes "null" for a section as if nothing had been said.
        return values if name in keys.KEYS else {name: values.get(name)}

    def __call__(self) -> dict[str, Any]:
        return self.values


def _json_form(name: str) -> str:
    if name in keys.KEYS:
        return "a table" if keys.KEYS[name].is_table else "a list"
    return "a list of tables" if name in keys.LISTS_OF_TABLES else "a table"


class ValueSource(InitSettingsSource):
    """A value for a key ("workers.count") or a section ("workers"), from an option or a variable of another form."""

    def __init__(self, name: str, value: Any, origin: Origin) -> None:
        section, dot, key = name.partition(".")
        self.origin = origin
        self.problems: list[Problem] = []
        self.values = _known_sections({section: {key: value} if dot else value}, origin, self.problems)
        super().__init__(Settings, self.values)


Source = FileSource | VariableSource | ValueSource


def _known_sections(document: Mapping[str, Any], origin: Origin, problems: list[Problem]) -> dict[str, Any]:
    """Return the sections of a document that there are, and note those that there are not."""
    known = {}
    for section, content in document.items():
        is_table = isinstance(content, dict)
        if section not in keys.SECTIONS:
            hint = keys.nearest_section(section, is_table=is_table)
            kind = "section" if is_table else "key"
            shown = "" if is_table else shown_value((section,), content)
            problems.append(Problem(origin.where, toml_key(section), shown, f"unknown {kind}; {hint}"))
        elif section in keys.LISTS_OF_TABLES or is_table:
            known[section] = content
        else:
            shown = shown_value((section,), content)
            problems.append(Problem(origin.where, section, shown, f"expected a table: [{section}]"))
    return known


def settings_files(config: Path | Sequence[Path] | None, environ: Mapping[str, str]) -> tuple[Path, ...]:
    """Return the files to read, the weakest first; of a directory, those that end in .toml, by name.

    Where nothing is given they are those that APPSERVER_CONFIG names.
    """
    if config is None:
        config = [Path(name) for name in environ.get(CONFIG_VARIABLE, "").split(os.pathsep) if name]
    paths = [config] if isinstance(config, Path) else config
    return tuple(file for path in paths for file in ((is_directory(path) and sorted(path.glob("*.toml"))) or [path]))


def usual_files() -> list[Path] | None:
    """Return the file that is read where none is named, server.toml in the current directory, if it is there."""
    return [Path("server.toml")] if is_regular(Path("server.toml")) else None


def conventional(environ: Mapping[str, str]) -> Iterator[Source]:
    """Yield the variables that other servers know too; they stand for defaults, below the file."""
    if environ.get("WEB_CONCURRENCY"):
        yield ValueSource("workers.count", environ["WEB_CONCURRENCY"], Origin("environment", "WEB_CONCURRENCY"))
    if environ.get("FORWARDED_ALLOW_IPS"):
        trusted = [part.strip() for part in environ["FORWARDED_ALLOW_IPS"].split(",")]
        yield ValueSource("proxy.trusted", trusted, Origin("environment", "FORWARDED_ALLOW_IPS"))


def environment(environ: Mapping[str, str], problems: list[Problem]) -> Iterator[Source]:
    """Yield the APPSERVER_ variables, those of whole sections first; note the unknown ones."""
    for variable in sorted(environ, key=lambda name: (name.count("__"), name)):
        if not variable.upper().startswith(keys.ENVIRONMENT_PREFIX) or variable in _OWN_VARIABLES:
            continue
        name, text = keys.VARIABLES.get(variable), environ[variable]
        if name is not None:
            yield VariableSource(variable, name, text, Origin("environment", variable))
        elif not _is_service_link(variable, text):
            hint = keys.nearest_variable(variable)
            problems.append(Problem(variable, "", "", f"unknown environment variable; {hint}"))


def _is_service_link(variable: str, text: str) -> bool:
    if variable == f"{keys.ENVIRONMENT_PREFIX}PORT":
        # Somebody who wants to set a port writes a number here.
        return "://" in text
    return "__" not in variable and re.fullmatch(_SERVICE_LINK, variable) is not None


def secrets(environ: Mapping[str, str], problems: list[Problem]) -> Iterator[Source]:
    """Yield the files that are named like variables (in either case), in the directories of secrets.

    These are the ones that APPSERVER_SECRETS_DIR names, or else the one of systemd's credentials and the one into which
    Docker puts secrets. Other files in them are the application's; files that cannot be read are noted.
    """
    named = [name for name in environ.get(SECRETS_VARIABLE, "").split(os.pathsep) if name]
    for directory in named or [_DOCKER_SECRETS, environ.get("CREDENTIALS_DIRECTORY", "")]:
        try:
            files = sorted(os.listdir(directory)) if directory else []
        except OSError as error:
            if named:
                problems.append(Problem(SECRETS_VARIABLE, "", "", f"{directory} cannot be read: {error.strerror}"))
            continue
        for file in files:
            yield from _secret(Path(directory, file), problems)


def _secret(path: Path, problems: list[Problem]) -> Iterator[Source]:
    variable = path.name.upper()
    name = keys.VARIABLES.get(variable)
    if name is None:
        if variable.startswith(keys.ENVIRONMENT_PREFIX) and "__" in variable:
            problems.append(Problem(str(path), "", "", f"unknown setting; {keys.nearest_variable(variable)}"))
        return
    try:
        # Editors and `echo` end a file with a line break that is no part of the secret.
        text = read_input(path, MAX_SIZE).decode().rstrip("\r\n")
    except UnicodeDecodeError:
        problems.append(Problem(str(path), name, "", "not UTF-8; expected text"))
    except OSError as error:
        problems.append(Problem(str(path), name, "", f"cannot be read: {error.strerror}"))
    else:
        yield VariableSource(variable, name, text, Origin("file", str(path)))


def options(overrides: Sequence[Override]) -> Iterator[Source]:
    """Yield what the command line sets, in its order."""
    for override in overrides:
        yield ValueSource(override.key, override.value, Origin("command line", override.where))
