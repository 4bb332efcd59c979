"""Where the control socket is when the settings do not say (admin.control = "auto").

The server chooses the first place that it can use; the commands look at all of them, as they may have been started with
another environment (cron, a service manager, `docker exec`). The name of the socket is made from the settings file, or
from the current directory where there is none, so that several servers of one user do not meet.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from appserver.files.kinds import exists, is_directory

SYSTEM = Path("/run/appserver")
"""The directory of servers that root starts, of the image, and of systemd's units."""

_NAME = "control.sock"
_STEM = 32  # octets of the name of the settings file
_LONGEST = 107  # sockaddr_un's sun_path (unix(7)), less the terminating NUL


def server_place(files: Sequence[Path], environ: Mapping[str, str], *, system: Path = SYSTEM) -> Path | None:
    """Return where a server that was started with these settings files has its control socket; None: nowhere.

    The directory may have to be made first (`make_directory`).
    """
    given = _given(environ)
    for path in _own_places(files, environ, system):
        directory = path.parent
        if len(os.fsencode(path)) > _LONGEST:
            continue
        if directory == given:
            is_usable = is_directory(directory) and _may_write(
                directory
            )  # whoever names it knows who else can write there
        else:
            is_usable = _is_safe(directory) if exists(directory) else _may_write(directory.parent)
        if is_usable:
            return path
    return None


def client_places(files: Sequence[Path], environ: Mapping[str, str], *, system: Path = SYSTEM) -> list[Path]:
    """Return where the control socket of the server with these settings files may be, the likeliest place first."""
    places = list(_own_places(files, environ, system))
    if not _is_ours(places[-1].parent):
        del places[-1]  # anybody can make a directory in /tmp, also by this name
    if files:
        # The shipped unit appserver@shop reads /etc/appserver/shop.toml and has /run/appserver/shop.
        places.insert(0, system / files[0].stem / _NAME)
    return list(dict.fromkeys(places))


def make_directory(directory: Path) -> None:
    """Make the directory of a control socket if it is not there; raises OSError."""
    if not exists(directory):
        # /run/appserver is also the parent of what systemd makes for its units, which run as other users.
        directory.mkdir(mode=0o755 if directory == SYSTEM else 0o700)


def _own_places(files: Sequence[Path], environ: Mapping[str, str], system: Path) -> Iterator[Path]:
    given = _given(environ)
    if given:
        yield given / _NAME
    uid, name = os.geteuid(), _name(files)
    yield system / name
    yield Path(environ.get("XDG_RUNTIME_DIR") or f"/run/user/{uid}", "appserver", name)
    yield Path(f"/tmp/appserver-{uid}") / name  # noqa: S108 - only if it is ours alone (_is_safe)


def _given(environ: Mapping[str, str]) -> Path | None:
    """Return the runtime directory of the unit that this process is of (systemd.exec(5)), or that a container names."""
    first = environ.get("RUNTIME_DIRECTORY", "").split(os.pathsep)[0]
    return Path(first) if first else None


def _name(files: Sequence[Path]) -> str:
    place = files[0].absolute() if files else Path.cwd()
    digest = hashlib.sha256(os.fsencode(place)).hexdigest()[:8]
    # Cut by octets, as the kernel counts a path, and without what is no text: an address in the settings is text.
    return f"{os.fsencode(place.stem)[:_STEM].decode(errors='ignore')}-{digest}.sock"


def _is_safe(directory: Path) -> bool:
    """Whether this process can make a socket there that nobody else could take away."""
    try:
        status = directory.lstat()
    except OSError:
        return False
    if not stat.S_ISDIR(status.st_mode) or status.st_uid not in (0, os.geteuid()) or not _may_write(directory):
        return False
    # In a directory that others can write to, the sticky bit keeps them from another's files.
    return not status.st_mode & 0o022 or bool(status.st_mode & stat.S_ISVTX)


def _is_ours(directory: Path) -> bool:
    try:
        return directory.lstat().st_uid == os.geteuid()
    except OSError:
        return not os.path.islink(directory)  # noqa: PTH114 - no, where we may not look


def _may_write(directory: Path) -> bool:
    return os.access(directory, os.W_OK | os.X_OK)
