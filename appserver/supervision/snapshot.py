"""Snapshot: the records as JSON and back, so that they survive a re-exec of the master.

The program that reads a snapshot may be of another version than the one that wrote it: what it does not know it leaves out,
and what it misses it takes from the defaults.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping
from enum import Enum
from typing import Any, get_args, get_origin

from appserver.supervision.records import State


def dump(state: State) -> dict[str, object]:
    """Write the state out, as what `json` can write."""
    encoded = encode(state)
    assert isinstance(encoded, dict)
    return encoded


def load(snapshot: Mapping[str, object]) -> State:
    """Read the state back. Raises ValueError if it cannot be understood."""
    try:
        state = decode(State, snapshot)
    except (TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"this is no snapshot of a supervisor: {error}") from error
    assert isinstance(state, State)
    return state


def encode(value: Any) -> object:
    """Write a record, or anything it is made of, as what `json` can write."""
    if dataclasses.is_dataclass(value):
        return {field.name: encode(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, list):
        return [encode(item) for item in value]
    if isinstance(value, dict):
        return {str(key): encode(item) for key, item in value.items()}
    return value.value if isinstance(value, Enum) else value


def decode(kind: Any, value: Any) -> object:
    """Read `value` as a `kind`, which is a record or the annotation of one of its fields.

    Raises ValueError, TypeError, KeyError or AttributeError if it is none.
    """
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (types.UnionType, typing.Union):  # the only unions in the records are those with None
        return None if value is None else decode(arguments[0], value)
    if origin is list:
        return [decode(arguments[0], item) for item in value]
    if origin is dict:
        return {arguments[0](key): decode(arguments[1], item) for key, item in value.items()}
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        hints = typing.get_type_hints(kind)
        known = {field.name for field in dataclasses.fields(kind)} & value.keys()
        return kind(**{name: decode(hints[name], value[name]) for name in known})
    if isinstance(kind, type) and issubclass(kind, Enum):
        return kind(value)
    return value
