"""The schedule of streams that have something to send (RFC 9218 section 10).

The most urgent come first. Among equally urgent ones those that are of use in parts share the turns, a frame each; the
others are sent one after the other in the order of their requests, and have every second turn. Clients that say nothing
of priorities have all their responses sent in turns, so none has to wait for another to be complete.
"""

from __future__ import annotations

from collections import deque

from appserver.http2.stream import Stream


class _Level:
    """Streams of one urgency."""

    __slots__ = ("in_parts", "whole", "whole_is_next")

    def __init__(self) -> None:
        self.in_parts: deque[Stream] = deque()
        self.whole: dict[int, Stream] = {}
        self.whole_is_next = True


class Schedule:
    """The streams that have something to send, and may. False while there are none.

    `members` has their numbers: asking that spares a call where it is asked for each response.
    """

    __slots__ = ("_levels", "members")

    def __init__(self) -> None:
        self._levels: dict[int, _Level] = {}
        self.members: dict[int, None] = {}  # an empty set takes three times the memory

    def __bool__(self) -> bool:
        return bool(self.members)

    def __contains__(self, stream: Stream) -> bool:
        return stream.id in self.members

    def add(self, stream: Stream) -> None:
        """Take a stream in; nothing happens if it is there. Its priority must not change before it is discarded."""
        if stream.id in self.members:
            return
        self.members[stream.id] = None
        level = self._levels.get(stream.priority.urgency)
        if level is None:
            level = self._levels[stream.priority.urgency] = _Level()
        if stream.priority.incremental:
            level.in_parts.append(stream)
        else:
            level.whole[stream.id] = stream

    def discard(self, stream: Stream) -> None:
        """Let a stream go, if it is there."""
        if stream.id not in self.members:
            return
        del self.members[stream.id]
        level = self._levels[stream.priority.urgency]
        if stream.priority.incremental:
            level.in_parts.remove(stream)
        else:
            del level.whole[stream.id]
        if not level.in_parts and not level.whole:
            del self._levels[stream.priority.urgency]

    def next(self) -> Stream:
        """The stream that may send one frame now. There has to be one."""
        level = self._levels[min(self._levels)]
        if level.whole and (level.whole_is_next or not level.in_parts):
            level.whole_is_next = False
            return level.whole[min(level.whole)]
        level.whole_is_next = True
        stream = level.in_parts[0]
        level.in_parts.rotate(-1)
        return stream
