"""The frames that are no messages: settings, pings, windows, priorities, resets, and the end of a connection."""

from __future__ import annotations

from typing import Final

from appserver.http2.compression import Decoder
from appserver.http2.errors import Code, ConnectionFailure, Flood, StreamFailure, violation
from appserver.http2.floods import Allowance
from appserver.http2.frames import (
    ACK,
    DEFAULT_WINDOW,
    MAX_WINDOW,
    NUMBER,
    PING,
    SETTINGS,
    STREAM_MASK,
    WINDOW_UPDATE,
    frame,
)
from appserver.http2.handler import Handler
from appserver.http2.options import Options
from appserver.http2.outbound import Outbound
from appserver.http2.peer import HEADER_TABLE_SIZE, INITIAL_WINDOW_SIZE, MAX_FRAME, read_settings, table_sizes
from appserver.http2.priority import Priority, read_priority
from appserver.http2.states import RECEIVED, Answer, Event, Ignore, State
from appserver.http2.stream import Stream

DRAIN_PING: Final = b"draining"
"""The payload of the PING behind the first GOAWAY: its answer shows that the client has seen that GOAWAY."""

DECODED_FACTOR: Final = 4
"""A block may unpack to so many times http.max_header_size: up to there it costs its stream, beyond it the connection."""

STREAMS_PER_FRAME: Final = 4
"""To change the windows of so many streams counts as a control frame."""

DISCARD_LIMIT: Final = 16 * 1024 * 1024
"""The rest of a body is let in behind the end of the response if it has no more octets: a client sends so many in about a second."""

MAX_EARLY_PRIORITIES: Final = 100
"""So many streams may have a priority before they begin (RFC 9218 section 7.1)."""


def follow(answer: Answer) -> State | None:
    """The next state, or None if nothing is to be done. Raises StreamFailure, ConnectionFailure."""
    if isinstance(answer, State):
        return answer
    if isinstance(answer, Ignore):
        return None
    raise (ConnectionFailure if answer.of_connection else StreamFailure)(answer.code, answer.why)


class Control(Outbound):
    """The settings of both sides, and the control frames by which they keep to them."""

    __slots__ = (
        "_asked", "_credit", "_decoder", "_early_priorities", "_options", "_receive_window", "_send_window_at_first", "client_leaves",
        "greeted", "last_stream_id", "unanswered_settings",
    )  # fmt: skip

    def __init__(self, handler: Handler, options: Options, now: float) -> None:
        super().__init__(handler, Allowance(options.max_resets), Allowance(options.max_control_frames))
        self.now = now
        self.greeted = False  # the client's settings have arrived
        self.client_leaves = False  # the client has sent GOAWAY
        self.last_stream_id = 0
        self.unanswered_settings: float | None = now
        self._options = options
        self._decoder = Decoder(options.limits.max_header_size * DECODED_FACTOR)
        self._asked = False  # a PING with DRAIN_PING is to be answered
        self._early_priorities: dict[int, Priority] | None = None  # of streams that have not begun
        self._send_window_at_first = DEFAULT_WINDOW  # of a new stream
        self._receive_window = max(options.connection_window, DEFAULT_WINDOW)
        self._credit = 0  # octets that the client may send besides, once it is told

    def body_taken(self, stream: Stream, octets: int) -> None:
        """The application has taken so much of a body: the client may send as much again."""
        stream.credit += octets
        if stream.credit >= self._options.stream_window // 2 and stream.state in (State.OPEN, State.HALF_CLOSED_LOCAL):
            self._send_frame(frame(WINDOW_UPDATE, 0, stream.id, NUMBER.pack(stream.credit)))
            stream.receive_window += stream.credit
            stream.credit = 0

    def let_in(self, stream: Stream) -> None:
        """Open the windows for the rest of a body that nobody reads: some clients look at the response only when all has left them.

        Of one that is too large nothing more is let in than is allowed already. From here on it may end anywhere. The window of
        the connection is opened in advance, which `_count_received` makes up for.
        """
        left = DISCARD_LIMIT if stream.body_left is None else stream.body_left
        stream.body_left = None
        stream.credit = 0
        if left > DISCARD_LIMIT:
            return
        more = left - stream.receive_window
        if more > 0:
            self._send_frame(frame(WINDOW_UPDATE, 0, stream.id, NUMBER.pack(more)))
            stream.receive_window = left
        more = left - self._receive_window
        if more > 0:
            self._send_frame(frame(WINDOW_UPDATE, 0, 0, NUMBER.pack(more)))
            self._receive_window = left
            self._credit -= more

    def _count_received(self, size: int) -> None:
        """Count DATA against the connection's window, which is opened again at once: bodies that wait close their own."""
        if size > self._receive_window:
            raise ConnectionFailure(Code.FLOW_CONTROL_ERROR, "more DATA than the window of the connection allows")
        self._receive_window -= size
        self._credit += size
        if self._credit >= self._options.connection_window // 2:
            self._send_frame(frame(WINDOW_UPDATE, 0, 0, NUMBER.pack(self._credit)))
            self._receive_window += self._credit
            self._credit = 0

    def _spend(self, what: str, amount: float = 1.0) -> None:
        if not self.control.spend(self.now, amount):
            message = f"too many {what} for what the connection does (http2.max_control_frames)"
            raise Flood("control_frames", message)

    def _spend_reset(self) -> None:
        if not self.resets.spend(self.now):
            raise Flood("resets", "too many streams end early, or are refused (http2.max_resets)")

    def _answer(self, stream_id: int, event: Event) -> State | None:
        """Follow an event on a stream that is not open; returns its next state, None if nothing is to be done. Raises StreamFailure, ConnectionFailure."""
        if stream_id > self.last_stream_id or not stream_id % 2:
            state = State.IDLE
        else:
            state = self._state_behind_end(stream_id)
        return follow(RECEIVED[state][event])

    def _state_behind_end(self, stream_id: int) -> State:
        """The state of a stream that has ended."""
        known = self._reset_streams
        return State.RESET if known is not None and stream_id in known else State.CLOSED

    def _read_settings(self, flags: int, _stream_id: int, payload: bytes) -> None:
        if flags & ACK:
            if payload:
                raise ConnectionFailure(Code.FRAME_SIZE_ERROR, "an acknowledgement of SETTINGS has a payload")
            if self.unanswered_settings is not None:
                self.unanswered_settings = None
                self._decoder.limit_table(self._options.header_table_size)
            else:
                self._spend("acknowledgements of SETTINGS")
            if not self.greeted:
                raise violation("the first frame is not SETTINGS")
            return
        self.greeted = True
        self._spend("SETTINGS frames", 1 + len(payload) / 64)
        settings = read_settings(payload)
        if HEADER_TABLE_SIZE in settings:
            sizes = table_sizes(payload)
            self._encoder.limit_table(min(sizes))
            self._encoder.limit_table(sizes[-1])
        self.max_frame_size = settings.get(MAX_FRAME, self.max_frame_size)
        window = settings.get(INITIAL_WINDOW_SIZE, self._send_window_at_first)
        if window != self._send_window_at_first:
            self._spend("changes of the windows of all streams", len(self.streams) / STREAMS_PER_FRAME)
            self._change_windows(window)
        self._send_control(frame(SETTINGS, ACK, 0))

    def _change_windows(self, window: int) -> None:
        """Take SETTINGS_INITIAL_WINDOW_SIZE, also for the streams that are open (section 6.9.2)."""
        change = window - self._send_window_at_first
        self._send_window_at_first = window
        for stream in self.streams.values():
            self._open_window(stream, change, ConnectionFailure)

    def _open_window(self, stream: Stream, change: int, wrong: type[ConnectionFailure | StreamFailure]) -> None:
        stream.send_window += change
        if stream.send_window > MAX_WINDOW:
            raise wrong(Code.FLOW_CONTROL_ERROR, "the window of a stream is above 2^31-1")
        if stream.queued:
            if stream.send_window > 0:
                self._take_turns(stream)
            else:
                self._pass_over(stream)

    def _read_window_update(self, _flags: int, stream_id: int, payload: bytes) -> None:
        self._spend("WINDOW_UPDATE frames")
        (change,) = NUMBER.unpack(payload)
        change &= MAX_WINDOW
        stream = self.streams.get(stream_id)
        if stream is None and stream_id and self._answer(stream_id, Event.WINDOW_UPDATE) is None:
            return
        if not change:
            wrong = StreamFailure if stream_id else ConnectionFailure
            raise wrong(Code.PROTOCOL_ERROR, "WINDOW_UPDATE opens the window by 0")
        if stream is not None:
            self._open_window(stream, change, StreamFailure)
            return
        self.send_window += change
        if self.send_window > MAX_WINDOW:
            raise ConnectionFailure(Code.FLOW_CONTROL_ERROR, "the window of the connection is above 2^31-1")

    def _read_ping(self, flags: int, _stream_id: int, payload: bytes) -> None:
        if not flags & ACK:
            self._spend("PING frames")
            self._send_control(frame(PING, ACK, 0, payload))
        elif payload == DRAIN_PING and self._asked:
            self._asked = False
            self._handler.on_drained()
        else:
            self._spend("acknowledgements of PING")

    def _read_goaway(self, _flags: int, _stream_id: int, _payload: bytes) -> None:
        self._spend("GOAWAY frames")
        self.client_leaves = True

    def _read_reset(self, _flags: int, stream_id: int, payload: bytes) -> None:
        stream = self.streams.get(stream_id)
        if stream is None:
            self._answer(stream_id, Event.RST_STREAM)
            self._spend("RST_STREAM frames on streams that have ended")
            return
        self._spend_reset()
        self._handler.on_reset_frame("received", NUMBER.unpack(payload)[0])
        self._end(stream, State.CLOSED)
        self._handler.on_reset(stream, None)

    def _read_priority(self, _flags: int, stream_id: int, payload: bytes) -> None:
        """A priority of RFC 7540, of which only a mistake has a consequence (section 5.3.2)."""
        self._spend("PRIORITY frames")
        if NUMBER.unpack_from(payload)[0] & STREAM_MASK == stream_id:
            raise StreamFailure(Code.PROTOCOL_ERROR, "a stream depends on itself")

    def _read_priority_update(self, _flags: int, _stream_id: int, payload: bytes) -> None:
        """A priority of RFC 9218 section 7.1."""
        self._spend("PRIORITY_UPDATE frames")
        (stream_id,) = NUMBER.unpack_from(payload)
        stream_id &= STREAM_MASK
        if not stream_id % 2:
            raise violation("PRIORITY_UPDATE names no stream of the client")
        priority = read_priority(payload[4:])
        stream = self.streams.get(stream_id)
        if stream is not None:
            queued = self._schedule is not None and stream in self._schedule
            self._pass_over(stream)
            stream.priority = priority
            if queued:
                self._take_turns(stream)
        elif stream_id > self.last_stream_id:
            if self._early_priorities is None or len(self._early_priorities) >= MAX_EARLY_PRIORITIES:
                self._early_priorities = {}
            self._early_priorities[stream_id] = priority
