"""From what an operator wrote to checked settings, or to every problem there is.

Defaults < WEB_CONCURRENCY and FORWARDED_ALLOW_IPS < files < secrets < environment < command line; of two files the later
one is stronger. Tables are merged key by key; a list, also one of tables, is replaced as a whole.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from appserver.errors import Problem, SettingsError
from appserver.settings import plain
from appserver.settings.locations import value_at
from appserver.settings.model import Settings
from appserver.settings.origins import Loaded
from appserver.settings.places import Override, settings_files


def load(
    config: Path | Sequence[Path] | None, *, environ: Mapping[str, str], overrides: Sequence[Override] = ()
) -> Loaded:
    """Read all sources, merge and check them.

    `config` names the files, or directories of them; None: those that APPSERVER_CONFIG names, if any. Relative paths in
    the settings stay relative to the current directory. Raises SettingsError with every problem that was found.
    """
    paths = settings_files(config, environ)
    found = plain.read(paths, environ, overrides)
    if found is None:
        from appserver.settings import merging  # and with it pydantic-settings

        found = merging.merge(paths, environ, overrides)
    return found


def by_key(sections: Mapping[str, object]) -> dict[str, Any]:
    """Return the values of sections that a program has given as arguments, by dotted key. Raises SettingsError."""
    expected = "expected a mapping of the keys of that section to their values"
    problems: list[Problem] = []
    values: dict[str, Any] = {}
    for section, content in sections.items():
        if isinstance(content, Mapping):
            values |= {f"{section}.{name}": value for name, value in content.items()}
        else:
            problems.append(Problem("argument", section, repr(content), expected))
    if problems:
        raise SettingsError(problems)
    return values


def look_up(key: str, config: Path | Sequence[Path] | None, *, environ: Mapping[str, str]) -> object:
    """Return what the files and the environment say for a dotted key, as it is written there; None if nothing.

    For a program that talks to a running server: the settings as a whole may be wrong at that moment, while they are
    being edited, and that must not keep anybody from stopping it. Raises SettingsError if a file cannot be read.
    """
    from appserver.settings import merging

    found = merging.read(settings_files(config, environ), environ, (), [])
    unreadable = [problem for source in found if merging.is_unreadable(source) for problem in source.problems]
    if unreadable:
        raise SettingsError(unreadable)
    section, _, name = key.partition(".")
    values = [source.values[section][name] for source in found if name in source.values.get(section, ())]
    return values[-1] if values else None


def read_settings(text: str) -> Settings:
    """Read settings that a process of perhaps another version has written as JSON.

    A key that this version does not know is left out, one that is missing has its default. Raises ValueError if a value
    is none of this version's.
    """
    values = json.loads(text)
    while True:
        try:
            return Settings.model_validate(values)
        except ValidationError as error:
            unknown = [detail["loc"] for detail in error.errors() if detail["type"] == "extra_forbidden"]
            if not unknown:
                raise
            for *tables, name in unknown:
                del value_at(tuple(tables), values)[name]
