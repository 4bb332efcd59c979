"""The listening sockets: bound before anything else happens, kept over reloads, closed by nobody but the master."""

from __future__ import annotations

import contextlib
import errno
import grp
import os
import pwd
import socket
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from appserver.errors import ListenerError
from appserver.files import Access, FileIdentity, bind_socket, change_socket, identify, remove_socket
from appserver.master.activation import Activation
from appserver.master.backlog import backlog_length
from appserver.master.handover import AdminListenerRecord, ListenerRecord
from appserver.master.port_holder import describe_port_holder
from appserver.master.syn_filter import drop_handshakes
from appserver.settings import ListenerSettings
from appserver.settings.address import (
    Address,
    DescriptorAddress,
    SystemdAddress,
    TCPAddress,
    UnixAddress,
    parse_address,
)
from appserver.telemetry.logs import get_logger
from appserver.worker.messages import ListenerGrant

Place = tuple[Address, int]
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


class ListenerSet:
    """Every listening socket of the server, by the address that the settings name.

    An address that is bound stays bound for as long as some settings want it: connections wait in its backlog while
    workers change, and none is refused.
    """

    def __init__(self, activation: Activation = NOTHING_PASSED, records: Iterable[ListenerRecord] = ()) -> None:
        """Hold what the program before this one has bound, if anything; `activation`: the sockets that systemd has passed.

        Raises ValueError if an address has no meaning.
        """
        self._activation = activation
        self._bound: dict[Place, tuple[BoundListener, ...]] = {}
        for record in records:
            place = parse_address(record.bind), record.index
            self._bound[place] = (*self._bound.get(place, ()), BoundListener.restore(record))

    def add(self, wanted: Sequence[ListenerSettings]) -> None:
        """Bind what is wanted and not bound yet, all of it or nothing; have the rest as it is wanted now.

        Raises ListenerError.
        """
        added: dict[Place, tuple[BoundListener, ...]] = {}
        places = _places(wanted)
        try:
            for place, listener in places.items():
                if place not in self._bound:
                    added[place] = bind(listener, self._activation)
                else:
                    for bound in self._bound[place]:
                        bound.check(listener)
        except ListenerError:
            for listeners in added.values():
                _close(listeners)
            raise
        self._bound.update(added)
        for place, listener in places.items():
            for bound in self._bound[place]:
                if bound.is_lost:
                    get_logger("appserver.master").error(
                        "socket file lost",
                        listener=bound.name,
                        reason="it has been removed, or another file has its place: no client can connect there",
                        advice="restart the server, which makes it anew",
                    )
                bound.adjust(listener)
        for place, listeners in added.items():
            for bound in listeners:
                get_logger("appserver.master").info("listening", listener=str(place[0]), address=bound.name)

    def keep(self, *wanted: Sequence[ListenerSettings]) -> None:
        """Close what none of these settings wants any more; clients are refused there, whoever still holds a copy."""
        kept = {place for listeners in wanted for place in _places(listeners)}
        gone = self._bound.keys() - kept
        self.refuse(gone)
        for place in gone:
            _close(self._bound.pop(place))

    def turn_away(self) -> None:
        """Let nobody connect any more, so that workers can take all who are connected.

        Sockets that were passed to this program are left alone: connections wait in them for its next start.
        """
        for bound in self._own(self._bound):
            with contextlib.suppress(OSError):  # it has been done before, or the kernel cannot
                drop_handshakes(bound.socket)

    def refuse(self, places: Iterable[Place] | None = None) -> None:
        """Have the kernel refuse connections, everywhere or at some places, although workers still hold the sockets.

        Those that are in a backlog are lost. Sockets that were passed to this program are left alone.
        """
        for bound in self._own(self._bound if places is None else places):
            with contextlib.suppress(OSError):  # it has been done before
                bound.socket.shutdown(socket.SHUT_RDWR)

    def _own(self, places: Iterable[Place]) -> Iterator[BoundListener]:
        """The sockets that this program has bound, and nobody else listens on."""
        for place in places:
            if _is_own(place):
                yield from self._bound[place]

    def names(self) -> list[str]:
        """The bound addresses, as people know them."""
        return [bound.name for listeners in self._bound.values() for bound in listeners]

    def urls(self, wanted: Sequence[ListenerSettings]) -> list[str]:
        """The bound addresses as URLs that a browser on this machine can open; a unix socket by its address."""
        return [
            url(bound.socket, bound.name, tls=listener.tls)
            for place, listener in _places(wanted).items()
            for bound in self._bound[place]
        ]

    def backlogs(self) -> dict[str, int]:
        """How many connections wait to be accepted, by listener; without those of which the kernel does not tell."""
        bound = [one for listeners in self._bound.values() for one in listeners]
        lengths = {one.name: backlog_length(one.socket) for one in bound}
        return {name: length for name, length in lengths.items() if length is not None}

    def grants(self, wanted: Sequence[ListenerSettings]) -> tuple[ListenerGrant, ...]:
        """The sockets that a zygote is given for its workers to accept on."""
        return tuple(
            ListenerGrant(bound.socket.fileno(), bound.name, listener.tls, listener.proxy_protocol, _is_own(place))
            for place, listener in _places(wanted).items()
            for bound in self._bound[place]
        )

    def records(self) -> list[ListenerRecord]:
        """The state for the program that takes over."""
        return [
            ListenerRecord(
                str(address),
                index,
                bound.socket.fileno(),
                bound.name,
                str(bound.path) if bound.path else None,
                bound.file,
            )
            for (address, index), listeners in self._bound.items()
            for bound in listeners
        ]

    def passed(self) -> list[int]:
        """The descriptors that this process was started with, for listeners that a reload may add."""
        return self._activation.descriptors()

    def close(self) -> None:
        """Close everything, and remove the files of unix sockets."""
        self.keep()


def url(listening: socket.socket, name: str, *, tls: bool) -> str:
    """Return the URL of a listening socket; every interface is called by the one that this machine surely has."""
    if listening.family == socket.AF_UNIX:
        return name
    host, port = listening.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)  # noqa: S104
    return f"{'https' if tls else 'http'}://{host}:{port}"


def _places(wanted: Sequence[ListenerSettings]) -> dict[Place, ListenerSettings]:
    """Tell listeners with the same address apart by their order: with port 0 each is a port of its own."""
    seen: Counter[Address] = Counter()
    places = {}
    for listener in wanted:
        places[listener.bind, seen[listener.bind]] = listener
        seen[listener.bind] += 1
    return places


def _is_own(place: Place) -> bool:
    """Whether this program binds what is there, and it is not passed to it."""
    return isinstance(place[0], TCPAddress | UnixAddress)


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
        case SystemdAddress(name):
            descriptors = activation.sockets.get(name)
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
            _close(bound)
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


def _close(listeners: Sequence[BoundListener]) -> None:
    for listener in listeners:
        listener.close()
