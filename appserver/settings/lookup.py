"""One value of the settings, for a program that talks to a running server and does not run one.

The settings as a whole may be wrong at that moment: they are being edited, and the server will say so at the next
reload. That must not keep anybody from stopping it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from appserver.errors import Problem, SettingsError
from appserver.settings import sources


def look_up(key: str, path: Path | None, *, environ: Mapping[str, str]) -> object:
    """Return what the file and the environment say for a dotted key, as it is written there; None if nothing.

    Without a path the file is the one that APPSERVER_CONFIG names, or there is none. Raises SettingsError if the file
    cannot be read.
    """
    problems: list[Problem] = []
    if path is None and environ.get(sources.CONFIG_VARIABLE):
        path = Path(environ[sources.CONFIG_VARIABLE])
    from_file = [] if path is None else sources.read_file(path, problems)
    if from_file is None:
        raise SettingsError(problems)
    value = None
    for assignment in (*from_file, *sources.read_environment(environ, [])):
        if f"{assignment.section}.{assignment.name}" == key:
            value = assignment.value
    return value
