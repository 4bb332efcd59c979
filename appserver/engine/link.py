"""A transport as the engine uses it: reading that can pause, writing that is waited for, time limits, ways to end.

Three moments are noted instead of timers: by when the client has to send something, by when it has to take something
of what is written, and by when the protocol above has to be through with what it does. `deadline` is the earliest of
them; the server looks at it once a second and then calls `expire`.

The meaning of the octets is known above: `connection` speaks HTTP/1.1 over a link, `pipe` carries a WebSocket session over one,
`opening` what comes before either.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import math
import os
import select
import socket
import struct
import termios
from collections.abc import Sequence
from typing import cast

from appserver.engine.service import Service
from appserver.engine.waiters import Waiters
from appserver.engine.work import RequestWork

NEVER = math.inf

LINGER = 2.0
"""How long, in seconds, a client that has got its last answer may take to close its side."""

LOOK_FOR_ROOM = 0.05
"""Seconds between two looks whether the kernel takes more for the client, where no descriptor is left to be told by."""

INT = struct.Struct("i")

RESET = struct.pack("ii", 1, 0)  # struct linger: on, 0 seconds


class Link(asyncio.Protocol):
    """The socket, the transport and the shared service below a connection's protocol."""

    __slots__ = (
        "_aside", "_closing", "_copy", "_finish_by", "_half_closed", "_orderly", "_read_by", "_service", "_transport", "_untaken",
        "_unwritten", "_write_by", "_writers", "congested", "deadline", "reading", "received", "sent",
    )  # fmt: skip

    _transport: asyncio.Transport

    def __init__(self, service: Service) -> None:
        self._service = service
        self.reading = True
        self._half_closed = False  # the client will not send any more
        self._closing = False  # whatever the client still sends is not wanted
        self._orderly = False  # the client may take the end for a regular one
        self.congested = False  # the client does not take what is written
        self._writers: Waiters | None = None
        self._untaken = 0  # at the last look, while the connection lingers
        self._unwritten = 0  # size of the write buffer at the last check
        self._aside = 0  # octets that are sent past the transport
        self._copy = -1  # of the socket's descriptor
        self.received = self.sent = 0  # octets that nobody has counted yet
        self._read_by = self._write_by = self._finish_by = self.deadline = NEVER

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's are none by inheritance
        self._service.registry.connections.add(self)

    def change_transport(self, transport: asyncio.Transport) -> None:
        """Go on with another transport on the same socket."""
        self._transport = transport

    def hand_over(self, successor: Link) -> None:
        """Give the transport to another protocol, which goes on where this one stops."""
        successor.congested = self.congested
        successor.reading = self.reading
        successor._half_closed = self._half_closed
        successor.received, successor.sent = self.received, self.sent
        self._service.registry.connections.discard(self)
        successor.connection_made(self._transport)
        self._transport.set_protocol(successor)

    def connection_lost(self, error: Exception | None) -> None:
        service = self._service
        if self._orderly and error is None:
            self._end_sending()
        self._end()
        if self.congested:
            self.resume_writing()
        if self.received or self.sent:
            service.slot.traffic(self.received, self.sent)
        service.slot.connection_closed()
        service.registry.connections.discard(self)
        service.registry.vacated()

    @property
    def is_lost(self) -> bool:
        """Whether nothing can be sent any more."""
        return self._closing or self not in self._service.registry.connections

    @property
    def encrypted(self) -> bool:
        return self._transport.get_extra_info("sslcontext") is not None

    @property
    def descriptor(self) -> int:
        """That of the socket; negative if it is closed."""
        descriptor: int = self._transport.get_extra_info("socket").fileno()
        return descriptor

    def descriptors(self) -> tuple[int, int]:
        """All that refer to the socket; those that are closed are negative."""
        return self.descriptor, self._copy

    def untaken(self) -> int:
        """How much of what was written the client's kernel has not acknowledged, in bytes (SIOCOUTQ, tcp(7))."""
        waiting = self._transport.get_write_buffer_size() + self._aside
        try:
            (unacknowledged,) = INT.unpack(fcntl.ioctl(self.descriptor, termios.TIOCOUTQ, bytes(INT.size)))
        except (OSError, ValueError):
            return waiting  # it is closed already
        return waiting + int(unacknowledged)

    def connected(self) -> int:
        """The events of poll(2) for the client: POLLERR if it has reset the connection, POLLRDHUP if it has closed its side.

        That shows also while nothing is read. But what it has sent before may still be there to be read.
        """
        descriptor = self.descriptor
        if descriptor < 0:
            return 0
        poll = select.poll()
        poll.register(descriptor, select.POLLRDHUP)
        events = poll.poll(0)
        return events[0][1] if events else 0

    def count_sent(self, octets: int) -> None:
        """Count what has been sent past the transport."""
        self.sent += octets

    def write(self, octets: bytes) -> None:
        self.sent += len(octets)
        self._transport.write(octets)

    def write_pieces(self, pieces: list[bytes]) -> None:
        """The same without copying the pieces together, if the loop can do that."""
        self.sent += sum(map(len, pieces))
        self._transport.writelines(pieces)

    # Flow.

    def pause_writing(self) -> None:
        self.congested = True
        self._watch_writing()

    def resume_writing(self) -> None:
        self.congested = False
        self._write_by = NEVER
        if self._writers is not None:
            self._writers.wake()

    async def writable(self) -> None:
        """Wait until the client reads again, or is gone."""
        if self._writers is None:
            self._writers = Waiters(self._service.loop)
        while self.congested:
            await self._writers.wait()

    async def flush(self) -> None:
        """Wait until everything that has been written is with the kernel, or the client gone."""
        self._transport.set_write_buffer_limits(high=0)
        await self.writable()

    def stop_flushing(self) -> None:
        """Let the transport hold back again what the client does not take at once."""
        if not self.is_lost:
            self._transport.set_write_buffer_limits()

    async def room(self, left: int) -> None:
        """Wait until the kernel takes more for the client, or that is gone; `left` octets are to be sent past the transport.

        The transport's descriptor cannot be watched, but a copy of it can. A process that has no descriptor for that
        looks at the transport's again and again instead.
        """
        self._aside = left
        self.pause_writing()
        try:
            descriptor = os.dup(self.descriptor)
        except OSError:  # EMFILE, ENFILE
            await self._look_for_room()
            return
        self._copy = descriptor
        try:
            self._service.loop.add_writer(descriptor, self.resume_writing)
            await self.writable()
        finally:
            self._aside = 0
            self._service.loop.remove_writer(descriptor)
            self._copy = -1
            os.close(descriptor)

    async def _look_for_room(self) -> None:
        poll = select.poll()
        poll.register(self.descriptor, select.POLLOUT)
        try:
            while self.congested:
                if poll.poll(0):
                    self.resume_writing()
                else:
                    await asyncio.sleep(LOOK_FOR_ROOM)
        finally:
            self._aside = 0

    def pause_reading(self) -> None:
        if self.reading and not self._half_closed:
            self.reading = False
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        if not self.reading and not self._half_closed:
            self.reading = True
            self._transport.resume_reading()

    # Time.

    def expire(self, now: float) -> None:
        """The deadline has passed: act on whichever moment it was."""
        if now >= self._finish_by:
            self._finish_by = NEVER
            self._is_late(now)
        elif now >= self._write_by:
            self._client_takes_nothing()
        elif now >= self._read_by:
            self._read_by = NEVER
            self._client_sends_nothing()
        self._set_deadline()

    def send_by(self, moment: float) -> None:
        """The client has to send something by then."""
        self._read_by = moment
        self._set_deadline()

    def _set_deadline(self) -> None:
        self.deadline = min(self._read_by, self._write_by, self._finish_by)

    def _watch_writing(self) -> None:
        """Note how much there is to write, and by when some of it has to be written."""
        self._unwritten = self._transport.get_write_buffer_size() + self._aside
        self._write_by = self._service.clock() + self._service.write_timeout if self._unwritten else NEVER
        self._set_deadline()

    def _client_takes_nothing(self) -> None:
        before = self._unwritten
        self._watch_writing()
        if self._unwritten >= before:
            service = self._service
            service.slot.rejected("write_timeout")
            limit = f"the client took nothing for {service.write_timeout:g} s (http.write_timeout)"
            service.logger.info("connection closed", reason="write_timeout", detail=limit, **self._identity())
            self.abort()

    # For the protocol above.

    def works(self) -> Sequence[RequestWork]:
        """The work that is under way on the connection (see `work.OpenConnection`)."""
        return ()

    def _identity(self) -> dict[str, str]:
        """Client and subject of the connection, as far as they are known, as fields of a record."""
        raise NotImplementedError

    def _client_sends_nothing(self) -> None:
        """The client had to send something by now."""
        raise NotImplementedError

    def _is_late(self, now: float) -> None:
        """The protocol above had to be through by now."""
        raise NotImplementedError

    def drain(self) -> None:
        """The worker stops: promise the client nothing that goes beyond what is under way."""
        raise NotImplementedError

    def close_if_idle(self) -> None:
        """Close the connection if nothing is under way."""
        raise NotImplementedError

    # Ends.

    def _end(self) -> None:
        """Want nothing more of the client. Part of every end."""
        self._closing = True

    def close(self) -> None:
        """Close the connection as soon as everything is written."""
        self._end()
        self._orderly = True
        self._read_by = NEVER
        self._transport.close()
        self._watch_writing()

    def _end_sending(self) -> None:
        """Tell the client that nothing more comes, whoever else has the socket.

        Closing it, as the transport does now, says so only if no other process has it: one that the application has started
        by something else than Python, or that has not come to its exec yet. Sockets of uvloop cannot be shut down by it.
        """
        descriptor = self.descriptor
        if descriptor < 0:
            return
        with contextlib.suppress(OSError):  # the client has gone already
            sending = socket.socket(socket.AF_INET, socket.SOCK_STREAM, fileno=descriptor)
            try:
                sending.shutdown(socket.SHUT_WR)
            finally:
                sending.detach()

    def linger(self) -> None:
        """Close our side now, and all when the client closes its side, at the latest after LINGER.

        Closing both at once would have the kernel answer whatever the client is still sending with a reset, which may
        overtake the response and destroy it (RFC 9112 section 9.6).
        """
        if self._half_closed or not self._transport.can_write_eof():
            self.close()
            return
        self._end()
        self.resume_reading()
        try:
            self._transport.write_eof()
        except OSError:
            self.abort()  # the client has reset the connection
            return
        self._read_by = self._service.clock() + LINGER
        self._untaken = self.untaken()
        self._watch_writing()

    def _has_lingered(self) -> None:
        """The client has not closed its side in time: close the connection, unless it still takes what was written.

        What is in the transport is under `http.write_timeout`; what is with the kernel has to become less.
        """
        untaken = self.untaken()
        if self._transport.get_write_buffer_size() or 0 < untaken < self._untaken:
            self._untaken = untaken
            self._read_by = self._service.clock() + LINGER
        else:
            self.abort()

    def reset(self) -> None:
        """Close the connection so that the client cannot take it for a regular end."""
        self._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self.abort()

    def abort(self) -> None:
        """Close the connection at once; what is not written is lost."""
        self._end()
        self._orderly = False
        self._read_by = self._write_by = NEVER
        self._transport.abort()
