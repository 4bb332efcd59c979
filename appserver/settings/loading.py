"""From what an operator wrote to checked settings, or to every problem there is.

Defaults < WEB_CONCURRENCY and FORWARDED_ALLOW_IPS < file < environment < command line. Tables are merged key by key;
a list, also one of tables, is replaced as a whole.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pydantic import ValidationError

from appserver.errors import Problem, SettingsError
from appserver.settings import checks, keys, sources
from appserver.settings.locations import Location, dotted, locations, value_at
from appserver.settings.model import Settings
from appserver.settings.problems import describe, shown_value
from appserver.settings.sources import Assignment, Origin, Override

DEFAULT = Origin("default")


@dataclass(frozen=True, slots=True)
class Loaded:
    """Settings, and where each value came from.

    `origins` holds every key by its dotted name ("workers.count", "listeners[0].bind"); `path` is the file that was
    read, if there was one.
    """

    settings: Settings
    origins: Mapping[str, Origin]
    path: Path | None


def load(path: Path | None, *, environ: Mapping[str, str], overrides: Sequence[Override] = ()) -> Loaded:
    """Read all sources, merge and check them.

    Without a path the file is the one that APPSERVER_CONFIG names, or there is none. Relative paths in the settings
    stay relative to the current directory. Raises SettingsError with every problem that was found.
    """
    problems: list[Problem] = []
    if path is None and environ.get(sources.CONFIG_VARIABLE):
        path = Path(environ[sources.CONFIG_VARIABLE])
    from_file = [] if path is None else sources.read_file(path, problems)
    draft = _Draft(unreadable=from_file is None)
    for assignment in (
        *sources.read_conventional(environ),
        *(from_file or ()),
        *sources.read_environment(environ, problems),
        *sources.read_overrides(overrides, problems),
    ):
        draft.assign(assignment)
    settings = draft.validate(default_where="" if path is None else str(path))
    problems += draft.problems
    problems += draft.check(settings)
    if problems:
        raise SettingsError(problems)
    return Loaded(settings, MappingProxyType(draft.origins(settings)), path)


class _Draft:
    """Settings in the making: the merged values, who gave them, and which of them are wrong."""

    def __init__(self, *, unreadable: bool) -> None:
        """Begin with nothing; `unreadable` if a file was meant to be part of it and is missing."""
        self.problems: list[Problem] = []
        self._values: dict[str, Any] = {"app": {}}
        self._origins: dict[tuple[str | int, str | int | None], Origin] = {}
        # What cannot be judged, because it is wrong or was not read.
        self._failed: set[Location] = {("app", "target")} if unreadable else set()

    def assign(self, assignment: Assignment) -> None:
        if assignment.name is None:
            self._values[assignment.section] = assignment.value
        else:
            self._values.setdefault(assignment.section, {})[assignment.name] = assignment.value
        self._origins[assignment.section, assignment.name] = assignment.origin

    def validate(self, *, default_where: str) -> Settings:
        """Return the settings, with defaults in the place of what is wrong, so that the rest can be checked as well."""
        while True:
            try:
                return Settings.model_validate(self._values)
            except ValidationError as error:
                # A round takes out each value that is wrong, or puts in the only one that is required, so it ends.
                for detail in error.errors(include_url=False):
                    location: Location = detail["loc"]
                    if location not in self._failed:
                        self._failed.add(location)
                        where = self._origin(location).where or default_where
                        self.problems.append(Problem(where, dotted(location), *describe(detail)))
                    self._repair(location)

    def _repair(self, location: Location) -> None:
        match location:
            case ("app", "target"):
                self._values["app"]["target"] = "missing:target"
            case (str(section), str(name), *_):
                self._values[section].pop(name, None)
            case (str(section), int(index), str(name), *_) if section in self._values:
                # Not in place: the tables belong to whoever gave them, and are given again at a reload.
                tables = list(self._values[section])
                tables[index] = {key: value for key, value in tables[index].items() if key != name}
                self._values[section] = tables
            case _:
                self._values.pop(str(location[0]), None)

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
            value_at(location, self._values)
        except (KeyError, IndexError):
            return False
        return True

    def _origin(self, location: Location) -> Origin:
        section, *rest = location
        name = rest[0] if rest and section not in keys.LISTS_OF_TABLES else None
        return self._origins.get((section, name), DEFAULT)

    def origins(self, settings: Settings) -> dict[str, Origin]:
        """Return the origin of every value, by its dotted key."""
        return {
            dotted(location): self._origin(location) if self._is_given(location) else DEFAULT
            for location in locations(settings)
        }
