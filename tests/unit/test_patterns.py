"""Regular expressions of the package: none repeats a group possessively."""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Iterator
from typing import Any

import pytest

import appserver

SINGLE = {"LITERAL", "NOT_LITERAL", "IN", "ANY", "RANGE", "CATEGORY"}
"""What matches one character as a whole or not at all."""


def patterns() -> Iterator[tuple[str, re.Pattern[Any]]]:
    """All that modules keep, by their names."""
    for found in pkgutil.walk_packages(appserver.__path__, "appserver."):
        if found.name.endswith("__main__"):
            continue
        module = importlib.import_module(found.name)
        for name, value in vars(module).items():
            if isinstance(value, re.Pattern):
                yield f"{found.name}.{name}", value


def possessive_groups(parsed: Any) -> Iterator[str]:
    """What is repeated possessively, or is atomic, and may match by half."""
    for operation, argument in parsed:
        name = str(operation)
        if name in ("POSSESSIVE_REPEAT", "ATOMIC_GROUP"):
            body = argument[-1] if name == "POSSESSIVE_REPEAT" else argument
            if len(body) != 1 or str(body[0][0]) not in SINGLE:
                yield str(body)
        yield from _below(argument)


def _below(argument: Any) -> Iterator[str]:
    if type(argument).__name__ == "SubPattern":
        yield from possessive_groups(argument)
    elif isinstance(argument, (tuple, list)):
        for part in argument:
            yield from _below(part)


def parse(pattern: str | bytes) -> Any:
    """The tree that `re` makes of a pattern."""
    parser: Any = importlib.import_module("re._parser")
    return parser.parse(pattern)


def test_no_group_is_repeated_possessively() -> None:
    """Python up to 3.11.4, as Debian 12 has it, goes on behind half a match of such a group (python/cpython#106052)."""
    found = list(patterns())
    assert len(found) > 40
    wrong = {name: groups for name, pattern in found if (groups := list(possessive_groups(parse(pattern.pattern))))}
    assert not wrong


@pytest.mark.parametrize("pattern", [r"(?:ab)*+", r"x(?:a|bc)?+y", r"(?>ab*)", r"(?:x(a(b)++)*)?", rb"(a|bc)*+"])
def test_a_group_is_found(pattern: str | bytes) -> None:
    assert list(possessive_groups(parse(pattern)))


@pytest.mark.parametrize("pattern", [r"[ab]*+", r"a++(?:b*+|c)*", rb"(?:\d{2}+)?"])
def test_a_character_is_no_group(pattern: str | bytes) -> None:
    assert not list(possessive_groups(parse(pattern)))
