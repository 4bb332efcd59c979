"""Binding one listener: TCP, unix sockets, and sockets that were passed to this program."""

from __future__ import annotations

import contextlib
import errno
import grp
import os
import pwd
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from appserver.errors import ListenerError
from appserver.files import Access, FileIdentity, bind_socket, change_socket, identify, remove_socket
from appserver.master.activation import Activation
from appserver.master.handover import AdminListenerRecord, ListenerRecord
from appserver.master.port_holder import describe_port_holder
from appserver.settings import ListenerSettings
from appserver.settings.address import DescriptorAddress, SystemdAddress, TCPAddress, UnixAddress

SocketRecord = ListenerRecord | AdminListenerRecord

NOTHING_PASSED = Activation()


@dataclass(slots=True)
class BoundListener:
    """A listening socket, and the name that people know it by: its address, with the port that was chosen for port 0."""

    socket: socket.socket
    name: str
    path: Path | None = None  # of a unix socket that this process has made
    file: FileIdentity | None = None  # what `path` named when the socket was bound

    @classmethod
    def restore(cls, record: SocketRecord) -> Self:
        """Hold a socket that the program before this one has bound."""
        path = None if record.path is None else Path(record.path)
        file = None
        if record.file is not None:
            file = record.file[0], record.file[1]
        elif path is not None:
            file = identify(path)  # an older program has not said which one is its own
        return cls(socket.socket(fileno=record.fd), record.name, path, file)

    @property
    def is_lost(self) -> bool:
        """Whether the file of a unix socket is gone, or another one has its place: nobody can connect any more."""
        return self.path is not None and self.file is not None and identify(self.path) != self.file

    def check(self, listener: ListenerSettings) -> None:
        """Make sure that this can become what is wanted at its address. Raises ListenerError."""
        if isinstance(listener.bind, TCPAddress) and self.socket.family == socket.AF_INET6:
            dual = not self.socket.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)
            if dual != listener.dual_stack:
                raise ListenerError(f"{listener.bind}: dual_stack cannot change while it is bound; restart the server")

    def adjust(self, listener: ListenerSettings) -> None:
        """Have the backlog, and the owner and mode of the socket's file, as they are wanted now. Raises ListenerError."""
        self.socket.listen(listener.backlog)  # on a listening socket this only sets the backlog anew
        if self.path is not None and self.file is not None:
            try:
                with contextlib.suppress(FileNotFoundError):
                    change_socket(self.path, self.file, _access(listener))
            except OSError as error:
                raise ListenerError(f"{listener.bind}: owner or mode cannot be changed: {error.strerror}") from error

    def close(self) -> None:
        """Close the socket, and remove its file, unless another server has put its own in that place meanwhile."""
        if self.path is not None and self.file is not None:
            with contextlib.suppress(OSError):
                remove_socket(self.path, self.file)
        self.socket.close()  # last: as long as it is open, nobody takes the file for a stale one


def bind(listener: ListenerSettings, activation: Activation = NOTHING_PASSED) -> tuple[BoundListener, ...]:
    """Bind one listener: several sockets where a host name has several addresses, or a unit several sockets.

    Raises ListenerError.
    """
    match listener.bind:
        case TCPAddress():
            return _bind_tcp(listener, listener.bind)
        case UnixAddress():
            return (_bind_unix(listener, listener.bind),)
        case DescriptorAddress():
            return (_take_over(listener, listener.bind.fd),)
        case SystemdAddress():
            descriptors = activation.sockets.get(listener.bind.name)
            if descriptors is None:
                raise ListenerError(f"cannot listen on {listener.bind}: {activation.describe()}")
            return tuple(_take_over(listener, fd) for fd in descriptors)


def _bind_tcp(listener: ListenerSettings, address: TCPAddress) -> tuple[BoundListener, ...]:
    try:
        found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except socket.gaierror as error:
        raise ListenerError(f"cannot listen on {address}: {address.host}: {error.strerror}") from error
    bound: list[BoundListener] = []
    absent: OSError | None = None
    for family, kind, protocol, _, place in dict.fromkeys(found):
        try:
            bound.append(_bind_place(family, kind, protocol, place, listener))
        except OSError as error:
            if error.errno in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL):
                absent = error  # "localhost" has an IPv6 address also where the machine has none
                continue
            close(bound)
            raise ListenerError(f"cannot listen on {address}: {_explain(error, address)}") from error
    if not bound and absent is not None:
        raise ListenerError(f"cannot listen on {address}: {_explain(absent, address)}") from absent
    return tuple(bound)


def _bind_place(
    family: int, kind: int, protocol: int, place: tuple[object, ...], listener: ListenerSettings
) -> BoundListener:
    with contextlib.ExitStack() as undo:
        sock = undo.enter_context(socket.socket(family, kind, protocol))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            # Each listener is one address, if nothing else is wanted: 0.0.0.0 and [::] may stand side by side.
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, not listener.dual_stack)
        sock.bind(place)
        sock.listen(listener.backlog)
        sock.setblocking(False)
        undo.pop_all()
    return BoundListener(sock, _name(sock))


def _bind_unix(listener: ListenerSettings, address: UnixAddress) -> BoundListener:
    path = None if address.is_abstract else Path(address.path).absolute()
    file = None
    try:
        with contextlib.ExitStack() as undo:
            sock = undo.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
            if path is None:
                sock.bind("\0" + address.path[1:])
            else:
                file = bind_socket(sock, path, address.path, _access(listener))
                undo.callback(remove_socket, path, file)
            sock.listen(listener.backlog)
            sock.setblocking(False)
            undo.pop_all()
    except OSError as error:
        raise ListenerError(f"cannot listen on {address}: {error.strerror or error}") from error
    return BoundListener(sock, str(address), path, file)


def _access(listener: ListenerSettings) -> Access:
    uid = pwd.getpwnam(listener.user).pw_uid if listener.user else -1
    gid = grp.getgrnam(listener.group).gr_gid if listener.group else -1
    return Access(int(listener.mode, 8), uid, gid)


def _take_over(listener: ListenerSettings, fd: int) -> BoundListener:
    """Use a listening socket that this process has inherited. The descriptor stays open, for the next reload."""
    try:
        sock = socket.socket(fileno=os.dup(fd))
    except OSError as error:
        reason = (
            "no such descriptor was inherited" if error.errno == errno.EBADF else f"is no socket ({error.strerror})"
        )
        raise ListenerError(f"cannot listen on {listener.bind}: {reason}") from error
    if sock.type != socket.SOCK_STREAM:
        sock.close()
        raise ListenerError(f"cannot listen on {listener.bind}: it is not a stream socket")
    try:
        sock.listen(listener.backlog)
    except OSError as error:
        sock.close()
        raise ListenerError(
            f"cannot listen on {listener.bind}: it is not bound to an address ({error.strerror})"
        ) from error
    sock.setblocking(False)
    return BoundListener(sock, _name(sock))


def _name(sock: socket.socket) -> str:
    """The address that a socket is bound to, in the form of `bind`."""
    place = sock.getsockname()
    if sock.family == socket.AF_UNIX:
        # An abstract name comes as octets that begin with NUL (unix(7)).
        return f"unix:@{os.fsdecode(place[1:])}" if isinstance(place, bytes) else f"unix:{place}"
    return str(TCPAddress(place[0], place[1]))


def _explain(error: OSError, address: TCPAddress) -> str:
    match error.errno:
        case errno.EADDRINUSE:
            holder = describe_port_holder(address.port)
            return f"the port is in use by {holder}" if holder else "the port is in use"
        case errno.EACCES:
            return "permission denied: ports below 1024 want root or CAP_NET_BIND_SERVICE (workers.user drops it again)"
        case errno.EADDRNOTAVAIL:
            return f"{address.host} is not an address of this machine"
    return error.strerror or str(error)


def close(listeners: Sequence[BoundListener]) -> None:
    for listener in listeners:
        listener.close()
