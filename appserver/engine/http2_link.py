"""The transport of a connection that speaks HTTP/2: when something is written, and when the connection ends."""

from __future__ import annotations

from appserver.engine.link import NEVER, Link
from appserver.engine.service import Service
from appserver.http2.connection import Connection
from appserver.http2.errors import Code
from appserver.http2.stream import Stream

WRITE_SIZE = 64 * 1024
"""Octets of bodies that are handed to the transport at once."""

UNREAD_LIMIT = 64 * 1024
"""While so many octets wait to be written for a client that does not read, nothing is read of it."""

QUIET_TIMEOUT = 1.0
"""So many seconds a connection that is to end waits for a moment at which no stream is open."""

CROSSING_TIME = 1.0
"""So many seconds streams are taken that cross the first GOAWAY: longer than octets are under way."""

GRACE = 0.5
"""So many seconds, or one more, a client may go on with a request whose response is complete: longer than octets are under way.

That is less than LINGER, for the end of a connection: here the time takes one of `http2.max_concurrent_streams` away from the
client, and a drain waits for it.
"""


class HTTP2Link(Link):
    """Writes once at the end of a turn of the event loop, for everything that has happened in it.

    No more is taken out of the streams than the transport takes, so that urgency counts up to the end.
    """

    __slots__ = (
        "_flush_due",
        "_goodbye_by",
        "_leave_after",
        "_leave_by",
        "_served",
        "_streams_shown",
        "_uncounted",
        "http2",
    )

    def __init__(self, service: Service, http2: Connection) -> None:
        super().__init__(service)
        self.http2 = http2
        self._flush_due = False
        self._leave_by = NEVER  # the connection is to end, and its client told by then
        self._leave_after = 0  # and at the first quiet moment behind so many requests
        self._goodbye_by = NEVER  # the client has been told, and what it begins after that is refused
        self._served = 0  # requests so far
        self._uncounted = 0  # streams that have begun since the scoreboard was told
        self._streams_shown = 0  # open ones, as the scoreboard knows them

    def _count_streams(self) -> None:
        """Tell the scoreboard which streams have begun and ended."""
        more_open = len(self.http2.streams) - self._streams_shown
        if more_open or self._uncounted:
            self._service.slot.http2.count_streams(self._uncounted, more_open)
            self._streams_shown += more_open
            self._uncounted = 0

    def flush_soon(self) -> None:
        """Write what there is to be written at the end of this turn."""
        if not self._flush_due:
            self._flush_due = True
            self._service.loop.call_soon(self._flush)

    def _flush(self) -> None:
        """Write until nothing is left, or the transport is full."""
        self._flush_due = False
        if self._closing:
            return
        http2 = self.http2
        while not self.congested and (octets := http2.octets_to_send(WRITE_SIZE)):
            if self._leave_by != NEVER and not http2.streams:
                octets += self._announcement()
            self.write(octets)
        self._count_streams()
        if not http2.streams and not self.congested:
            self._rest()

    def _is_unread(self) -> bool:
        """Whether the client does not take its responses: those without a body wait for no window, and end their streams at once."""
        return self.congested and self.http2.pending >= UNREAD_LIMIT and not self._closing

    def _read_on(self) -> None:
        """Read again, if the client reads."""
        if not self._closing and not self._is_unread():
            self.resume_reading()

    def _rest(self) -> None:
        """No stream is open: end the connection, or wait for the next request."""
        http2 = self.http2
        if self._leave_by != NEVER:
            if announcement := self._announcement():  # the last stream has ended by the client
                self.write(announcement)
            if self._goodbye_by != NEVER:
                if self._service.clock() < self._goodbye_by and not http2.client_leaves:
                    self.send_by(self._goodbye_by)
                    return
                http2.refuse_streams()
                self.write(http2.octets_to_send(0))
        if http2.refuses_streams or http2.client_leaves:
            self.linger()
        elif self._read_by == NEVER:
            self._read_by = self._service.clock() + self._service.keepalive_timeout
            self._set_deadline()

    # Requests that go on behind their responses.

    def on_unread(self, stream: Stream) -> None:
        """Call the request off: at once if the application has answered it, in a while if it is refused.

        Many clients that are still sending lose a response with RST_STREAM right behind it (curl 7.88, httpx), and a refusal is
        what they should not lose. Others take it for a failure of their own if an answer that is none ends without
        the reset (curl 8.22), as RFC 9113 section 8.1 has it.
        """
        carrier = stream.carrier
        if carrier is not None and carrier.on_wire and carrier.status < 400:
            self.http2.reset(stream, Code.NO_ERROR)
            return
        self.http2.let_in(stream)
        stream.moved = self._service.clock()
        self._finish_by = min(self._finish_by, stream.moved + GRACE)
        self._set_deadline()

    def _call_off(self, stream: Stream, now: float) -> bool:
        """Reset a stream whose response is complete, if the client has had the time to read that; returns whether it has."""
        if self.congested or now < stream.moved + GRACE:  # the end of the response may wait to be written
            return False
        self.http2.reset(stream, Code.NO_ERROR)
        return True

    # Ends.

    def _leave(self) -> None:
        """End the connection at the first quiet moment behind a response: behind the next one, if none is under way.

        A client that goes on and on is told after a second, when it has begun another request; then those that cross the
        GOAWAY are served until it has seen that (RFC 9113 section 6.8).
        """
        self._leave_by = self._service.clock() + QUIET_TIMEOUT
        self._leave_after = self._served if self.http2.streams else self._served + 1

    def _announcement(self) -> bytes:
        """The GOAWAY that tells the client that the connection ends, if this is the moment for it: no stream is open.

        It has to leave in one write with the response before it. Clients that stand on the library `h2` take nothing behind a
        first GOAWAY; so they read both at once, and lose nothing.
        """
        http2 = self.http2
        if self._served < self._leave_after or http2.draining:
            return b""
        http2.announce_end(ask=False)
        self._goodbye_by = self._service.clock() + CROSSING_TIME
        return http2.octets_to_send(0)

    def _say_goodbye(self) -> None:
        """Take no more streams from now on; end the connection when those that are open are complete."""
        self.http2.refuse_streams()
        self._flush()
