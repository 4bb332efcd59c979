"""What changed between two loads of the settings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from appserver.settings.keys import KEYS, LISTS_OF_TABLES, SECTIONS
from appserver.settings.model import Settings
from appserver.settings.rendering import MASK, show


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
                hide = KEYS[f"{section}.{name}"].is_secret
                values = (MASK, MASK) if hide else (value, after[section][name])
                changed.append(Difference(f"{section}.{name}", *values))
    return changed
