"""The sending half of a connection: frames in the order in which they leave, and windows (RFC 9113 section 5.2).

Frames that are not subject to flow control leave in the order in which they were sent. Bodies leave at once while nothing waits and
the windows allow it; else they wait with their stream, and `Schedule` says whose turn it is.
"""

from __future__ import annotations

from typing import Final

from appserver.http.fields import Fields
from appserver.http2.compression import Encoder
from appserver.http2.errors import Flood
from appserver.http2.floods import Allowance
from appserver.http2.frames import (
    DATA,
    DEFAULT_WINDOW,
    END_HEADERS,
    END_STREAM,
    HEADER,
    HEADER_SIZE,
    HEADERS,
    MIN_FRAME_SIZE,
    NUMBER,
    RST_STREAM,
    frame,
    header_frames,
)
from appserver.http2.handler import Handler
from appserver.http2.schedule import Schedule
from appserver.http2.states import SENT, Event, Ignore, State
from appserver.http2.stream import QUEUE_LIMIT, Stream

DIRECT_LIMIT: Final = 64 * 1024
"""While so many octets wait to be written, bodies wait with their streams, where urgency counts."""

CONTROL_LIMIT: Final = 64 * 1024
"""So many octets of answers to a client's frames wait at most for a client that does not read them."""

REMEMBERED: Final = 1000
"""So many streams that the server has reset are remembered, for what may still arrive on them."""

LITTLE: Final = 256
"""A frame of fewer octets, for which a client has opened a window, is no work of use (CVE-2019-9511)."""

_AFTER_RESPONSE: Final = {
    state: after for state, answers in SENT.items() if isinstance(after := answers[Event.END], State)
}
"""The state behind the end of a response, by the state before it."""

_RECEIVING: Final = (State.OPEN, State.HALF_CLOSED_LOCAL)


class Outbound:
    """`octets_to_send` returns what is to be written, however much of it has come together in one turn."""

    __deletable__ = ("_handler",)  # mypyc asks for that
    __slots__ = (
        "_control_size", "_encoder", "_handler", "_out", "_reset_streams", "_schedule", "control", "max_frame_size", "now",
        "pending", "resets", "send_window", "streams",
    )  # fmt: skip

    def __init__(self, handler: Handler, resets: Allowance, control: Allowance) -> None:
        self.now = 0.0  # the time, in seconds; while streams are open, it is to be set once a second
        self.streams: dict[int, Stream] = {}
        self.send_window = DEFAULT_WINDOW
        self.max_frame_size = MIN_FRAME_SIZE  # what the client takes
        self.pending = 0  # octets that can be written at once
        self.resets = resets
        self.control = control
        self._handler = handler
        self._encoder = Encoder()
        self._schedule: Schedule | None = None  # until something has to wait, which on most connections nothing does
        self._out: list[bytes | memoryview] = []
        self._control_size = 0
        self._reset_streams: dict[int, None] | None = None  # those that the server has reset, the oldest first

    @property
    def wants_to_send(self) -> bool:
        """Whether `octets_to_send` has something to return."""
        return bool(self._out) or (self.send_window > 0 and bool(self._schedule))

    def octets_to_send(self, room: int) -> bytes:
        """The octets to be written now: everything but bodies, and of these about as much as there is `room` for.

        May call `on_writable`, and be called again if it was.
        """
        schedule = self._schedule
        if schedule is not None and schedule.members and self.pending < room:
            self._pump(schedule, room)
        octets = b"".join(self._out)
        self._out.clear()
        self.pending = self._control_size = 0
        return octets

    def send_head(self, stream: Stream, fields: Fields, *, end: bool = False) -> None:
        """Send the head of a response, or an interim one: fields in lower case, `:status` in front."""
        if stream.id not in self.streams:
            return
        self._send_block(stream, self._encoder.encode(fields), end)
        if end:
            stream.ending = True
            self._sent_end(stream)

    def send_data(self, stream: Stream, data: bytes, *, end: bool = False) -> None:
        """Send a piece of a body, which waits if it has to; see `Stream.congested`."""
        if stream.ending or stream.id not in self.streams:
            return
        size = len(data)
        if (
            not stream.queued
            and size <= stream.send_window
            and size <= self.send_window
            and size <= self.max_frame_size
            and self.pending < DIRECT_LIMIT
            and not (self._schedule is not None and self._schedule.members)
        ) or not (size or stream.queued):
            if not (size or end):
                return
            stream.send_window -= size
            self.send_window -= size
            out = self._out
            out.append(HEADER.pack(size >> 8, size & 0xFF, DATA, END_STREAM if end else 0, stream.id))
            out.append(data)
            self.pending += size + HEADER_SIZE
            stream.sent += size + HEADER_SIZE
            if end:
                stream.ending = True
                self._sent_end(stream)
            else:
                self.control.earn(2.0)
            return
        if not stream.queued:
            stream.moved = self.now
        stream.ending = end
        if size:
            stream.queue.append(data)
            stream.queued += size
            if stream.queued > QUEUE_LIMIT:
                stream.congested = True  # until `_pump` says that it is not, whatever is sent meanwhile
        if stream.send_window > 0:
            self._take_turns(stream)

    def send_trailers(self, stream: Stream, fields: Fields) -> None:
        """Send trailer fields, in lower case, behind what waits of the body; they end the response."""
        if stream.ending or stream.id not in self.streams:
            return
        stream.ending = True
        if stream.queued:
            stream.trailers = fields
        else:
            self._send_block(stream, self._encoder.encode(fields), True)
            self._sent_end(stream)

    def reset(self, stream: Stream, code: int) -> None:
        """End a stream with RST_STREAM, whatever waits on it; nothing happens if it has ended (section 6.4)."""
        if isinstance(SENT[stream.state][Event.RST_STREAM], Ignore) or stream.id not in self.streams:
            return
        self._send_reset(stream.id, code)
        self._end(stream, State.RESET)

    def _send_frame(self, octets: bytes) -> None:
        self._out.append(octets)
        self.pending += len(octets)

    def _send_reset(self, stream_id: int, code: int) -> None:
        self._send_frame(frame(RST_STREAM, 0, stream_id, NUMBER.pack(code)))
        self._handler.on_reset_frame("sent", code)

    def _send_block(self, stream: Stream, block: bytes, end: bool) -> None:
        size = len(block)
        if size <= MIN_FRAME_SIZE:
            flags = END_HEADERS | END_STREAM if end else END_HEADERS
            self._out.append(HEADER.pack(size >> 8, size & 0xFF, HEADERS, flags, stream.id))
            self._out.append(block)
            size += HEADER_SIZE
            self.pending += size
            stream.sent += size
            return
        octets = header_frames(stream.id, block, end_stream=end, max_frame_size=self.max_frame_size)
        self._send_frame(octets)
        stream.sent += len(octets)

    def _send_control(self, octets: bytes) -> None:
        """Send what the client has asked for by a frame. Raises ConnectionFailure if it reads none of these answers."""
        self._send_frame(octets)
        self._control_size += len(octets)
        if self._control_size > CONTROL_LIMIT:
            self._control_size = 0
            raise Flood("unread_answers", "the client does not read the answers to its frames")

    def _sent_end(self, stream: Stream) -> None:
        """The response is complete. A request that is not is wanted no further (section 8.1), which the handler says."""
        stream.state = state = _AFTER_RESPONSE[stream.state]
        self.resets.earn()
        self.control.earn(4.0)
        if state is State.CLOSED:
            self._end(stream, state)
        elif not stream.tunnel:
            self._handler.on_unread(stream)

    def _end(self, stream: Stream, state: State) -> None:
        """Forget a stream but for its state."""
        stream.state = state
        del self.streams[stream.id]
        if not self.streams:
            self.streams = {}  # as a dictionary keeps the room for what it has had
        if state is State.RESET:
            self._remember_reset(stream.id)
        if stream.queued:
            self._pass_over(stream)
            stream.queue.clear()
            stream.queued = 0
        if stream.congested:
            stream.congested = False
            self._handler.on_writable(stream)

    def _remember_reset(self, stream_id: int) -> None:
        """Keep in mind that the server has reset a stream."""
        known = self._reset_streams
        if known is None:
            known = self._reset_streams = {}
        known[stream_id] = None
        if len(known) > REMEMBERED:
            del known[next(iter(known))]

    def _take_turns(self, stream: Stream) -> None:
        """Take a stream into the schedule: something waits on it, and may be sent."""
        if self._schedule is None:
            self._schedule = Schedule()
        self._schedule.add(stream)

    def _pass_over(self, stream: Stream) -> None:
        """Take a stream out of the schedule, if it is there."""
        if self._schedule is not None:
            self._schedule.discard(stream)

    def _pump(self, schedule: Schedule, room: int) -> None:
        """Send what waits, a frame at a time, in the order of the schedule."""
        relieved: list[Stream] = []
        while schedule and self.send_window > 0 and self.pending < room:
            stream = schedule.next()
            self._send_queued(stream)
            if stream.congested and stream.queued <= QUEUE_LIMIT // 2:
                stream.congested = False
                relieved.append(stream)
        for stream in relieved:
            self._handler.on_writable(stream)

    def _send_queued(self, stream: Stream) -> None:
        """Send one frame of what waits on a stream."""
        limit = min(stream.send_window, self.send_window, self.max_frame_size)
        queue, offset, size = stream.queue, stream.offset, 0
        pieces: list[bytes | memoryview] = []
        while queue and size < limit:
            piece = queue[0]
            left = len(piece) - offset
            if left <= limit - size:
                pieces.append(memoryview(piece)[offset:] if offset else piece)
                queue.popleft()
                size += left
                offset = 0
            else:
                end = offset + limit - size
                pieces.append(memoryview(piece)[offset:end])
                size, offset = limit, end
        stream.offset = offset
        stream.queued -= size
        stream.send_window -= size
        self.send_window -= size
        stream.moved = self.now
        if size >= LITTLE or size < limit:
            self.control.earn(2.0)
        last = not stream.queued and stream.ending
        end_stream = last and stream.trailers is None
        self._out.append(HEADER.pack(size >> 8, size & 0xFF, DATA, END_STREAM if end_stream else 0, stream.id))
        self._out += pieces
        self.pending += size + HEADER_SIZE
        stream.sent += size + HEADER_SIZE
        if not stream.queued or stream.send_window <= 0:
            self._pass_over(stream)
        if last:
            if stream.trailers is not None:
                self._send_block(stream, self._encoder.encode(stream.trailers), True)
            self._sent_end(stream)
