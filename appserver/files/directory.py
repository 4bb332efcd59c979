"""Directories, and who can change what is in them.

`find` walks a path component by component, as the kernel does (path_resolution(7)), but with one descriptor after the
other, and follows a symbolic link only where nobody but root and this process's user can have made it.
"""

from __future__ import annotations

import errno
import grp
import os
import pwd
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_MAX_LINKS = 40  # as the kernel has it
_LOOK = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC


class UnsafeFileError(PermissionError):
    """Another user could have the server open or give away a file that is not the one that is meant.

    `strerror` says what is in the place, to whom it belongs, and what to do; `filename` is the place.
    """

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(errno.EPERM, reason, str(path))


def user_name(uid: int) -> str:
    """The name of a user, or its number where it has none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"


def group_name(gid: int) -> str:
    """The name of a group, or its number where it has none."""
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return f"gid {gid}"


def trusted(uid: int) -> bool:
    """Whether a user can do everything that this process can: root, and the user of this process."""
    return uid in (0, os.geteuid())


def outsider(entry: os.stat_result, euid: int | None = None) -> str | None:
    """The user who can change a file, or replace any entry of a directory, besides root and this process's user; None: nobody.

    A process without privileges only minds what everybody can write to: to whom else a directory belongs has been the
    operator's choice, and that user gains nothing by this process. `euid` puts another user in the place of the process's.
    """
    euid = os.geteuid() if euid is None else euid
    mode = entry.st_mode
    sticky = stat.S_ISDIR(mode) and mode & stat.S_ISVTX
    if mode & stat.S_IWOTH:
        return None if sticky and entry.st_uid in (0, euid) else "every user"
    if euid != 0:
        return None
    if entry.st_uid != 0:
        return f"the user {user_name(entry.st_uid)}"
    if mode & stat.S_IWGRP and entry.st_gid != 0 and not sticky:
        return f"the group {group_name(entry.st_gid)}"
    return None


@dataclass(frozen=True, slots=True)
class Directory:
    """An open directory. Entries are named through `fd`, so nobody can put another directory in its place meanwhile."""

    fd: int
    path: Path
    status: os.stat_result
    reached_safely: bool
    """Whether only root and this process's user can have put this directory where it was found."""

    @property
    def keeps_entries(self) -> bool:
        """Whether nobody else can replace what this process makes here."""
        return self.reached_safely and outsider(self.status) is None

    @property
    def stranger(self) -> str:
        """The other users who can, for messages."""
        return outsider(self.status) or "another user"

    def vouches_for(self, entry: os.stat_result) -> bool:
        """Whether only root and this process's user can have put an entry here, which in /tmp depends on its owner."""
        shared = self.status.st_mode & (stat.S_IWOTH | stat.S_IWGRP) and self.status.st_mode & stat.S_ISVTX
        return self.keeps_entries and (not shared or trusted(entry.st_uid))


@dataclass(frozen=True, slots=True)
class Place:
    """Where a file is, or is to be: a directory and the name in it."""

    directory: Directory
    name: str
    is_descriptor: bool = False
    """Whether it is a descriptor of this process, by its link in /proc, such as /dev/stdout."""

    @property
    def path(self) -> Path:
        return self.directory.path / self.name

    def status(self) -> os.stat_result:
        """The file's status as it is now; a symbolic link is not followed. Raises OSError."""
        return os.stat(self.name, dir_fd=self.directory.fd, follow_symlinks=self.is_descriptor)


@contextmanager
def find(path: Path, *, follow: bool = False) -> Iterator[Place]:
    """Hold the directory of a file open. With `follow`, a link in the place of the file itself is followed as well.

    Raises OSError, UnsafeFileError for a link that another user may have made.
    """
    walk = _Walk(path)
    try:
        yield walk.to_the_end(follow)
    finally:
        os.close(walk.here.fd)


class _Walk:
    """On the way to a file; `here` is where it has come to."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._links = 0
        self._rest = list(reversed(path.absolute().parts[1:]))
        self.here = _root()

    def to_the_end(self, follow: bool) -> Place:
        while self._rest:
            name = self._rest.pop()
            if not self._rest and not follow:
                return Place(self.here, name)
            try:
                found = os.open(name, _LOOK, dir_fd=self.here.fd)
            except FileNotFoundError:
                if self._rest:
                    raise
                return Place(self.here, name)
            status = os.fstat(found)
            if stat.S_ISLNK(status.st_mode):
                if not self._rest and status.st_dev == Path("/proc").stat().st_dev:
                    os.close(found)
                    return Place(self.here, name, is_descriptor=True)
                self._follow(name, found, status)
            elif self._rest:
                self._enter(name, found, status)
            else:
                os.close(found)
                return Place(self.here, name)
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(self._path))

    def _enter(self, name: str, found: int, status: os.stat_result) -> None:
        if not stat.S_ISDIR(status.st_mode):
            os.close(found)
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(self.here.path / name))
        self._move(Directory(found, self.here.path / name, status, self.here.vouches_for(status)))

    def _follow(self, name: str, link: int, status: os.stat_result) -> None:
        try:
            target = os.readlink("", dir_fd=link)
        finally:
            os.close(link)
        self._links += 1
        if self._links > _MAX_LINKS:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(self._path))
        if not self.here.vouches_for(status):
            raise symbolic_link(Place(self.here, name))
        parts = Path(target).parts
        if target.startswith("/"):
            self._move(_root())
            parts = parts[1:]
        self._rest += reversed(parts)

    def _move(self, directory: Directory) -> None:
        os.close(self.here.fd)
        self.here = directory


def symbolic_link(place: Place) -> UnsafeFileError:
    """The refusal of a link in a place where others can make some."""
    return UnsafeFileError(
        place.path,
        f"{place.path} is a symbolic link, and {place.directory.stranger} can write to {place.directory.path}: "
        f"name the file itself, or give the directory to {user_name(os.geteuid())}",
    )


def _root() -> Directory:
    fd = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    return Directory(fd, Path("/"), os.fstat(fd), reached_safely=True)
