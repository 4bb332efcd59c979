"""The arguments that programs give for settings: told from slips before they become any."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from appserver.errors import Problem, SettingsError
from appserver.settings import by_key


def addresses(bind: object) -> list[str]:
    """The addresses of the argument `bind`. Raises SettingsError if it is neither text nor several of it."""
    found = list(bind) if isinstance(bind, Iterable) and not isinstance(bind, str) else [bind]
    texts = [address for address in found if isinstance(address, str)]
    if texts != found:
        raise SettingsError([Problem("argument", "bind", repr(bind), 'expected "HOST:PORT", or several of them')])
    return texts


def values(sections: Mapping[str, object]) -> dict[str, Any]:
    """The settings that are given by their sections, by their dotted keys. Raises SettingsError if one is no section."""
    if "listeners" in sections:
        expected = 'the addresses are given as bind: "HOST:PORT", or several'
        raise SettingsError([Problem("argument", "listeners", "", expected)])
    return by_key(sections)
