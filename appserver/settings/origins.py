"""Settings, and where each of their values came from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

from appserver.settings.locations import Location, dotted, value_at
from appserver.settings.model import LISTS_OF_TABLES, Settings, locations


class Origin(NamedTuple):
    """Where a value came from: the kind of source, and its name ("server.toml", "APPSERVER_WORKERS__COUNT", "--bind").

    `where` is empty for a default.
    """

    source: Literal["default", "file", "environment", "command line"]
    where: str = ""

    def __str__(self) -> str:
        return f"{self.source}: {self.where}" if self.where else self.source


DEFAULT = Origin("default")


class Given(Protocol):
    """A source, as far as it says something: values by section and key, and its name."""

    @property
    def values(self) -> Mapping[str, Any]: ...
    @property
    def origin(self) -> Origin: ...


def origin(location: Location, strongest_first: Sequence[Given]) -> Origin:
    """Return where a value, or the list of tables that it is part of, came from."""
    section, name = location[0], location[1] if len(location) > 1 else None
    for source in strongest_first:
        if section in source.values and (section in LISTS_OF_TABLES or name in source.values[str(section)]):
            return source.origin
    return DEFAULT


def is_given(location: Location, merged: Mapping[str, Any]) -> bool:
    """Tell whether somebody has said what the value at a location is."""
    try:
        value_at(location, merged)
    except (KeyError, IndexError):
        return False
    return True


class Origins(Mapping[str, Origin]):
    """The origin of every value, by its dotted key; found out when somebody asks for the first one."""

    def __init__(self, settings: Settings, merged: Mapping[str, Any], strongest_first: Sequence[Given]) -> None:
        self._settings = settings
        self._merged = merged
        self._strongest_first = strongest_first

    @cached_property
    def _all(self) -> dict[str, Origin]:
        return {
            dotted(location): origin(location, self._strongest_first) if is_given(location, self._merged) else DEFAULT
            for location in locations(self._settings)
        }

    def __getitem__(self, key: str) -> Origin:
        return self._all[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._all)

    def __len__(self) -> int:
        return len(self._all)


class Loaded(NamedTuple):
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
