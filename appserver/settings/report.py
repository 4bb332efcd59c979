"""Reports on settings, for people and programs: every value with where it came from, and what has changed."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

from appserver.settings.keys import KEYS, Key
from appserver.settings.locations import Location, dotted, value_at
from appserver.settings.model import LISTS_OF_TABLES, SECTIONS, Settings, locations
from appserver.settings.origins import Loaded
from appserver.settings.rendering import MASK, show, toml_size, toml_value
from appserver.settings.secrets import mask_logging


def as_toml(loaded: Loaded) -> str:
    """Write the settings as a TOML file whose comments name the origins; what is not set is commented out.

    It is a settings file again, but for secrets, which are masked.
    """
    values = loaded.settings.model_dump(mode="json")
    paragraphs = []
    for table, keys in itertools.groupby(locations(loaded.settings), key=lambda location: location[:-1]):
        heading = f"[[{table[0]}]]" if table[0] in LISTS_OF_TABLES else f"[{table[0]}]"
        lines = [(_assignment(key, _value(values, key)), loaded.origins[dotted(key)]) for key in keys]
        width = min(max(len(text) for text, _ in lines), 60)
        paragraphs.append("\n".join([heading, *(f"{text:<{width}}  # {origin}" for text, origin in lines)]))
    return "\n\n".join(paragraphs) + "\n"


def _assignment(location: Location, value: Any) -> str:
    if value is None:
        return f'#{location[-1]} = ""'
    is_size = _key(location).is_size
    return f"{location[-1]} = {toml_size(value) if is_size else toml_value(value)}"


def as_data(loaded: Loaded) -> dict[str, Any]:
    """Return the settings in JSON's types: section, key, then `value`, `source` and `where`."""
    values = loaded.settings.model_dump(mode="json")
    data: dict[str, Any] = {}
    for location in locations(loaded.settings):
        origin = loaded.origins[dotted(location)]
        entry = {"value": _value(values, location), "source": origin.source, "where": origin.where}
        section, *index, name = location
        if index:
            tables = data.setdefault(str(section), [])
            tables += [{}] * (index[0] == len(tables))
            tables[index[0]][name] = entry
        else:
            data.setdefault(str(section), {})[name] = entry
    return data


def _value(values: dict[str, Any], location: Location) -> Any:
    return _masked(_key(location), value_at(location, values))


def _masked(key: Key, value: Any) -> Any:
    if key.is_table:
        return mask_logging(value)
    return MASK if key.is_secret and value is not None else value


def _key(location: Location) -> Key:
    return KEYS[f"{location[0]}.{location[-1]}"]


@dataclass(frozen=True, slots=True)
class Difference:
    """A key with its value before and after, as JSON has them; a list of tables ("listeners") is one key.

    Fit for a log: of a secret it only says that it changed.
    """

    key: str
    old: Any
    new: Any

    def __str__(self) -> str:
        old, new = ("unset" if value is None else show(value) for value in (self.old, self.new))
        return f"{self.key}: {old} -> {new}"


def differences(old: Settings, new: Settings) -> list[Difference]:
    """Return what differs, in the order of the model."""
    before, after = old.model_dump(mode="json"), new.model_dump(mode="json")
    changed = []
    for section in SECTIONS:
        if section in LISTS_OF_TABLES:
            if before[section] != after[section]:
                changed.append(Difference(section, before[section], after[section]))
            continue
        for name, value in before[section].items():
            if value != after[section][name]:
                key = KEYS[f"{section}.{name}"]
                values = _masked(key, value), _masked(key, after[section][name])
                changed.append(Difference(str(key), *values))
    return changed
