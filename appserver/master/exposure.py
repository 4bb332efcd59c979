"""Which files of a server could be replaced by a user who must not have its privileges.

For `appserver check`. Where workers run as another user than the master, a user who can replace a file that the master reads
or runs has the master's privileges, and one who can replace a file that it writes can take its place towards others. The server
refuses links and other users' files there (`appserver.files`), but a directory that belongs to the right user is better.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import appserver
from appserver.files import outsider
from appserver.files.kinds import destination
from appserver.settings import Loaded, Settings, UnixAddress

RUNS = "and so have the server run anything with the master's privileges"
IMPERSONATES = "and so answer in the server's place"


@dataclass(frozen=True, slots=True)
class Exposure:
    """One file, where somebody can write that should not, and what that makes possible."""

    name: str
    path: Path
    writer: str
    where: Path
    consequence: str

    def __str__(self) -> str:
        return (
            f'{self.name} = "{self.path}": {self.writer} can write to {self.where}, {self.consequence}: '
            f"give {self.where} to root, with mode 0755 or less"
        )


def exposures(loaded: Loaded) -> list[Exposure]:
    """Every file for which that is so, each with the directory that is nearest to it."""
    workers = loaded.settings.workers
    # Only root can become another user, whoever asks.
    euid = os.geteuid() if workers.user is None and workers.group is None else 0
    found = (_exposure(name, path, consequence, euid) for name, path, consequence in _files(loaded))
    return [exposure for exposure in found if exposure is not None]


def _files(loaded: Loaded) -> Iterator[tuple[str, Path, str]]:
    settings = loaded.settings
    for file in loaded.paths:
        yield "settings file", file, RUNS
    if settings.app.env_file is not None:
        yield "app.env_file", settings.app.env_file, RUNS
    yield "interpreter", Path(sys.executable), RUNS
    yield "appserver", Path(appserver.__file__), RUNS
    yield from _written(settings)
    tls = settings.tls
    pairs = [(tls.certificate, tls.key), *((sni.certificate, sni.key) for sni in tls.sni)]
    for path in (*(path for pair in pairs for path in pair), tls.client_ca):
        if path is not None:
            yield "tls", path, IMPERSONATES


def _written(settings: Settings) -> Iterator[tuple[str, Path, str]]:
    for name, log in (("logging.file", settings.logging.file), ("access_log.file", settings.access_log.file)):
        if log is not None:
            yield name, log, "and so keep the server from opening it"
    admin = settings.admin
    if admin.pid_file is not None:
        yield "admin.pid_file", admin.pid_file, "and so name another process in it, which a script would then signal"
    if isinstance(admin.control, Path):
        yield "admin.control", admin.control, IMPERSONATES
    for index, listener in enumerate(settings.listeners):
        if isinstance(listener.bind, UnixAddress) and not listener.bind.is_abstract:
            yield f"listeners[{index}].bind", Path(listener.bind.path), IMPERSONATES


def _exposure(name: str, path: Path, consequence: str, euid: int) -> Exposure | None:
    path = path.absolute()
    written, real = path, destination(path)
    looked_at = [real] if consequence == RUNS else []  # what is run or read must not be changed in its place either
    for place in dict.fromkeys((*looked_at, *real.parents, *written.parents)):
        try:
            writer = outsider(place.stat(), euid)
        except OSError:
            continue  # it does not exist yet, or is not for us to see
        if writer is not None:
            return Exposure(name, path, writer, place, consequence)
    return None
