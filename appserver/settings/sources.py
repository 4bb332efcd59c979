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
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
    TomlConfigSettingsSource,
)

from appserver.errors import Problem
from appserver.files import read_input
from appserver.files.kinds import is_regular
from appserver.settings import keys, places
from appserver.settings.locations import ENVIRONMENT_PREFIX
from appserver.settings.model import LISTS_OF_TABLES, SECTIONS, Settings
from appserver.settings.origins import Origin
from appserver.settings.places import MAX_SIZE, SECRETS_VARIABLE, Override
from appserver.settings.problems import shown_value
from appserver.settings.rendering import toml_key

# Kubernetes and Docker links describe a service of the name "appserver" to every container by variables like these.
_SERVICE_LINK = (
    r"APPSERVER_([A-Z0-9_]+_)?(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)"
)


_reading: ContextVar[tuple[PydanticBaseSettingsSource, ...]] = ContextVar("reading", default=())


class MergedSettings(Settings, BaseSettings):
    """Settings as the library merges them.

    An instance is made of what it is given, and of nothing else: only `read` looks into other sources.
    """

    model_config = SettingsConfigDict(case_sensitive=True)

    @classmethod
    def read(cls, sources: Sequence[PydanticBaseSettingsSource]) -> Settings:
        """Return the settings that these sources come to, the strongest first; raises pydantic's ValidationError."""
        token = _reading.set(tuple(sources))
        try:
            return Settings.model_validate(dict(cls()))
        finally:
            _reading.reset(token)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - the form of the library
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (init_settings, *_reading.get())


class FileSource(TomlConfigSettingsSource):
    """A TOML file; `is_readable` is false if nothing could be read from it."""

    def __init__(self, path: Path) -> None:
        self.origin = Origin("file", str(path))
        self.problems: list[Problem] = []
        self.is_readable = True
        # The library passes over what is no regular file, and reads one of any size: a pipe is read here, anything else gets its problem.
        # Absolute, so that a "~" in front is the name of a directory, as in every other path of appserver.
        usual = is_regular(path) and path.stat().st_size <= MAX_SIZE
        super().__init__(MergedSettings, toml_file=path.absolute() if usual else None)
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
    """A variable of the environment, or a file that stands for one, that holds a list or a table as JSON.

    `name` is the section or key that it sets.
    """

    def __init__(self, variable: str, name: str, text: str, origin: Origin) -> None:
        super().__init__(MergedSettings, case_sensitive=False, env_prefix=ENVIRONMENT_PREFIX, env_nested_delimiter="__")
        self.env_vars = {variable.lower(): text}
        self.origin = origin
        self.problems: list[Problem] = []
        self.values = _known_sections(self._decoded(name, text), origin, self.problems)

    def _decoded(self, name: str, text: str) -> dict[str, Any]:
        try:
            if not text:
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
    return "a list of tables" if name in LISTS_OF_TABLES else "a table"


class ValueSource(InitSettingsSource):
    """A value for a key ("workers.count") or a section ("workers"), from an option or a variable of another form."""

    def __init__(self, name: str, value: Any, origin: Origin) -> None:
        section, dot, key = name.partition(".")
        self.origin = origin
        self.problems: list[Problem] = []
        self.values = _known_sections({section: {key: value} if dot else value}, origin, self.problems)
        super().__init__(MergedSettings, self.values)


Source = FileSource | VariableSource | ValueSource


def _known_sections(document: Mapping[str, Any], origin: Origin, problems: list[Problem]) -> dict[str, Any]:
    """Return the sections of a document that there are, and note those that there are not."""
    known = {}
    for section, content in document.items():
        is_table = isinstance(content, dict)
        if section not in SECTIONS:
            hint = keys.nearest_section(section, is_table=is_table)
            kind = "section" if is_table else "key"
            shown = "" if is_table else shown_value((section,), content)
            problems.append(Problem(origin.where, toml_key(section), shown, f"unknown {kind}; {hint}"))
        elif section in LISTS_OF_TABLES or is_table:
            known[section] = content
        else:
            shown = shown_value((section,), content)
            problems.append(Problem(origin.where, section, shown, f"expected a table: [{section}]"))
    return known


def conventional(environ: Mapping[str, str]) -> Iterator[Source]:
    """Yield the variables that other servers know too; they stand for defaults, below the file."""
    for variable, key, value in places.conventional(environ):
        yield ValueSource(key, value, Origin("environment", variable))


def environment(environ: Mapping[str, str], problems: list[Problem]) -> Iterator[Source]:
    """Yield the APPSERVER_ variables, those of whole sections first; note the unknown ones."""
    for variable in places.variables(environ):
        name, text = keys.VARIABLES.get(variable), environ[variable]
        if name is not None:
            yield _variable(variable, name, text, Origin("environment", variable))
        elif not _is_service_link(variable, text):
            hint = keys.nearest_variable(variable)
            problems.append(Problem(variable, "", "", f"unknown environment variable; {hint}"))


def _variable(variable: str, name: str, text: str, origin: Origin) -> Source:
    key = keys.KEYS.get(name)
    if key is None or key.is_list or key.is_table:
        return VariableSource(variable, name, text, origin)
    return ValueSource(name, text, origin)


def _is_service_link(variable: str, text: str) -> bool:
    if variable == f"{ENVIRONMENT_PREFIX}PORT":
        # Somebody who wants to set a port writes a number here.
        return "://" in text
    return "__" not in variable and re.fullmatch(_SERVICE_LINK, variable) is not None


def secrets(environ: Mapping[str, str], problems: list[Problem]) -> Iterator[Source]:
    """Yield the files that are named like variables (in either case), in the directories of secrets.

    Other files in them are the application's; files that cannot be read are noted.
    """
    directories, are_named = places.secret_directories(environ)
    for directory in directories:
        try:
            files = sorted(os.listdir(directory))
        except OSError as error:
            if are_named:
                problems.append(Problem(SECRETS_VARIABLE, "", "", f"{directory} cannot be read: {error.strerror}"))
            continue
        for file in files:
            yield from _secret(Path(directory, file), problems)


def _secret(path: Path, problems: list[Problem]) -> Iterator[Source]:
    variable = path.name.upper()
    name = keys.VARIABLES.get(variable)
    if name is None:
        if variable.startswith(ENVIRONMENT_PREFIX) and "__" in variable:
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
        yield _variable(variable, name, text, Origin("file", str(path)))


def options(overrides: Sequence[Override]) -> Iterator[Source]:
    """Yield what the command line sets, in its order."""
    for override in overrides:
        yield ValueSource(override.key, override.value, Origin("command line", override.where))
