"""The short way to settings: plain values, nothing to decode, no mistake.

Files, variables and options are merged here without pydantic-settings, whose import alone takes longer than all of it: a client waits
while a function on AWS Lambda starts. Wherever something is not plain, or not right, the long way (`merging`) is taken instead, which
comes to the same, and says what is wrong.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, get_origin

from pydantic import ValidationError

from appserver.files.kinds import is_regular
from appserver.settings import checks, places
from appserver.settings.locations import ENVIRONMENT_PREFIX, Location
from appserver.settings.model import LISTS_OF_TABLES, SECTIONS, Settings
from appserver.settings.origins import Loaded, Origin, Origins
from appserver.settings.places import MAX_SIZE, Override


class _NotPlainError(Exception):
    """Something has to be decoded, read in another way, or explained."""


class _Layer(NamedTuple):
    values: dict[str, Any]
    origin: Origin


def read(paths: tuple[Path, ...], environ: Mapping[str, str], overrides: Sequence[Override]) -> Loaded | None:
    """Return the settings that the sources come to; None if the long way has to be taken."""
    try:
        layers = list(_layers(paths, environ, overrides))
        merged = _merge(layers)
        settings = Settings.model_validate(merged)
    except (_NotPlainError, ValidationError):
        return None
    if any(checks.find(settings, _given(merged))):
        return None
    return Loaded(settings, Origins(settings, merged, layers[::-1]), paths)


def _layers(paths: Sequence[Path], environ: Mapping[str, str], overrides: Sequence[Override]) -> Iterator[_Layer]:
    """Yield what each source says, the weakest first. Raises _NotPlainError."""
    for variable, key, value in places.conventional(environ):
        yield _layer(key, value, Origin("environment", variable))
    for path in paths:
        yield _Layer(_document(path), Origin("file", str(path)))
    if _has_secrets(environ):
        raise _NotPlainError
    for variable in places.variables(environ):
        yield _layer(_plain_key(variable), environ[variable], Origin("environment", variable))
    for override in overrides:
        yield _layer(override.key, override.value, Origin("command line", override.where))


def _plain_key(variable: str) -> str:
    """Return the key that a variable sets with its text as it is. Raises _NotPlainError where that is another kind of value."""
    section, _, name = variable.removeprefix(ENVIRONMENT_PREFIX).lower().partition("__")
    is_section = variable.isupper() and section in SECTIONS and section not in LISTS_OF_TABLES
    field = SECTIONS[section].model_fields.get(name) if is_section else None
    if field is None or get_origin(field.annotation) in (tuple, dict):
        raise _NotPlainError
    return f"{section}.{name}"


def _layer(key: str, value: Any, origin: Origin) -> _Layer:
    section, dot, name = key.partition(".")
    return _Layer({section: {name: value} if dot else value}, origin)


def _document(path: Path) -> dict[str, Any]:
    import tomllib  # not every run has a file

    try:
        if not is_regular(path) or path.stat().st_size > MAX_SIZE:
            raise _NotPlainError
        return tomllib.loads(path.read_bytes().decode("utf-8-sig"))
    except (OSError, ValueError, RecursionError):
        raise _NotPlainError from None


def _has_secrets(environ: Mapping[str, str]) -> bool:
    directories, are_named = places.secret_directories(environ)
    for directory in directories:
        try:
            if os.listdir(directory):
                return True
        except OSError:
            if are_named:
                return True
    return False


def _merge(layers: Sequence[_Layer]) -> dict[str, Any]:
    # A section that is not there at all lacks its required keys, not itself.
    merged: dict[str, Any] = {"app": {}}
    for layer in layers:
        for section, content in layer.values.items():
            if section in LISTS_OF_TABLES:
                if not isinstance(content, list) or not all(isinstance(table, dict) for table in content):
                    raise _NotPlainError
                merged[section] = content
            elif section in SECTIONS and isinstance(content, dict):
                known = merged.get(section, {})
                if any(isinstance(value, dict) and name in known for name, value in content.items()):
                    raise _NotPlainError  # a table that is merged with another one
                merged[section] = known | content
            else:
                raise _NotPlainError
    return merged


def _given(merged: Mapping[str, Any]) -> set[Location]:
    given: set[Location] = set()
    for section, content in merged.items():
        if section in LISTS_OF_TABLES:
            given |= {(section, index, name) for index, table in enumerate(content) for name in table}
        else:
            given |= {(section, name) for name in content}
    return given
