"""A transport as the engine uses it: reading that can pause, writing that is waited for, time limits, ways to end.

Three moments are noted instead of timers: by when the client has to send something, by when it has to take something
of what is written, and by when the application has to be through. `deadline` is the earliest of them; the server looks
at it once a second and then calls `expire`.
"""

from __future__ import annotations

import asyncio
import math
import os
import socket
import struct
from typing import cast

from appserver.engine.exchange import Exchange
from appserver.engine.service import Service
from appserver.engine.waiters import Waiters

NEVER = math.inf

LINGER = 2.0
"""How long, in seconds, a client that has got its last answer may take to close its side."""

RESET = struct.pack("ii", 1, 0)  # struct linger: on, 0 seconds


class Link(asyncio.Protocol):
    """What a connection is made of below its protocol."""

    __slots__ = (
        "_aside", "_closing", "_finish_by", "_half_closed", "_read_by", "_reading", "_received", "_sent", "_service",
        "_transport", "_unwritten", "_write_by", "_writers", "congested", "deadline", "exchange",
    )  # fmt: skip

    _transport: asyncio.Transport

    def __init__(self, service: Service) -> None:
        self._service = service
        self.exchange: Exchange | None = None  # whose response is due
        self._reading = True
        self._half_closed = False  # the client will not send any more
        self._closing = False  # whatever the client still sends is not wanted
        self.congested = False  # the client does not take what is written
        self._writers: Waiters | None = None
        self._unwritten = 0  # octets that were to be written when that was last looked at
        self._aside = 0  # octets that are sent past the transport
        self._received = self._sent = 0  # octets that nobody has counted yet
        self._read_by = self._write_by = self._finish_by = self.deadline = NEVER

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's are none by inheritance
        self._service.connections.add(self)

    def hand_over(self, successor: Link) -> None:
        """Give the transport to another protocol, which goes on where this one stops."""
        successor.congested, successor._reading, successor._half_closed = (
            self.congested,
            self._reading,
            self._half_closed,
        )
        successor._received, successor._sent = self._received, self._sent
        self._service.connections.discard(self)
        successor.connection_made(self._transport)
        self._transport.set_protocol(successor)

    def connection_lost(self, error: Exception | None) -> None:  # noqa: ARG002  # why it was lost changes nothing
        service = self._service
        self._closing = True
        if self.congested:
            self.resume_writing()
        if self._received or self._sent:
            service.slot.traffic(self._received, self._sent)
        service.slot.connection_closed()
        service.connections.discard(self)
        service.vacated()

    @property
    def is_lost(self) -> bool:
        """Whether nothing can be sent any more."""
        return self._closing or self not in self._service.connections

    @property
    def encrypted(self) -> bool:
        return self._transport.get_extra_info("sslcontext") is not None

    @property
    def descriptor(self) -> int:
        """The descriptor of the socket."""
        descriptor: int = self._transport.get_extra_info("socket").fileno()
        return descriptor

    def count_sent(self, octets: int) -> None:
        """Count what has been sent past the transport."""
        self._sent += octets

    def write(self, parts: list[bytes]) -> None:
        """Write something small."""
        octets = b"".join(parts)
        self._sent += len(octets)
        self._transport.write(octets)

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

        The transport's descriptor cannot be watched, but a copy of it can.
        """
        descriptor = os.dup(self.descriptor)
        self._aside = left
        self.pause_writing()
        try:
            self._service.loop.add_writer(descriptor, self.resume_writing)
            await self.writable()
        finally:
            self._aside = 0
            self._service.loop.remove_writer(descriptor)
            os.close(descriptor)

    def _pause_reading(self) -> None:
        if self._reading and not self._half_closed:
            self._reading = False
            self._transport.pause_reading()

    def _resume_reading(self) -> None:
        if not self._reading and not self._half_closed:
            self._reading = True
            self._transport.resume_reading()

    # Time.

    def expire(self, now: float) -> None:
        """The deadline has passed: act on whichever moment it was."""
        if now >= self._finish_by:
            self._finish_by = NEVER
            self._application_is_late()
        elif now >= self._write_by:
            self._client_takes_nothing()
        elif now >= self._read_by:
            self._read_by = NEVER
            self._client_sends_nothing()
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

    # What the protocol above has to know.

    def _identity(self) -> dict[str, str]:
        """Whose connection this is, and what it is about, as far as that is known, as fields of a record."""
        raise NotImplementedError

    def _client_sends_nothing(self) -> None:
        """The client had to send something by now."""
        raise NotImplementedError

    def _application_is_late(self) -> None:
        """The application had to be through by now."""
        raise NotImplementedError

    def drain(self) -> None:
        """The worker stops: promise the client nothing that goes beyond what is under way."""
        raise NotImplementedError

    def close_if_idle(self) -> None:
        """Close the connection if nothing is under way."""
        raise NotImplementedError

    # Ends.

    def _close(self) -> None:
        """Close the connection as soon as everything is written."""
        self._closing = True
        self._read_by = NEVER
        self._transport.close()
        self._watch_writing()

    def _linger(self) -> None:
        """Close our side now, and all when the client closes its side, at the latest after LINGER.

        Closing both at once would have the kernel answer whatever the client is still sending with a reset, which may
        overtake the response and destroy it (RFC 9112 section 9.6).
        """
        if self._half_closed or not self._transport.can_write_eof():
            self._close()
            return
        self._closing = True
        self._resume_reading()
        try:
            self._transport.write_eof()
        except OSError:
            self.abort()  # the client has reset the connection
            return
        self._read_by = self._service.clock() + LINGER
        self._watch_writing()

    def _reset(self) -> None:
        """Close the connection so that the client cannot take it for a regular end."""
        self._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self.abort()

    def abort(self) -> None:
        """Close the connection at once; what is not written is lost."""
        self._closing = True
        self._read_by = self._write_by = NEVER
        self._transport.abort()
