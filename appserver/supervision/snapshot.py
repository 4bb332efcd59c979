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
    encoded = _encode(state)
    assert isinstance(encoded, dict)
    return encoded


def load(snapshot: Mapping[str, object]) -> State:
    """Read the state back. Raises ValueError if it cannot be understood."""
    try:
        state = _decode(State, snapshot)
    except (TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"this is no snapshot of a supervisor: {error}") from error
    assert isinstance(state, State)
    return state


def _encode(value: Any) -> object:
    if dataclasses.is_dataclass(value):
        return {field.name: _encode(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, list):
        return [_encode(item) for item in value]
    if isinstance(value, dict):
        return {str(key): _encode(item) for key, item in value.items()}
    return value.value if isinstance(value, Enum) else value


def _decode(kind: Any, value: Any) -> object:
    """Read `value` as a `kind`, which is the annotation of a field."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (types.UnionType, typing.Union):  # the only unions in the records are those with None
        return None if value is None else _decode(arguments[0], value)
    if origin is list:
        return [_decode(arguments[0], item) for item in value]
    if origin is dict:
        return {arguments[0](key): _decode(arguments[1], item) for key, item in value.items()}
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        hints = typing.get_type_hints(kind)
        known = {field.name for field in dataclasses.fields(kind)} & value.keys()
        return kind(**{name: _decode(hints[name], value[name]) for name in known})
    if isinstance(kind, type) and issubclass(kind, Enum):
        return kind(value)
    return value
