"""The arguments that programs give for settings: told from slips before they become any."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from appserver.errors import Problem, SettingsError
from appserver.settings import Loaded, by_key

USED_OF_WORKERS = frozenset(
    (
        *("boot_timeout", "graceful_timeout", "lifespan_timeout", "end_event_streams"),
        *("max_connections", "max_concurrency", "queue_size", "queue_timeout"),
    )
)
"""The settings of `[workers]` that are not about processes, nor about the event loop."""

_WHY_UNUSED = {
    "admin": "there is no master, which has this listener",
    "dev": 'for development there is the command "appserver dev"',
    "lambda": "this is no function on AWS Lambda",
    "metrics": "there is no master, which has the metrics",
    "reload": "there is no master, so there are no reloads",
}
_NEEDS_PROCESSES = 'there are no worker processes here: for these use appserver.run("module:attribute") or the command'


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
    found = by_key(sections)
    if "app.target" in found:
        raise SettingsError([Problem("argument", "app.target", "", "the application is the first argument")])
    return found


def refuse_unused(loaded: Loaded, given: Iterable[str], *, named: bool) -> None:
    """Raise SettingsError with each of the keys `given` that mean nothing where there is no master, and no worker.

    `named`: the application is given as "module:attribute".
    """
    problems = []
    for key in given:
        section, _, name = key.partition(".")
        why = _WHY_UNUSED.get(section)
        if key == "workers.count" and loaded.settings.workers.count == 1:
            continue
        if key == "workers.loop":
            why = "the event loop is that of the program"
        elif section == "workers" and name not in USED_OF_WORKERS:
            why = _NEEDS_PROCESSES
        elif key == "app.directory" and not named:
            why = "nothing is imported: it is for an application that is named"
        if why is not None:
            problems.append(Problem("argument", key, "", why))
    if problems:
        raise SettingsError(problems)
