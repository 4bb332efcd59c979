"""The transport of a connection in its first moments, before the event loop makes one for it.

A transport of the loop costs as much as a short request: questions for the names of the socket, a watch on its descriptor, two turns of
the loop, and the same at its end. Many a client comes with a request, takes the response and is gone: a proxy that keeps no connections,
a health check. For those the socket itself is enough: what has come with the connection is read when it is accepted, and what is
written goes to the kernel at once.

    accepted ─▶ read what is there ─▶ protocol ─▶ one turn of the loop ─┬─ closed: that was all
                                                                        └─ open: the loop's transport goes on

One turn is what an application needs that waits for nothing. Whatever goes beyond it needs the loop: to notice that the client
leaves, to read more, and to write what the kernel has not taken. Until the loop's transport is there, this one remembers
what was asked of it.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterable
from typing import Any, Final, cast

from appserver.engine.link import Link
from appserver.engine.service import start_task

READ_SIZE = 16 * 1024
"""Octets that are read at once: more than a request without a body has. The loop's transport reads the rest."""

HIGH_WATER = 64 * 1024
"""So much is held for a client that does not take it before its protocol is told to pause: as in the event loops."""

MAX_PIECES = 1024
"""Pieces that sendmsg(2) takes in one call: IOV_MAX of Linux."""

_FLAGS: Final = socket.MSG_NOSIGNAL | socket.MSG_DONTWAIT  # which spares a call to make the socket non-blocking


class FirstTransport(asyncio.Transport, asyncio.Protocol):
    """A transport for the protocol of a connection, and the first protocol of the loop's transport."""

    __deletable__ = ("_link",)  # mypyc asks for that
    __slots__ = (
        "_aborted", "_adopting", "_closing", "_complete", "_congested", "_ended", "_error", "_held", "_high", "_link", "_loop", "_over",
        "_settling", "_size", "_socket",
    )  # fmt: skip

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        connected: socket.SocketType,
        complete: Callable[[socket.SocketType], socket.socket],
        link: Link,
    ) -> None:
        """`complete` makes the socket that the loop's transport needs of the one that has been accepted."""
        self._loop = loop
        self._socket: socket.SocketType = connected
        self._complete = complete
        self._link = link
        self._held: list[bytes] = []  # what the kernel has not taken
        self._size = 0  # of that, in octets
        self._high = HIGH_WATER
        self._congested = False  # the protocol has been told to pause
        self._ended = False  # our side is to be closed behind what is held
        self._closing = False  # the connection is
        self._aborted = False  # at once
        self._adopting = False  # the event loop is at it, and has the socket
        self._over = False  # the connection is closed, or the loop's transport has it: nothing is asked of this one
        self._settling = False  # `_settle` will be called
        self._error: OSError | None = None  # by which the connection was lost

    def begin(self) -> None:
        """Give the protocol its connection, and what has come with it."""
        self._link.connection_made(self)
        try:
            data = self._socket.recv(READ_SIZE, socket.MSG_DONTWAIT)
        except BlockingIOError:
            self._adopt()
            return
        except OSError as error:
            self._end(error)
            return
        if not data:
            self._adopt()  # it will read the same, and knows what to do then
            return
        try:
            self._link.data_received(data)
        except Exception as error:  # noqa: BLE001  # as the transports of event loops do
            self._loop.call_exception_handler({"message": "a protocol failed", "exception": error, "transport": self})
            self.abort()
        if not self._over:
            self._settling = True
            self._loop.call_soon(self._settle)

    def _settle(self) -> None:
        """The application has had its turn."""
        if self._over:
            self._lose()
        else:
            self._settling = False
            self._adopt()

    def _adopt(self) -> None:
        self._adopting = True
        start_task(self._give_over(), loop=self._loop)

    async def _give_over(self) -> None:
        """Leave the connection to a transport of the event loop."""
        accepted = self._socket
        connected = self._complete(accepted)
        self._socket = connected  # without a moment in which a thread that forks would not see the descriptor
        accepted.detach()
        try:
            transport, _ = await self._loop.connect_accepted_socket(lambda: self, connected)
        except OSError as error:  # the client has gone already, or the system has no room for one more
            if self._adopting:
                self._adopting = False
                self._end(error)
            return
        if self._aborted:
            transport.abort()
        elif self._closing:
            transport.close()
        else:
            protocol = transport.get_protocol()
            if isinstance(protocol, Link) and not protocol.reading:
                # Not before: uvloop, and asyncio up to Python 3.11.4, begin to read when `connection_made` has returned, whatever it asks for.
                transport.pause_reading()

    # The side of the loop's transport.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        link, successor = self._link, cast("asyncio.Transport", transport)
        del self._link  # as at the end
        self._adopting = False
        self._over = True
        successor.set_protocol(link)
        link.change_transport(successor)
        if self._high != HIGH_WATER:
            successor.set_write_buffer_limits(high=self._high)
        if self._size and not self._aborted:
            successor.write(b"".join(self._held))
            self._held.clear()
        if self._congested and successor.get_write_buffer_size() <= self._high:
            link.resume_writing()  # otherwise the successor does, as it has paused the protocol once more
        if self._ended and not self._aborted:
            successor.write_eof()

    # The side of the protocol.

    def write(self, data: bytes | bytearray | memoryview[Any]) -> None:
        if self._over:
            return
        if self._size:
            self._hold(bytes(data))
            return
        try:
            sent = self._socket.send(data, _FLAGS)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            self._fail(error)
            return
        if sent < len(data):
            self._hold(bytes(data[sent:]))

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview[Any]]) -> None:
        pieces = list(list_of_data)
        if self._size or self._over or len(pieces) > MAX_PIECES:
            self.write(b"".join(pieces))
            return
        try:
            sent = self._socket.sendmsg(pieces, (), _FLAGS)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            self._fail(error)
            return
        if sent < sum(map(len, pieces)):
            self._hold(b"".join(pieces)[sent:])

    def _hold(self, data: bytes) -> None:
        """Keep what the kernel does not take."""
        self._held.append(data)
        self._size += len(data)
        self._check_size()

    def _check_size(self) -> None:
        if self._size > self._high and not self._congested:
            self._congested = True
            self._link.pause_writing()

    def _fail(self, error: OSError) -> None:
        """Nothing can be written any more."""
        if self._adopting:
            self.abort()
        else:
            self._end(error)

    def get_write_buffer_size(self) -> int:
        return self._size

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:  # noqa: ARG002
        self._high = HIGH_WATER if high is None else high
        if not self._over:
            self._check_size()

    def pause_reading(self) -> None:
        """Nothing is read before the loop's transport is there, and that is told by the protocol."""

    def resume_reading(self) -> None:
        """The same."""

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        """Close our side behind what has been written; raises OSError if the client has gone."""
        if self._size:
            self._ended = True
        elif not self._over:
            self._socket.shutdown(socket.SHUT_WR)

    def is_closing(self) -> bool:
        return self._closing

    def close(self) -> None:
        """Close the connection behind what has been written."""
        if self._closing:
            return
        self._closing = True
        if self._size or self._adopting:
            return
        try:
            self._socket.shutdown(socket.SHUT_WR)  # whoever else has the socket
        except OSError:
            pass  # the client has gone already
        self._end(None)

    def abort(self) -> None:
        """Close the connection; what the kernel has not taken is lost."""
        self._closing = self._aborted = True
        if not self._adopting:
            self._end(None)

    def _end(self, error: OSError | None) -> None:
        """The connection is over: close the socket, and tell the protocol, in the next turn of the loop."""
        if self._over:
            return
        self._closing = self._over = True
        self._held.clear()
        self._size = 0
        self._error = error
        if not self._settling:
            self._loop.call_soon(self._lose)

    def _lose(self) -> None:
        self._socket.close()
        self._link.connection_lost(self._error)
        del self._link  # it refers to this transport: not to be left to the garbage collector

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._link = cast("Link", protocol)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """The socket, which waits for nothing from here on; nothing else is known of the connection."""
        if name != "socket":
            return default
        if self._socket.fileno() >= 0:
            self._socket.setblocking(False)  # a file may be copied into it, and sendfile(2) has no flags for that
        return self._socket
