"""Where a value stands in the settings, and how that is written."""

from __future__ import annotations

from typing import Any

from appserver.settings.rendering import toml_key

ENVIRONMENT_PREFIX = "APPSERVER_"
"""What the names of the environment variables begin with that set values."""

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
