"""The wording of the console, and the fields that it leaves out.

A person at a terminal wants one line for what they did: for a start, a save, a Ctrl-C. All that belongs to it is in the JSON
form of the log, and at the level debug.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

Fields = Mapping[str, Any]

ROUTINE = frozenset(
    (
        *("listening", "admin listening", "zygote ready", "worker ready", "worker draining", "worker exited"),
        *("zygote killed", "worker killed", "reload started", "lifespan not supported"),
    )
)
"""Events that are left out where nothing went wrong: they follow from one that is shown."""


def _starting(fields: Fields) -> str:
    paths = str(fields.get("settings", ""))
    settings = f", settings of {', '.join(map(_from_here, paths.split(', ')))}" if paths.startswith("/") else ""
    return f"starting {fields['application']}, {_count(fields['workers'], 'worker')}{settings}"


def _from_here(path: str) -> str:
    """Return a path as somebody would type it who is in the directory in which the server was started."""
    try:
        below = os.path.relpath(path)
    except FileNotFoundError:  # the directory is gone
        return path
    return path if below.startswith("..") else below


def _serving(fields: Fields) -> str:
    where = " ".join(fields["urls"])
    return f"serving {where}" + (f" after {fields['seconds']:.2g} s" if "seconds" in fields else "")


def _reloaded(fields: Fields) -> str:
    names = list(fields["changed"])
    more = f" and {len(names) - 2} more" if len(names) > 3 else ""
    changed = f": {', '.join(names[: 2 if more else 3])}{more} changed" if names else ""
    return f"reloaded in {fields['seconds']:.2g} s{changed}"


def _reload_finished(fields: Fields) -> str:
    if fields["result"] != "ok":
        return f"reload {fields['result'].replace('_', ' ')}: {fields['reason']}"
    return f"reloaded in {fields['seconds']:.2g} s: {fields['reason']}"


def _stopping(fields: Fields) -> str:
    if not fields.get("waiting_for"):
        return "stopping"
    running = list(fields["waiting_for"])
    more = f" and {len(running) - 3} more" if len(running) > 3 else ""
    return f"stopping after {', '.join(running[:3])}{more} (Ctrl-C: stop at once)"


def _boot_failed(fields: Fields) -> str:
    return f"boot failed: {fields['reason']}"


def _application_failed(fields: Fields) -> str:
    return f"application failed: {fields['method']} {fields['path']}"


def _not_served(fields: Fields) -> str:
    return f"not served: {fields['reason']}; waiting for a change"


PHRASES: Mapping[str, tuple[Callable[[Fields], str | None], frozenset[str]]] = {
    "starting": (_starting, frozenset(("application", "addresses", "workers", "settings", "version"))),
    "serving": (_serving, frozenset(("urls", "seconds", "generation", "workers"))),
    "reloaded": (_reloaded, frozenset(("changed", "seconds"))),
    "reload finished": (_reload_finished, frozenset(("result", "reason", "generation", "seconds"))),
    "stopping": (_stopping, frozenset(("waiting_for", "advice", "delay", "graceful"))),
    "stopped": (lambda _: "stopped", frozenset(("exit_code",))),
    "boot failed": (_boot_failed, frozenset(("reason", "exit_code"))),
    "application failed": (_application_failed, frozenset(("method", "path"))),
    "not served": (_not_served, frozenset(("reason", "advice"))),
}
"""By event: the words, or None for the usual form, and the fields that they make superfluous."""


def is_routine(event: str, level: str, fields: Fields) -> bool:
    """Whether the console leaves a record of the server's own out."""
    # A start that fails, and a reload that is rolled back, have the error as their last line.
    if event == "worker exited" and level == "warning":
        return fields.get("reason") == "boot_failed"
    return level == "info" and (event in ROUTINE or (event == "stopped" and bool(fields.get("exit_code"))))


def phrase(event: str, fields: Fields) -> tuple[str, frozenset[str]]:
    """Return what the console says of a record of the server's own, and the fields that are then said."""
    if event in PHRASES:
        words, said = PHRASES[event]
        try:
            found = words(fields)
        except (KeyError, TypeError, ValueError):  # a record of another shape: an older program's, a test's
            found = None
        if found is not None:
            return found, said
    return event, frozenset()


def _count(number: Any, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
