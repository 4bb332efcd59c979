"""Resources that an imported application leaves behind and that a fork must not share.

A zygote that preloads asks twice: `Descriptors.now` before the import, `find` after it. A thread does not survive a fork,
but the locks that it holds do. Everything else that is looked for survives a fork too well: all workers would read from
the same connection, or wait on the same epoll instance, and take each other's answers.
"""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import stat
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

# How files begin that belong to SQLite: database, write-ahead log in either byte order, rollback journal
# (https://www.sqlite.org/fileformat2.html). "Do not open an SQLite database connection, then fork, then try to use that
# database connection in the child process": its locks are those of a process (https://www.sqlite.org/howtocorrupt.html).
_SQLITE = (
    b"SQLite format 3\0",
    b"\x37\x7f\x06\x82",
    b"\x37\x7f\x06\x83",
    b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7",
)

# Descriptors for which the kernel keeps a state that all processes share: an event that one worker takes is lost for the others. Pipes
# and event counters are not among them. They serve threads, which are found as such, or processes that mean to share them
# (the locks of `multiprocessing`).
_SHARED = {
    "anon_inode:[eventpoll]": "epoll instance",
    "anon_inode:inotify": "inotify instance",
    "anon_inode:[fanotify]": "fanotify group",
    "anon_inode:[io_uring]": "io_uring instance",
    "anon_inode:[signalfd]": "signalfd",
    "anon_inode:[timerfd]": "timerfd",
}

# States of a TCP connection that is none (include/net/tcp_states.h): closed, listening.
_NO_CONNECTION = {7, 10}


@dataclass(frozen=True, slots=True)
class Descriptors:
    """The descriptors that a process has open, each with device and inode, since numbers are used again."""

    open: frozenset[tuple[int, int, int]]

    @classmethod
    def now(cls) -> Self:
        """Look at this process."""
        return cls(frozenset(_identities()))

    def opened_since(self) -> list[int]:
        """The descriptors of this process that it did not have at that time."""
        return sorted(fd for fd, device, inode in _identities() if (fd, device, inode) not in self.open)


def find(before: Descriptors) -> list[str]:
    """The reasons why this process must not fork workers, in words for the log; `before` is from before the import."""
    gc.collect()  # what nobody refers to any more is closed by that
    return [*_threads(), *_event_loops(), *(found for fd in before.opened_since() if (found := _describe(fd)))]


def shared_state(before: Descriptors) -> list[int]:
    """The new descriptors behind which the kernel keeps a state that a fork shares; `before` is from before they came."""
    return [fd for fd in before.opened_since() if _target(fd) in _SHARED]


def _target(fd: int) -> str:
    return str(Path(f"/proc/self/fd/{fd}").readlink())


def _identities() -> Iterator[tuple[int, int, int]]:
    for name in os.listdir("/proc/self/fd"):
        try:
            status = os.fstat(int(name))
        except OSError:
            continue  # that of the listing itself
        yield int(name), status.st_dev, status.st_ino


def _threads() -> list[str]:
    """The threads of this process but the main one; those of C libraries the kernel can only count."""
    threads = [f"thread {thread.name!r}" for thread in threading.enumerate() if thread is not threading.main_thread()]
    unnamed = len(os.listdir("/proc/self/task")) - 1
    return threads or ([f"{unnamed} threads started outside Python"] if unnamed else [])


def _event_loops() -> list[str]:
    """The open event loops. Types are asked, not instances: those may be proxies that come to life when they are asked."""
    loops = (found for found in gc.get_objects() if issubclass(type(found), asyncio.AbstractEventLoop))
    return [f"event loop {loop!r}" for loop in loops if not loop.is_closed()]


def _describe(fd: int) -> str | None:
    """The kind of a descriptor, if workers must not share it."""
    try:
        mode = os.fstat(fd).st_mode
        path = _target(fd)
        if stat.S_ISSOCK(mode):
            found = _describe_socket(fd)
        elif stat.S_ISREG(mode):
            found = f"SQLite file {path}" if _is_sqlite(fd) else None
        else:
            found = _SHARED.get(path)
    except OSError:
        return None
    return found and f"{found} (descriptor {fd})"


def _describe_socket(fd: int) -> str | None:
    """The connection behind a socket, if there is one.

    Datagrams are sent as wholes and are seldom answered, so sharing such a socket does no harm: loggers (syslog) and
    statistics (statsd) keep one from the import on. Those to the kernel are always answered (netlink(7)).
    """
    # A duplicate, for the object closes what it is made of.
    with socket.socket(fileno=os.dup(fd)) as sock:
        if sock.family == socket.AF_NETLINK:
            return "netlink socket"
        if sock.type not in (socket.SOCK_STREAM, socket.SOCK_SEQPACKET):
            return None
        try:
            peer = sock.getpeername()
        except OSError:
            return "connection that is being made" if _is_connecting(sock) else None
        if sock.family in (socket.AF_INET, socket.AF_INET6):
            host = f"[{peer[0]}]" if sock.family == socket.AF_INET6 else peer[0]
            return f"connection to {host}:{peer[1]}"
        name = peer.decode(errors="replace") if isinstance(peer, bytes) else str(peer)
        return f"connection to {name.replace(chr(0), '@')}" if name else "one end of a socket pair"


def _is_connecting(sock: socket.socket) -> bool:
    """Whether a TCP connection is on its way, as that of a client that does not block."""
    if sock.family not in (socket.AF_INET, socket.AF_INET6):
        return False
    try:
        return sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] not in _NO_CONNECTION
    except OSError:
        return False


def _is_sqlite(fd: int) -> bool:
    """By its first octets, read without a second descriptor: closing one drops every lock that the process has on the file.

    A file that is open for writing only is none.
    """
    try:
        return os.pread(fd, 16, 0).startswith(_SQLITE)
    except OSError:
        return False
