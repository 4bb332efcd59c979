"""The resolved settings for people and programs, every value with where it came from."""

from __future__ import annotations

import itertools
from typing import Any

from appserver.settings.keys import KEYS, LISTS_OF_TABLES, Key
from appserver.settings.loading import Loaded
from appserver.settings.locations import Location, dotted, locations, value_at
from appserver.settings.rendering import MASK, toml_size, toml_value


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
    value = value_at(location, values)
    return MASK if _key(location).is_secret and value is not None else value


def _key(location: Location) -> Key:
    return KEYS[f"{location[0]}.{location[-1]}"]
