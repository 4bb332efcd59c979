"""From what an operator wrote to checked settings, or to every problem there is.

Defaults < WEB_CONCURRENCY and FORWARDED_ALLOW_IPS < files < secrets < environment < command line; of two files the later
one is stronger. Tables are merged key by key; a list, also one of tables, is replaced as a whole.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pydantic import ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import PydanticBaseSettingsSource

from appserver.errors import Problem, SettingsError
from appserver.settings import checks, keys, sources
from appserver.settings.keys import Location, dotted, locations, value_at
from appserver.settings.model import Settings
from appserver.settings.problems import describe, shown_value
from appserver.settings.sources import FileSource, Origin, Override, Source

DEFAULT = Origin("default")


@dataclass(frozen=True, slots=True)
class Loaded:
    """Settings, and where each value came from.

    `origins` holds every key by its dotted name ("workers.count", "listeners[0].bind"); `paths` are the files that were
    read, the weakest first.
    """

    settings: Settings
    origins: Mapping[str, Origin]
    paths: tuple[Path, ...]

    @property
    def path(self) -> Path | None:
        """The file that names the server: the first one, if there is one."""
        return self.paths[0] if self.paths else None


def load(
    config: Path | Sequence[Path] | None, *, environ: Mapping[str, str], overrides: Sequence[Override] = ()
) -> Loaded:
    """Read all sources, merge and check them.

    `config` names the files, or directories of them; None: those that APPSERVER_CONFIG names, if any. Relative paths in
    the settings stay relative to the current directory. Raises SettingsError with every problem that was found.
    """
    problems: list[Problem] = []
    paths = sources.settings_files(config, environ)
    found = _read(paths, environ, overrides, problems)
    draft = _Draft(found)
    settings = draft.validate(default_where=str(paths[-1]) if paths else "")
    problems += draft.problems
    problems += draft.check(settings)
    if problems:
        raise SettingsError(problems)
    return Loaded(settings, MappingProxyType(draft.origins(settings)), paths)


def by_key(sections: Mapping[str, object]) -> dict[str, Any]:
    """Return the values of sections that a program has given as arguments, by dotted key. Raises SettingsError."""
    expected = "expected a mapping of the keys of that section to their values"
    problems: list[Problem] = []
    values: dict[str, Any] = {}
    for section, content in sections.items():
        if isinstance(content, Mapping):
            values |= {f"{section}.{name}": value for name, value in content.items()}
        else:
            problems.append(Problem("argument", section, repr(content), expected))
    if problems:
        raise SettingsError(problems)
    return values


def look_up(key: str, config: Path | Sequence[Path] | None, *, environ: Mapping[str, str]) -> object:
    """Return what the files and the environment say for a dotted key, as it is written there; None if nothing.

    For a program that talks to a running server: the settings as a whole may be wrong at that moment, while they are
    being edited, and that must not keep anybody from stopping it. Raises SettingsError if a file cannot be read.
    """
    found = _read(sources.settings_files(config, environ), environ, (), [])
    unreadable = [problem for source in found if _is_unreadable(source) for problem in source.problems]
    if unreadable:
        raise SettingsError(unreadable)
    section, _, name = key.partition(".")
    values = [source.values[section][name] for source in found if name in source.values.get(section, ())]
    return values[-1] if values else None


def read_settings(text: str) -> Settings:
    """Read settings that a process of perhaps another version has written as JSON.

    A key that this version does not know is left out, one that is missing has its default. Raises ValueError if a value
    is none of this version's.
    """
    values = json.loads(text)
    while True:
        try:
            return Settings.model_validate(values)
        except ValidationError as error:
            unknown = [detail["loc"] for detail in error.errors() if detail["type"] == "extra_forbidden"]
            if not unknown:
                raise
            for *tables, name in unknown:
                del value_at(tuple(tables), values)[name]


def _read(
    paths: Sequence[Path], environ: Mapping[str, str], overrides: Sequence[Override], problems: list[Problem]
) -> list[Source]:
    """Return every source, the weakest first; what is wrong with them is added to `problems`."""
    found: list[Source] = []
    for group in (
        sources.conventional(environ),
        map(FileSource, paths),
        sources.secrets(environ, problems),
        sources.environment(environ, problems),
        sources.options(overrides),
    ):
        for source in group:
            found.append(source)
            problems += source.problems
    return found


def _is_unreadable(source: Source) -> bool:
    return isinstance(source, FileSource) and not source.is_readable


class _Merged(PydanticBaseSettingsSource):
    """The weakest source: takes down what the library has made of all others, as the values that may have to be mended."""

    values: dict[str, Any]

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        raise NotImplementedError  # only asked for by sources that collect their values field by field

    def __call__(self) -> dict[str, Any]:
        # A section that is not there at all lacks its required keys, not itself.
        self.values = {"app": {}} | {section: _copy(content) for section, content in self.current_state.items()}
        return {"app": {}}


def _copy(content: Any) -> Any:
    # The source's own values must not be changed: the next reload reads them again.
    return dict(content) if isinstance(content, dict) else content


class _Draft:
    """Settings in the making: the merged values, who gave them, and which of them are wrong."""

    def __init__(self, found: Sequence[Source]) -> None:
        self.problems: list[Problem] = []
        self._strongest_first = found[::-1]
        self._merged = _Merged(Settings)
        # Values that cannot be judged, because they are wrong or were not read.
        self._failed: set[Location] = {("app", "target")} if any(map(_is_unreadable, found)) else set()

    def validate(self, *, default_where: str) -> Settings:
        """Return the settings, with defaults in the place of what is wrong, so that the rest can be checked as well."""
        try:
            return Settings.read((*self._strongest_first, self._merged))
        except ValidationError as error:
            self._note(error, default_where)
        while True:
            try:
                return Settings.model_validate(self._merged.values)
            except ValidationError as error:
                self._note(error, default_where)

    def _note(self, error: ValidationError, default_where: str) -> None:
        """Take out each value that is wrong, or put in the only one that is required; so there is an end to mistakes."""
        for detail in error.errors(include_url=False):
            location: Location = detail["loc"]
            if location not in self._failed:
                self._failed.add(location)
                where = self._origin(location).where or default_where
                self.problems.append(Problem(where, dotted(location), *describe(detail)))
            self._repair(location)

    def _repair(self, location: Location) -> None:
        values = self._merged.values
        match location:
            case ("app", "target"):
                values["app"]["target"] = "missing:target"
            case (str(section), str(name), *_):
                values[section].pop(name, None)
            case (str(section), int(index), str(name), *_) if section in values:
                # Not in place: the tables belong to the source.
                tables = list(values[section])
                tables[index] = {key: value for key, value in tables[index].items() if key != name}
                values[section] = tables
            case _:
                values.pop(str(location[0]), None)

    def check(self, settings: Settings) -> list[Problem]:
        """Return the problems of values that are right by themselves."""
        given = [location for location in locations(settings) if self._is_given(location)]
        return [
            self._problem(settings, finding)
            for finding in checks.find(settings, given)
            if not any(map(self._is_failed, (finding.location, *finding.depends)))
        ]

    def _problem(self, settings: Settings, finding: checks.Finding) -> Problem:
        value = value_at(finding.location, settings.model_dump(mode="json"))
        shown = "" if value is None else shown_value(finding.location, value)
        where = self._origin(finding.location).where or "default"
        return Problem(where, dotted(finding.location), shown, finding.expected)

    def _is_failed(self, location: Location) -> bool:
        """Tell whether a value, what it is part of, or a part of it has failed."""
        return any(all(here == there for here, there in zip(location, failed, strict=False)) for failed in self._failed)

    def _is_given(self, location: Location) -> bool:
        try:
            value_at(location, self._merged.values)
        except (KeyError, IndexError):
            return False
        return True

    def _origin(self, location: Location) -> Origin:
        """Return where a value, or the list of tables that it is part of, came from."""
        section, name = location[0], location[1] if len(location) > 1 else None
        for source in self._strongest_first:
            if section in source.values and (section in keys.LISTS_OF_TABLES or name in source.values[str(section)]):
                return source.origin
        return DEFAULT

    def origins(self, settings: Settings) -> dict[str, Origin]:
        """Return the origin of every value, by its dotted key."""
        return {
            dotted(location): self._origin(location) if self._is_given(location) else DEFAULT
            for location in locations(settings)
        }
