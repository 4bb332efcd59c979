"""The way to a value through tables and lists."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from appserver.settings.keys import LISTS_OF_TABLES, SECTIONS
from appserver.settings.model import Settings
from appserver.settings.rendering import toml_key

Location = tuple[str | int, ...]
"""The names and indices that lead to a value: ("listeners", 0, "bind")."""


def dotted(location: Location) -> str:
    """Write a location as people do: "listeners[0].bind"."""
    text = ""
    for part in location:
        text += f"[{part}]" if isinstance(part, int) else f".{toml_key(part)}" if text else toml_key(part)
    return text


def value_at(location: Location, tree: Any) -> Any:
    """Return the value at a location; raises KeyError or IndexError if there is none."""
    for part in location:
        tree = tree[part]
    return tree


def locations(settings: Settings) -> Iterator[Location]:
    """Yield the location of every value, in the order of the model; a list of values is one value."""
    for section, model in SECTIONS.items():
        if section in LISTS_OF_TABLES:
            for index in range(len(getattr(settings, section))):
                yield from ((section, index, name) for name in model.model_fields)
        else:
            yield from ((section, name) for name in model.model_fields)
