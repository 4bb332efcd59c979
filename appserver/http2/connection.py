"""The server's side of one HTTP/2 connection without I/O (RFC 9113): octets come in, events and octets go out.

    receive(octets) ─▶ frames ─▶ header blocks ─▶ on_request
                              └▶ windows ───────▶ on_data … on_end, or on_reset
    octets_to_send ◀─ schedule, windows ◀─ send_head, send_data, send_trailers, reset     (`Outbound`)

Whoever uses it writes `octets_to_send` once after every turn in which something has happened, whatever that was, and calls
`body_taken` when an application has taken octets of a body. A `ConnectionFailure` that `receive` raises is the end: GOAWAY
is among the octets to send, and nothing is to be received any more.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Set as AbstractSet
from typing import Final

from appserver.http2.blocks import ANY_STREAM, Blocks
from appserver.http2.control import DRAIN_PING, follow
from appserver.http2.errors import Code, ConnectionFailure, StreamFailure, violation
from appserver.http2.frames import (
    CONTINUATION,
    DATA,
    DEFAULT_WINDOW,
    END_STREAM,
    GOAWAY,
    HEADER,
    HEADER_SIZE,
    HEADERS,
    MAX_STREAM,
    MIN_FRAME_SIZE,
    NUMBER,
    PING,
    PREFACE,
    PRIORITY,
    PRIORITY_UPDATE,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    STREAM_MASK,
    WINDOW_UPDATE,
    check_shape,
    frame,
    goaway_frame,
    settings_frame,
    unpad,
)
from appserver.http2.handler import Handler
from appserver.http2.options import Options
from appserver.http2.outbound import LITTLE
from appserver.http2.states import RECEIVED, Event, State


class Connection(Blocks):
    """One connection. Make it, `receive` what arrives, and ask for `octets_to_send`, at once for the first time.

    `unanswered_settings` says since when the client has not acknowledged the settings, `incomplete_since` since when a
    preface or a header block has been incomplete (None: not at all). `last_stream_id` is the highest that was begun.
    """

    __slots__ = ("_expected", "_rest", "draining", "failure")

    def __init__(self, handler: Handler, options: Options, now: float) -> None:
        super().__init__(handler, options, now)
        self.failure: ConnectionFailure | None = None
        self.draining = False
        self._rest = b""
        self._expected = PREFACE  # what has to arrive before the first frame
        self._send_frame(settings_frame(options.settings()))
        if self._receive_window > DEFAULT_WINDOW:
            self._send_frame(frame(WINDOW_UPDATE, 0, 0, NUMBER.pack(self._receive_window - DEFAULT_WINDOW)))

    @property
    def refuses_streams(self) -> bool:
        """Whether no new stream is taken: see `refuse_streams`."""
        return self._last_allowed != ANY_STREAM

    # For the user of the connection.

    def receive(self, data: bytes, now: float) -> None:
        """Take what has arrived, and call the handler; raises ConnectionFailure, once."""
        if self.failure is not None:
            return
        self.now = now
        try:
            self._receive(data)
        except ConnectionFailure as failure:
            self.fail(failure)
            raise

    def fail(self, failure: ConnectionFailure) -> None:
        """End the connection with GOAWAY, as after a violation."""
        self.failure = failure
        self._rest = b""
        self._block = None
        self._send_frame(goaway_frame(self.last_stream_id, failure.code, str(failure).encode()))

    def abandoned(self, stream_ids: AbstractSet[int]) -> None:
        """Applications are at work for these streams although they have ended, or will without them.

        They count as streams: a client that resets its streams gets no more of the server than one that waits.
        """
        self._at_work = stream_ids
        self._abandoned = len(stream_ids)

    def discard(self, octets: int) -> None:
        """Count a piece of a body that nobody reads, and that is no work of use for it. Raises ConnectionFailure."""
        self._spend("little DATA frames that nobody reads", 1.0 if octets < LITTLE else 0.5)

    def forget(self) -> None:
        """The transport is gone. Nothing is sent any more; the handler is forgotten."""
        self.streams.clear()
        del self._handler

    def announce_end(self, *, ask: bool) -> None:
        """Say that no new streams will be taken soon, without refusing any yet (section 6.8).

        With `ask`, have the client answer when it has seen that: see `on_drained`.
        """
        if not self.draining and self.failure is None:
            self.draining = True
            self._send_frame(goaway_frame(MAX_STREAM, Code.NO_ERROR))
            if ask:
                self._asked = True
                self._send_frame(frame(PING, 0, 0, DRAIN_PING))

    def refuse_streams(self) -> None:
        """Take no new streams: those that the client begins from now on are refused, and can be tried elsewhere."""
        if self._last_allowed == ANY_STREAM and self.failure is None:
            self.draining = True
            self._last_allowed = self.last_stream_id
            self._send_frame(goaway_frame(self.last_stream_id, Code.NO_ERROR))

    # Frames.

    def _receive(self, data: bytes) -> None:
        if self._rest:
            data = self._rest + data
            self._rest = b""
        position, size = 0, len(data)
        if self._expected:
            position = self._read_preface(data)
        while size - position >= HEADER_SIZE:
            high, low, kind, flags, stream_id = HEADER.unpack_from(data, position)
            length = high << 8 | low
            if length > MIN_FRAME_SIZE:
                raise ConnectionFailure(Code.FRAME_SIZE_ERROR, f"a frame is larger than {MIN_FRAME_SIZE} octets")
            start = position + HEADER_SIZE
            if start + length > size:
                break
            position = start + length
            stream_id &= STREAM_MASK
            try:
                self._read_frame(kind, flags, stream_id, data[start:position])
            except StreamFailure as failure:
                self._fail_stream(stream_id, failure)
            if self.failure is not None:
                return
        self._rest = data[position:]

    def _read_preface(self, data: bytes) -> int:
        """Read the client's preface (section 3.4); returns how far it goes."""
        expected = self._expected
        if data[: len(expected)] != expected[: len(data)]:
            raise violation("the connection does not begin with the preface of HTTP/2")
        self._expected = expected[len(data) :]
        return min(len(expected), len(data))

    def _read_frame(self, kind: int, flags: int, stream_id: int, payload: bytes) -> None:
        if self._block is not None and (kind != CONTINUATION or stream_id != self._block_stream):
            raise violation("a header block is interrupted")
        if not self.greeted:
            if kind != SETTINGS:
                raise violation("the first frame is not SETTINGS")
            self.incomplete_since = None
        read = _READERS.get(kind)
        if read is None:
            self._spend("frames of unknown types")  # to be ignored (section 4.1)
            return
        check_shape(kind, stream_id, len(payload))
        read(self, flags, stream_id, payload)

    def _fail_stream(self, stream_id: int, failure: StreamFailure) -> None:
        """End a stream because of what the client has done; what it costs is counted (CVE-2025-8671)."""
        self._spend_reset()
        stream = self.streams.get(stream_id)
        if stream is not None:
            self.reset(stream, failure.code)
            self._handler.on_reset(stream, failure)
            return
        self._send_reset(stream_id, failure.code)
        if stream_id <= self.last_stream_id:
            self._remember_reset(stream_id)
        self._handler.on_rejected(stream_id, failure)

    # DATA.

    def _read_data(self, flags: int, stream_id: int, payload: bytes) -> None:
        size = len(payload)
        stream = self.streams.get(stream_id)
        if stream is None:
            # It counts for the connection's window all the same (section 5.1).
            self._answer(stream_id, Event.DATA)
            self._count_received(size)
            self._spend("DATA frames on streams that have ended", 0.5)
            return
        self._count_received(size)
        answer = RECEIVED[stream.state][Event.DATA]
        if type(answer) is not State:
            follow(answer)
        if size > stream.receive_window:
            raise StreamFailure(Code.FLOW_CONTROL_ERROR, "more DATA than the window of the stream allows")
        stream.receive_window -= size
        stream.received += size + HEADER_SIZE
        data = unpad(payload, flags)
        if len(data) < size:
            self.body_taken(stream, size - len(data))
        if data:
            left = stream.body_left
            if left is not None:
                if len(data) > left:
                    raise StreamFailure(Code.PROTOCOL_ERROR, "more DATA than content-length says")
                stream.body_left = left - len(data)
            self.control.earn(0.5)
            self._handler.on_data(stream, data)
        elif not flags & END_STREAM:
            self._spend("empty DATA frames")
        if flags & END_STREAM and stream_id in self.streams:
            self._end_request(stream)

    def _read_push(self, _flags: int, _stream_id: int, _payload: bytes) -> None:
        raise violation("a client cannot push (section 8.4)")


_READERS: Final[dict[int, Callable[[Connection, int, int, bytes], None]]] = {
    DATA: Connection._read_data,
    HEADERS: Connection._read_headers,
    PRIORITY: Connection._read_priority,
    RST_STREAM: Connection._read_reset,
    SETTINGS: Connection._read_settings,
    PUSH_PROMISE: Connection._read_push,
    PING: Connection._read_ping,
    GOAWAY: Connection._read_goaway,
    WINDOW_UPDATE: Connection._read_window_update,
    CONTINUATION: Connection._read_continuation,
    PRIORITY_UPDATE: Connection._read_priority_update,
}
