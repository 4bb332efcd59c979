"""Regular files: opened for appending, replaced, read, removed; and pipes in their place, to be read."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import select
import stat
import time
from pathlib import Path

from appserver.files.directory import Place, UnsafeFileError, find, symbolic_link, trusted, user_name

# O_NONBLOCK is for a FIFO: without it, opening one that nobody reads would block.
_APPEND = os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK
_READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK | os.O_NOFOLLOW
_CREATE = os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
_LOG_MODE = 0o640
_ATTEMPTS = 10

PATIENCE = 10.0
"""Seconds in which a pipe has to be read to its end: whoever reads does nothing else meanwhile."""


def open_to_append(path: Path, uid: int = -1, gid: int = -1) -> int:
    """Open a file for appending, made if it is not there, and give it to a user and a group (-1: as they are).

    Returns the descriptor. Raises OSError, and UnsafeFileError for anything that another user may have put there: a
    symbolic link, a file with a second name, a file that would have to change its owner. What may be a link or a FIFO is
    decided by the directory: where only root and this user can write, it is what the operator wants.
    """
    with find(path, follow=True) as place:
        fd, made = _open_or_make(place)
        try:
            status = os.fstat(fd)
            if not (made or place.is_descriptor):
                _check(place, status, uid, gid)
            # Not a device: /dev/null is everybody's.
            if (uid, gid) != (-1, -1) and (stat.S_ISREG(status.st_mode) or stat.S_ISFIFO(status.st_mode)):
                os.fchown(fd, uid, gid)
        except BaseException:
            os.close(fd)
            raise
        return fd


def _open_or_make(place: Place) -> tuple[int, bool]:
    """The descriptor, and whether the file has been made by this call. Never the one and the other in one system call.

    With O_CREAT alone, a file that somebody else has made in the meantime could not be told from our own, and the kernel
    refuses to open another user's in /tmp (fs.protected_regular).
    """
    existing = _APPEND if place.is_descriptor else _APPEND | os.O_NOFOLLOW
    for _ in range(_ATTEMPTS):
        with contextlib.suppress(FileNotFoundError):
            return _open(place, existing), False
        with contextlib.suppress(FileExistsError):
            return _open(place, _APPEND | _CREATE), True
    raise UnsafeFileError(place.path, f"{place.path} is made and removed again and again by somebody else")


def _open(place: Place, flags: int) -> int:
    try:
        return os.open(place.name, flags, _LOG_MODE, dir_fd=place.directory.fd)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise symbolic_link(place) from None
        raise


def _check(place: Place, opened: os.stat_result, uid: int, gid: int, *, reading: bool = False) -> None:
    """Refuse an existing file that another user can have put there. Raises OSError, UnsafeFileError."""
    # By its name once more: a second name may be removed between opening a file and looking at it.
    named = place.status()
    if not os.path.samestat(opened, named):
        raise UnsafeFileError(place.path, f"{place.path} was replaced while it was being opened")
    if reading and place.directory.vouches_for(named):
        return
    if stat.S_ISREG(named.st_mode) and named.st_nlink != 1:
        raise UnsafeFileError(
            place.path,
            f"{place.path} has {named.st_nlink} names (hard links), so it may be another file as well, one of "
            f"{user_name(named.st_uid)}: remove it, a new one will be made",
        )
    if place.directory.vouches_for(named):
        return
    where = f"{place.directory.stranger} can write to {place.directory.path}"
    if not stat.S_ISREG(named.st_mode):
        raise UnsafeFileError(place.path, f"{place.path} is not a regular file, and {where}: remove it")
    if uid not in (-1, named.st_uid) or gid not in (-1, named.st_gid):
        raise UnsafeFileError(
            place.path,
            f"{place.path} belongs to {user_name(named.st_uid)} and would be given to the workers, but {where}, so it may be "
            f"any file: change its owner yourself, or name a file in a directory that belongs to root",
        )
    if not (trusted(named.st_uid) or named.st_uid in (uid, place.directory.status.st_uid)):
        raise UnsafeFileError(
            place.path,
            f"{place.path} belongs to {user_name(named.st_uid)}, and {where}: remove it, or change its owner",
        )


def open_existing(name: str, directory: int) -> int:
    """Open a regular file of a directory for reading: no link, no FIFO, no second name. Raises OSError."""
    fd = os.open(name, _READ, dir_fd=directory)
    status = os.fstat(fd)
    if stat.S_ISREG(status.st_mode) and status.st_nlink <= 1:
        return fd
    os.close(fd)
    raise OSError(errno.EINVAL, "it is not a regular file with one name")


def read(path: Path, limit: int) -> bytes:
    """Read a file whose content the server uses, or hands on to others. Raises OSError if it is longer than `limit`.

    In a directory that others can write to, it must not be a link, nor the file of a third user: what is read with this
    process's privileges could be what they may not read.
    """
    with find(path, follow=True) as place:
        fd = _open(place, _READ & ~os.O_NOFOLLOW if place.is_descriptor else _READ)
        try:
            if not place.is_descriptor:
                _check(place, os.fstat(fd), -1, -1, reading=True)
            return _read_to_end(fd, path, limit)
        finally:
            os.close(fd)


def read_input(path: Path, limit: int) -> bytes:
    """Read what the operator names, whoever can write beside it: a file, a pipe, a device.

    Raises OSError, also if it is longer than `limit` bytes, or does not end within `PATIENCE`.
    """
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK)
    try:
        return _read_to_end(fd, path, limit)
    finally:
        os.close(fd)


def _read_to_end(fd: int, path: Path, limit: int) -> bytes:
    """Read a descriptor that does not block, but wait for a pipe that is still being written into, or will be."""
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    deadline = time.monotonic() + PATIENCE
    content = bytearray()
    while len(content) <= limit:
        if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
            raise OSError(errno.ETIMEDOUT, f"it has not come to its end within {PATIENCE:g} s", str(path))
        try:
            data = os.read(fd, min(limit + 1 - len(content), 65536))
        except BlockingIOError:  # somebody else has read it
            continue
        if not data:
            return bytes(content)
        content += data
    raise OSError(errno.EFBIG, f"it is larger than {limit} bytes", str(path))


def read_small(path: Path, limit: int) -> bytes:
    """The first `limit` bytes of a regular file. Raises OSError."""
    with find(path) as place:
        fd = open_existing(place.name, place.directory.fd)
    try:
        return os.read(fd, limit)
    finally:
        os.close(fd)


def replace(path: Path, content: bytes, mode: int = 0o644) -> None:
    """Write a file anew, whole or not at all; whatever has the name is replaced and not followed. Raises OSError."""
    with find(path) as place:
        directory = place.directory.fd
        temporary = f".{place.name}.{secrets.token_hex(8)}"
        fd = os.open(temporary, os.O_WRONLY | os.O_CLOEXEC | _CREATE, mode, dir_fd=directory)
        try:
            try:
                os.write(fd, content)
            finally:
                os.close(fd)
            os.replace(temporary, place.name, src_dir_fd=directory, dst_dir_fd=directory)
        except OSError:
            with contextlib.suppress(OSError):
                os.unlink(temporary, dir_fd=directory)
            raise


def make_directory(path: Path, uid: int = -1, gid: int = -1) -> None:
    """Make a directory that only its owner can enter, if it is not there, and give it away. Raises OSError."""
    with find(path) as place:
        with contextlib.suppress(FileExistsError):
            os.mkdir(place.name, 0o700, dir_fd=place.directory.fd)
        fd = os.open(place.name, _READ | os.O_DIRECTORY, dir_fd=place.directory.fd)
    try:
        if (uid, gid) != (-1, -1):  # a sandbox may forbid the call, whatever it would change
            os.fchown(fd, uid, gid)
    finally:
        os.close(fd)


def remove(path: Path) -> None:
    """Remove a file. Raises OSError."""
    with find(path) as place:
        os.unlink(place.name, dir_fd=place.directory.fd)
