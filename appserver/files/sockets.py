"""The files of unix sockets.

bind(2) takes a path and makes the file; owner and mode have to be set afterwards, by which time the name may lead to
another file. Where others can write, the socket is bound in a directory that nobody else can enter, gets its owner and
mode there, and moves to its place in one step. So there is no moment at which its file is open to others than those who
are meant.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import socket
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from appserver.files.directory import Directory, Place, UnsafeFileError, find

FileIdentity = tuple[int, int]
"""The identity of a file, which another one in its place does not have: st_dev and st_ino."""

_LOOK = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_NAME = "s"  # of a socket in its private directory: the whole path has to fit into 108 bytes


@dataclass(frozen=True, slots=True)
class Access:
    """The permission to connect: the mode of the socket's file, its owner and its group (-1: as they are)."""

    mode: int
    uid: int = -1
    gid: int = -1


def bind_socket(sock: socket.socket, path: Path, address: str, access: Access) -> FileIdentity:
    """Bind a socket to a path, in the place of one that a killed server has left there.

    `address` is the path as the operator has written it: the absolute one may be longer than the kernel takes. Raises
    OSError, with a text that says what is in the way.
    """
    with find(path) as place:
        _remove_stale(place)
        if place.directory.keeps_entries:
            return _bind_in_place(sock, place, address, access)
        with _private_directory(place.directory) as private:
            bound = Place(private, _NAME)
            sock.bind(f"/proc/self/fd/{private.fd}/{_NAME}")
            identity = _bind_done(bound, access)
            _move(bound, place)
            return identity


def _bind_in_place(sock: socket.socket, place: Place, address: str, access: Access) -> FileIdentity:
    # The file is closed to others until its owner and mode are as wanted.
    before = os.umask(0o177)
    try:
        sock.bind(address)
    finally:
        os.umask(before)
    return _bind_done(place, access)


def _bind_done(place: Place, access: Access) -> FileIdentity:
    """Set owner and mode of the file that has just been made; it is removed if that fails."""
    try:
        with _held(place) as (held, status):
            _set_access(held, access)
            return status.st_dev, status.st_ino
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(place.name, dir_fd=place.directory.fd)
        raise


def change_socket(path: Path, identity: FileIdentity, access: Access) -> None:
    """Give the file of a bound socket another owner or mode, unless another file has its place now. Raises OSError."""
    with find(path) as place, _held(place) as (held, status):
        if (status.st_dev, status.st_ino) == identity:
            _set_access(held, access)


def remove_socket(path: Path, identity: FileIdentity) -> None:
    """Remove the file of a socket, unless another file has its place now. Raises OSError."""
    with find(path) as place:
        status = place.status()
        if (status.st_dev, status.st_ino) == identity:
            os.unlink(place.name, dir_fd=place.directory.fd)


def identify(path: Path) -> FileIdentity | None:
    """Which file has this path now; None if there is none."""
    try:
        with find(path) as place:
            status = place.status()
    except OSError:
        return None
    return status.st_dev, status.st_ino


@contextlib.contextmanager
def _held(place: Place) -> Iterator[tuple[str, os.stat_result]]:
    """A path that leads to the file that is there now, whatever becomes of its name, and what the file is."""
    fd = os.open(place.name, _LOOK, dir_fd=place.directory.fd)
    try:
        yield f"/proc/self/fd/{fd}", os.fstat(fd)
    finally:
        os.close(fd)


def _set_access(held: str, access: Access) -> None:
    os.chmod(held, access.mode)  # noqa: PTH101  # a descriptor, not a path
    if (access.uid, access.gid) != (-1, -1):
        os.chown(held, access.uid, access.gid)


@contextlib.contextmanager
def _private_directory(parent: Directory) -> Iterator[Directory]:
    """A directory that nobody else can enter, for as long as it takes; others may rename it, but that harms nobody."""
    name = f".{secrets.token_hex(8)}"
    os.mkdir(name, 0o700, dir_fd=parent.fd)
    try:
        fd = os.open(name, _LOOK | os.O_DIRECTORY, dir_fd=parent.fd)
        try:
            status = os.fstat(fd)
            if status.st_uid != os.geteuid() or stat.S_IMODE(status.st_mode) & 0o077:
                raise UnsafeFileError(parent.path, f"{parent.path / name} was replaced by {parent.stranger}")
            yield Directory(fd, parent.path / name, status, reached_safely=True)
        finally:
            os.close(fd)
    finally:
        with contextlib.suppress(OSError):
            os.rmdir(name, dir_fd=parent.fd)


def _move(bound: Place, place: Place) -> None:
    """Give the file its name, which must be free: a second name, and the first one is removed. Raises OSError."""
    places = {"src_dir_fd": bound.directory.fd, "dst_dir_fd": place.directory.fd}
    try:
        os.link(bound.name, place.name, **places, follow_symlinks=False)
    except FileExistsError:
        os.unlink(bound.name, dir_fd=bound.directory.fd)
        raise FileExistsError(errno.EEXIST, "another file was put in its place meanwhile", str(place.path)) from None
    except OSError:  # a file system without hard links
        os.replace(bound.name, place.name, **places)  # noqa: PTH105  # descriptors, not paths
    else:
        os.unlink(bound.name, dir_fd=bound.directory.fd)


def _remove_stale(place: Place) -> None:
    """Remove the socket that a killed server has left; refuse to take the place of one that lives, or of a file."""
    try:
        with _held(place) as (held, status):
            if not stat.S_ISSOCK(status.st_mode):
                raise FileExistsError(errno.EEXIST, "a file that is no socket is in the way", str(place.path))
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
                probe.setblocking(False)
                result = probe.connect_ex(held)
    except FileNotFoundError:
        return
    if result == errno.ECONNREFUSED:
        os.unlink(place.name, dir_fd=place.directory.fd)
    elif result in (0, errno.EAGAIN):  # EAGAIN: it lives, and its backlog is full
        raise OSError(errno.EADDRINUSE, "another server is listening on it", str(place.path))
