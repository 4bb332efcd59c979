"""The problems that pydantic finds, in the words of an operator."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

from pydantic_core import ErrorDetails

from appserver.nearest import nearest
from appserver.settings import keys
from appserver.settings.locations import Location, dotted
from appserver.settings.model import LISTS_OF_TABLES, SECTIONS, Section
from appserver.settings.rendering import MASK, show
from appserver.settings.secrets import mask_value

_SECRETS = [(key.section, key.name) for key in keys.KEYS.values() if key.is_secret]


def shown_value(location: Location, value: Any) -> str:
    """Write the value at a location for a message; nothing that holds a secret, or may be one misspelt, is shown."""
    names = tuple(part for part in location if isinstance(part, str))
    holds = any(secret[: len(names)] == names for secret in _SECRETS)
    resembles = nearest(names[-1], [name for _, name in _SECRETS])
    if holds or resembles:
        return MASK
    # A logging configuration may have got into a wrong key, or be no table yet.
    return show(mask_value(value) if names[0] == "logging" or isinstance(value, Mapping) else value)


def describe(error: ErrorDetails) -> tuple[str, str]:
    """Return the value to show (empty if there is none) and what is expected instead."""
    location: Location = error["loc"]
    value = shown_value(location, error["input"])
    match error["type"]:
        case "missing":
            expected = "module:attribute of the application" if location[-1] == "target" else "a value"
            return "", f"required; expected {expected}"
        case "extra_forbidden":
            return value, f"unknown key; {_nearest(location)}"
        case "value_error":
            return value, str(error["ctx"]["error"])
        case "literal_error":
            return value, f"expected {_choices(location)}"
        case "tuple_type":
            is_tables = dotted(location) in LISTS_OF_TABLES or location[-1] == "sni"
            return value, f"expected a list of tables: [[{dotted(location)}]]" if is_tables else "expected a list"
        case "model_type":
            return value, "expected a table"
        case _:
            return value, f"not valid: {error['msg']}"


def _nearest(location: Location) -> str:
    table = location[:-1]
    return keys.nearest_key(dotted(table), _model_at(table), str(location[-1]))


def _model_at(location: Location) -> type[Section]:
    """Return the model of the table at a location."""
    section, *rest = (part for part in location if isinstance(part, str))
    model = SECTIONS[section]
    for name in rest:
        model = get_args(model.model_fields[name].annotation)[0]
    return model


def _choices(location: Location) -> str:
    field = _model_at(location[:-1]).model_fields[str(location[-1])]
    *others, last = (f'"{choice}"' for choice in get_args(field.annotation))
    return f"{', '.join(others)} or {last}"
