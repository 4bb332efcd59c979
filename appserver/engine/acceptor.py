"""Taking connections from one listener, in competition with the other workers."""

from __future__ import annotations

import asyncio
import errno
import math
import select
import socket
from collections.abc import Callable
from ipaddress import ip_address
from typing import Any

from appserver.engine.first_transport import FirstTransport
from appserver.engine.link import Link
from appserver.engine.listener import Listener
from appserver.engine.opening import open_connection
from appserver.engine.scope import scope_template
from appserver.engine.service import Service, start_task
from appserver.engine.work import OpenConnection
from appserver.proxy import Address

STEP_BACK = 0.002
MAX_STEPS = 5
"""For so many seconds a busier worker leaves a waiting connection to the others, for each connection that it has more
than the least busy one, up to five. If those do not take it they are busy in another way, and it does."""

EXHAUSTED_PAUSE = 0.5
"""Seconds without accepting when the process or the system is out of descriptors or memory: they will not be there at
once, and the waiting connection would wake the loop until they are."""

COMPLAINT_INTERVAL = 10.0
"""Seconds between two log records about that, at least."""

EXHAUSTED = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}

ROOM_PAUSE = 0.02
"""Seconds until the next look for an idle connection, where none is: those that have just come may have no transport yet."""

LOST = {
    errno.ECONNABORTED, errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.ENETDOWN, errno.ENETUNREACH, errno.ENONET,
    errno.ENOPROTOOPT, errno.EOPNOTSUPP, errno.EPERM, errno.EPROTO, errno.ETIMEDOUT,
}  # fmt: skip
"""Errors of accept(2) about one connection: what became of it while it waited, or (EPERM) that a firewall forbids it. accept(2) hands that on, and
says to treat it as no connection; the next one may be sound."""

BATCH = 64
"""So many connections at most are taken in one turn of the event loop."""

MAX_BACKLOG = 65_536
"""More connections than a backlog can hold."""


class Acceptor:
    """Accepts from one listener while there is room.

    All workers wait on the same socket. An epoll descriptor of its own with EPOLLEXCLUSIVE, inside the one of the event
    loop, keeps a connection from waking them all. A worker that has more open connections than the ready one with the
    fewest steps back for a moment, once for each connection: otherwise the one that happens to be awake takes most of
    them, and keeps them as long as they stay open.
    """

    def __init__(
        self, service: Service, listener: Listener, max_connections: float, *, makes_room: bool = False
    ) -> None:
        """`max_connections`: beyond so many open connections of the service, others wait in the backlog.

        With `makes_room` they do not: the connection that has been idle the longest is closed for each.
        """
        self._makes_room = makes_room
        self._service = service
        self._listener = listener
        self._max_connections = max_connections
        self._epoll: select.epoll | None = None
        self._waiting = False
        self._timer: asyncio.TimerHandle | None = None
        self._stepped_back = False
        self._complained_at = -math.inf
        self._failures = 0  # that nobody has been told of
        # Connections that wait for their first transport, with their sockets' descriptors; the service does not know them yet.
        self._adopted: dict[Link, int] = {}
        if listener.socket.family != socket.AF_UNIX:
            # Accepted sockets inherit it, and asyncio sets it only on those of which it knows that they are TCP.
            listener.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._peer_address = _address_v6 if listener.socket.family == socket.AF_INET6 else _address
        self._kind = (int(listener.socket.family), int(listener.socket.type), listener.socket.proto)
        self._complete = _completion(listener.socket)
        server = _server_address(listener)
        self._template = None if server is None else self._make_template(server)

    @property
    def adopting(self) -> bool:
        """Whether a connection has been accepted that the service does not know yet."""
        return bool(self._adopted)

    def descriptors(self) -> list[int]:
        """The descriptors that it has besides the listening socket. May be called from another thread."""
        epoll = self._epoll
        return [*self._adopted.values(), *([] if epoll is None else [epoll.fileno()])]

    def start(self) -> None:
        self._epoll = select.epoll()
        self._epoll.register(self._listener.socket, select.EPOLLIN | select.EPOLLEXCLUSIVE)
        self.resume()

    def stop(self) -> None:
        """Take what the backlog still holds, then accept no more. The listening socket stays open."""
        if self._epoll is None:
            return
        self._pause()
        for _ in range(MAX_BACKLOG):
            if not self._accept():
                break
        self._end()

    def _end(self) -> None:
        self._pause()
        if self._epoll is not None:
            self._epoll.close()
            self._epoll = None

    def resume(self) -> None:
        """Wait for connections (again)."""
        if self._epoll is not None and not self._waiting and self._timer is None:
            self._waiting = True
            self._service.loop.add_reader(self._epoll.fileno(), self._woken)

    def _pause(self, seconds: float | None = None) -> None:
        """Do not wait for connections for so many seconds, or until `resume`."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._waiting:
            assert self._epoll is not None
            self._waiting = False
            self._service.loop.remove_reader(self._epoll.fileno())
        if seconds is not None:
            self._timer = self._service.loop.call_later(seconds, self._pause_over)

    def _pause_over(self) -> None:
        self._timer = None
        self.resume()

    def _woken(self) -> None:
        """Take connections, as long as there are any, there is room, and no other worker should take them."""
        for _ in range(BATCH):
            victim = None
            if self._max_connections < math.inf and self._is_full():
                victim = self._service.registry.longest_idle() if self._makes_room else None
                if victim is None:
                    self._pause(ROOM_PAUSE if self._makes_room else None)
                    return
            ahead = self._service.slot.connections_ahead()
            if ahead > 1 and not self._stepped_back:
                self._stepped_back = True
                self._pause(STEP_BACK * min(ahead, MAX_STEPS))
                return
            self._stepped_back = False
            if not self._accept():
                return
            if victim is not None:
                self._make_room(victim)
                return

    def _is_full(self) -> bool:
        connections = self._service.registry.connections
        return len(connections) + len(self._adopted.keys() - connections) >= self._max_connections

    def _make_room(self, victim: OpenConnection) -> None:
        """Close a connection for another one that has been taken.

        Its descriptor is free in the next turn of the event loop: none is taken until then, or a client that comes again and again
        would have all descriptors taken in one turn.
        """
        victim.abort()
        self._service.registry.connections.discard(victim)

    def _accept(self) -> bool:
        """Take one connection; returns whether another one may be waiting."""
        try:
            descriptor, peer = self._listener.socket._accept()  # type: ignore[attr-defined]  # as `accept`, but a descriptor
        except BlockingIOError:
            return False  # another worker was quicker
        except OSError as error:
            if error.errno in LOST:
                return True
            if error.errno == errno.EINVAL:  # the master has shut the socket down, and the backlog is empty
                self._end()
                return False
            if error.errno not in EXHAUSTED:
                raise
            self._complain(error)
            self._pause(EXHAUSTED_PAUSE)
            return False
        connected = socket.SocketType(*self._kind, descriptor)
        template = self._template or self._make_template(self._peer_address(connected.getsockname()))
        address = self._peer_address(peer) if peer else None
        link, protocol = open_connection(self._service, self._listener, self._service.peer(address, template))
        self._service.slot.connection_opened()
        if protocol is link:
            FirstTransport(self._service.loop, connected, self._complete, link).begin()
        else:
            self._adopted[link] = descriptor
            accepted = self._complete(connected)
            connected.detach()
            start_task(self._adopt(accepted, link, protocol), loop=self._service.loop)
        return True

    def _complain(self, error: OSError) -> None:
        """Say why connections are not accepted, but not at every attempt."""
        self._failures += 1
        now = self._service.clock()
        if now - self._complained_at >= COMPLAINT_INTERVAL:
            failures, self._failures = self._failures, 0
            self._complained_at = now
            detail = f"{error.strerror}: see workers.max_open_files and workers.max_connections"
            self._service.logger.error("cannot accept", listener=self._listener.name, failures=failures, detail=detail)

    async def _adopt(self, connected: socket.socket, link: Link, protocol: asyncio.Protocol) -> None:
        """Give a connection its transport, where something stands in front of HTTP."""
        try:
            await self._service.loop.connect_accepted_socket(lambda: protocol, connected)
        except OSError:
            connected.close()  # the client has gone already
            self._service.slot.connection_closed()
            self._service.registry.vacated()
        finally:
            del self._adopted[link]

    def _make_template(self, server: tuple[str, int | None]) -> dict[str, Any]:
        scheme = "https" if self._listener.tls else "http"
        service = self._service
        return scope_template(
            scheme=scheme, server=server, root_path=service.root_path, strips_prefix=service.strips_prefix
        )


def _completion(listening: socket.socket) -> Callable[[socket.SocketType], socket.socket]:
    """Makes the socket that event loops want of one without all that Python adds, which costs as much as accepting.

    The descriptor is the same, so the first socket has to be detached from it. Event loops ask a socket for its family and type
    several times, and `socket.socket` makes an enumeration's member of each answer.
    """
    family, kind, protocol = listening.family, listening.type, listening.proto

    class Accepted(socket.socket):
        family = listening.family
        type = listening.type

    def complete(connected: socket.SocketType) -> socket.socket:
        accepted = Accepted(family, kind, protocol, connected.fileno())
        accepted.setblocking(False)
        return accepted

    return complete


def _address(name: Any) -> Address:
    """Host and port of a socket's name, which has more than that for IPv6."""
    return name[0], name[1]


def _address_v6(name: Any) -> Address:
    """The same for a socket that may take IPv4 connections as well: their addresses are mapped into IPv6."""
    host: str = name[0]
    return host.removeprefix("::ffff:") if "." in host else host, name[1]


def _server_address(listener: Listener) -> tuple[str, int | None] | None:
    """The `server` of every connection of this listener; None if it depends on the address that the client chose."""
    name = listener.socket.getsockname()
    if listener.socket.family == socket.AF_UNIX:
        if listener.name.startswith("unix:/"):
            return listener.name.removeprefix("unix:"), None  # it may have been bound by another path
        return (name if isinstance(name, str) else name.decode(errors="surrogateescape"), None)
    return None if ip_address(name[0].partition("%")[0]).is_unspecified else _address(name)
