"""The long way to settings: sources of every kind, merged by pydantic-settings, and every problem that they have.

It is taken where the short one (`plain`) cannot be: where a value has to be decoded, or something is wrong.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import PydanticBaseSettingsSource

from appserver.errors import Problem, SettingsError
from appserver.settings import checks, sources
from appserver.settings.locations import Location, dotted, value_at
from appserver.settings.model import Settings, locations
from appserver.settings.origins import Loaded, Origin, Origins, is_given, origin
from appserver.settings.places import Override
from appserver.settings.problems import describe, shown_value
from appserver.settings.sources import FileSource, MergedSettings, Source


def merge(paths: tuple[Path, ...], environ: Mapping[str, str], overrides: Sequence[Override]) -> Loaded:
    """Read all sources, merge and check them. Raises SettingsError with every problem that was found."""
    problems: list[Problem] = []
    found = read(paths, environ, overrides, problems)
    draft = _Draft(found)
    settings = draft.validate(default_where=str(paths[-1]) if paths else "")
    problems += draft.problems
    problems += draft.check(settings)
    if problems:
        raise SettingsError(problems)
    return Loaded(settings, draft.origins(settings), paths)


def read(
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


def is_unreadable(source: Source) -> bool:
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
        self._merged = _Merged(MergedSettings)
        # Values that cannot be judged, because they are wrong or were not read.
        self._failed: set[Location] = {("app", "target")} if any(map(is_unreadable, found)) else set()

    def validate(self, *, default_where: str) -> Settings:
        """Return the settings, with defaults in the place of what is wrong, so that the rest can be checked as well."""
        try:
            return MergedSettings.read((*self._strongest_first, self._merged))
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
        return is_given(location, self._merged.values)

    def _origin(self, location: Location) -> Origin:
        return origin(location, self._strongest_first)

    def origins(self, settings: Settings) -> Mapping[str, Origin]:
        """Return the origin of every value, by its dotted key."""
        return Origins(settings, self._merged.values, self._strongest_first)
