"""Header blocks, whole: those that begin a stream with a request, and those that end one with trailer fields."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from typing import Final

from appserver.errors import RequestError
from appserver.http.fields import Fields
from appserver.http.request import Request
from appserver.http2.control import Control, follow
from appserver.http2.errors import Code, ConnectionFailure, Flood, StreamFailure, violation
from appserver.http2.frames import (
    END_HEADERS,
    END_STREAM,
    HEADER_SIZE,
    MAX_STREAM,
    NUMBER,
    STREAM_MASK,
    WITH_PRIORITY,
    unpad,
)
from appserver.http2.handler import Handler
from appserver.http2.options import Options
from appserver.http2.priority import UNSAID, Priority
from appserver.http2.request import check_trailers, copy_request, interpret
from appserver.http2.states import RECEIVED, Event, State
from appserver.http2.stream import Stream

MAX_FRAMES: Final = 32
"""Frames of a header block at most; a client whose frames are full needs four for the default of http.max_header_size."""

FIELDS_PER_FRAME: Final = 16
"""So many fields beyond those that a request may have count as a control frame: decoding them takes as long."""

MEMO_SIZE: Final = 16
MEMO_BLOCK: Final = 1024
"""So many requests are remembered by their header blocks, none of which is larger."""
MEMO_FIELDS: Final = 8 * 1024
"""Octets of the fields of a request that is remembered, with their overhead: a block of a few octets may unpack to 64 KiB."""

MAX_GAPS: Final = 1000
"""So many gaps in the numbers of the streams are remembered: clients have one or two of them, at the beginning."""

_NONE: Final[frozenset[int]] = frozenset()

ANY_STREAM: Final = MAX_STREAM + 1
"""Above every number of a stream, also above the highest, which may be the last that is taken."""

_BROKEN: Final = 0x100
"""Not a flag of the wire: the stream of these HEADERS depends on itself, which is said when the block has been read."""


class Blocks(Control):
    """Puts header blocks together and begins streams.

    A client that repeats a request sends the same octets again. Their meaning is remembered while the decoder's table
    stays as it is, when they have come twice: that takes a fifth of the time, and a search in a dictionary where it does
    not apply. An idle connection that has asked once remembers no request.
    """

    __slots__ = (
        "_abandoned", "_at_work", "_block", "_block_flags", "_block_frames", "_block_size", "_block_stream", "_gaps",
        "_last_allowed", "_memo", "_memo_changes", "incomplete_since",
    )  # fmt: skip

    def __init__(self, handler: Handler, options: Options, now: float) -> None:
        super().__init__(handler, options, now)
        self.incomplete_since: float | None = now
        self._block: list[bytes] | None = None  # the header block that is arriving
        self._block_stream = self._block_flags = self._block_size = self._block_frames = 0
        self._memo: dict[bytes, tuple[Request, Priority] | None] = {}  # of requests without a body; None: seen once
        self._memo_changes = 0  # the changes of the decoder's table up to which it is right
        self._last_allowed = ANY_STREAM  # no stream above it is taken
        self._gaps: list[range] | None = None  # numbers below that of the last stream which no stream has had
        self._at_work: AbstractSet[int] = _NONE  # streams that may have ended while their application was at work
        self._abandoned = 0  # so many

    def _read_headers(self, flags: int, stream_id: int, payload: bytes) -> None:
        block = unpad(payload, flags)
        if flags & WITH_PRIORITY:
            if len(block) < 5:
                raise ConnectionFailure(Code.FRAME_SIZE_ERROR, "HEADERS breaks off in its priority")
            if NUMBER.unpack_from(block)[0] & STREAM_MASK == stream_id:
                flags |= _BROKEN
            block = block[5:]
        if flags & END_HEADERS:
            self._read_block(flags, stream_id, block)
            return
        self._block = [block]
        self._block_stream, self._block_flags = stream_id, flags
        self._block_size, self._block_frames = len(block), 1
        self.incomplete_since = self.now

    def _read_continuation(self, flags: int, stream_id: int, payload: bytes) -> None:
        if self._block is None:
            raise violation("CONTINUATION without HEADERS")
        self._block.append(payload)
        self._block_size += len(payload)
        self._block_frames += 1
        if self._block_size > self._options.limits.max_header_size:
            raise Flood("header_block", "a header block is larger than http.max_header_size")
        if self._block_frames > MAX_FRAMES:
            raise Flood("header_block", f"a header block of more than {MAX_FRAMES} frames")
        if flags & END_HEADERS:
            block = b"".join(self._block)
            self._block = self.incomplete_since = None
            self._read_block(self._block_flags, stream_id, block)

    def _read_block(self, flags: int, stream_id: int, block: bytes) -> None:
        """Read a complete block. It is decoded whatever becomes of it, as the table depends on it (section 4.3)."""
        if stream_id > self.last_stream_id and stream_id % 2:
            self._read_head(flags, stream_id, block)
            return
        stream = self.streams.get(stream_id)
        if stream is not None:
            self._read_trailers(stream, block, complete=bool(flags & END_STREAM))
            return
        if not stream_id % 2:
            raise violation("a stream of the client with an even number")
        state = self._state_behind_end(stream_id)
        if state is State.CLOSED and self._gaps is not None and any(stream_id in gap for gap in self._gaps):
            raise violation("the number of a stream is not above those before it")
        follow(RECEIVED[state][Event.HEADERS])
        self._decode(block)
        self._spend("HEADERS on streams that have ended")

    def _decode(self, block: bytes) -> Fields:
        """Decode a block; what is beyond the number of fields that a request may have is paid for."""
        fields = self._decoder.decode(block)
        beyond = len(fields) - self._options.limits.max_headers
        if beyond > 0:
            self._spend("fields beyond http.max_headers", beyond / FIELDS_PER_FRAME)
        return fields

    def _read_head(self, flags: int, stream_id: int, block: bytes) -> None:
        decoder = self._decoder
        if self._memo_changes != decoder.changes:
            self._memo.clear()
            self._memo_changes = decoder.changes
        complete = bool(flags & END_STREAM)
        known = self._memo.get(block) if complete else None
        fields = self._decode(block) if known is None else []
        if stream_id > self.last_stream_id + 2:
            self._note_gap(stream_id)
        self.last_stream_id = stream_id
        if stream_id > self._last_allowed:
            raise StreamFailure(Code.REFUSED_STREAM, "a stream behind GOAWAY")
        if len(self.streams) + self._abandoned >= self._options.max_concurrent_streams and self._is_full():
            raise StreamFailure(Code.REFUSED_STREAM, "more streams than http2.max_concurrent_streams")
        if flags & _BROKEN:
            raise StreamFailure(Code.PROTOCOL_ERROR, "a stream depends on itself")
        error = None
        if known is None:
            try:
                known = self._interpret(fields, block, complete=complete)
            except RequestError as refusal:
                error = refusal
        stream = self._begin(stream_id, complete=complete)
        stream.received = len(block) + HEADER_SIZE
        if known is None:
            assert error is not None
            method = next((value for name, value in fields if name == b":method"), b"")
            self._handler.on_unservable(stream, error, method.decode("latin-1"))
            return
        request, priority = known
        stream.body_left = request.content_length
        if priority is not UNSAID and stream.priority is UNSAID:
            stream.priority = priority
        self._handler.on_request(stream, copy_request(request), complete=complete)

    def _note_gap(self, stream_id: int) -> None:
        """Remember the numbers that the client leaves out, and cannot use any more (section 5.1.1)."""
        if self._gaps is None:
            self._gaps = []
        elif len(self._gaps) >= MAX_GAPS:
            del self._gaps[0]
        self._gaps.append(range(self.last_stream_id + 1, stream_id))

    def _is_full(self) -> bool:
        """Whether as many streams as there may be are open, or have an application at work."""
        return len(self.streams.keys() | self._at_work) >= self._options.max_concurrent_streams

    def _interpret(self, fields: Fields, block: bytes, *, complete: bool) -> tuple[Request, Priority]:
        options, decoder = self._options, self._decoder
        known = interpret(
            fields,
            decoder.list_size,
            options.limits,
            complete=complete,
            extended_connect=options.extended_connect,
        )
        if (
            complete
            and self._memo_changes == decoder.changes
            and len(block) <= MEMO_BLOCK
            and decoder.list_size <= MEMO_FIELDS
        ):
            if len(self._memo) >= MEMO_SIZE:
                self._memo.clear()
            self._memo[block] = known if block in self._memo else None
        return known

    def _begin(self, stream_id: int, *, complete: bool) -> Stream:
        stream = Stream(stream_id, self._send_window_at_first, self._options.stream_window)
        stream.state = State.HALF_CLOSED_REMOTE if complete else State.OPEN
        stream.moved = self.now
        if self._early_priorities:
            stream.priority = self._early_priorities.pop(stream_id, UNSAID)
        self.streams[stream_id] = stream
        return stream

    def _read_trailers(self, stream: Stream, block: bytes, *, complete: bool) -> None:
        fields = self._decode(block)
        stream.received += len(block) + HEADER_SIZE
        follow(RECEIVED[stream.state][Event.HEADERS])
        if not complete:
            raise StreamFailure(Code.PROTOCOL_ERROR, "a second HEADERS that does not end the stream")
        check_trailers(fields, self._decoder.list_size, self._options.limits)
        self._end_request(stream)

    def _end_request(self, stream: Stream) -> None:
        if stream.body_left:
            raise StreamFailure(Code.PROTOCOL_ERROR, "less DATA than content-length says")
        state = follow(RECEIVED[stream.state][Event.END])
        assert state is not None
        stream.state = state
        self._handler.on_end(stream)
        if state is State.CLOSED and stream.id in self.streams:
            self._end(stream, state)
