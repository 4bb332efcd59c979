"""A worker's place in the scoreboard: where it counts, and what can be read of it."""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Sequence
from enum import IntEnum
from math import isfinite
from typing import NamedTuple

from appserver.telemetry.http2_counts import HTTP2Counts
from appserver.telemetry.layout import FIRST_STATUS, LAST_STATUS, OTHER, Layout
from appserver.telemetry.serving import (
    ENTRY,
    ENTRY_CELLS,
    MAX_BEGUN,
    Serving,
    decode_list,
    encode_list,
    merge,
    read_ring,
)


class WorkerState(IntEnum):
    """The state of a worker, by its own account, in the order of its life. FREE: the slot belongs to nobody."""

    FREE = 0
    BOOTING = 1
    READY = 2
    DRAINING = 3


_STATES = frozenset(WorkerState)

HEARTBEAT_INTERVAL = 0.5
"""Seconds between two heartbeats; the master looks about once a second."""

_write_entry = ENTRY.pack_into
_ENTRY_SIZE = ENTRY.size


class ThreadUse(NamedTuple):
    """So many threads may run a WSGI application, so many do, and so many requests wait for one."""

    size: int
    busy: int
    waiting: int


class WorkerSlot:
    """The place of one worker. The methods and setters are for that worker alone, the getters for anybody.

    A worker calls `begin` first; it then owns the slot until the master retires it.
    """

    def __init__(self, layout: Layout, ints: memoryview[int], floats: memoryview[float], index: int) -> None:
        self.index = index
        self._layout = layout
        self._ints = ints
        self._floats = floats
        self._start = layout.slot(index)
        self._state = layout.column("state") + index
        self._load = layout.column("load") + index
        self._loads = ints[layout.column("load") :][: layout.capacity]

        # Where the cells of the request path lie; the others are looked up by name.
        self._requests_started = self._cell("requests_started")
        self._number = 0  # of the request that began last
        self._durations = self._cell("durations")
        self._duration_sum = self._cell("duration_sum")
        self._bounds = layout.buckets
        self._first_bound = layout.buckets[0]
        self._received = self._cell("received_bytes")
        self._sent = self._cell("sent_bytes")
        self._connections = self._cell("connections")
        self._connections_open = self._cell("connections_open")
        self._sessions = self._cell("sessions")
        self._sessions_open = self._cell("sessions_open")
        self.http2 = HTTP2Counts(layout, ints, self._start)
        self._more_load = 0
        self._most_connections = 0
        self._messages = self._cell("messages")
        self._application_errors = self._cell("application_errors")
        (_, methods), (_, statuses) = layout.fields["requests"].axes
        rows = {method: self._cell("requests") + row * len(statuses) for row, method in enumerate(methods)}
        # Each row is moved so that the status itself is the index; its last cell takes every other status.
        self._rows = {method: row - FIRST_STATUS for method, row in rows.items()}
        self._unusual = LAST_STATUS + 1
        ((_, reasons),) = layout.fields["rejected"].axes
        self._rejected = {reason: self._cell("rejected") + offset for offset, reason in enumerate(reasons)}

        self._threads = self._cell("threads")
        self._threads_busy = self._cell("threads_busy")
        self._threads_waiting = self._cell("threads_waiting")
        self._thread_waits = self._cell("thread_waits")
        self._thread_wait_sum = self._cell("thread_wait_sum")

        begun = self._cell("begun")
        self._begun = begun
        self._ring = ints[begun : begun + layout.fields["begun"].size].cast("B")
        serving = self._cell("serving")
        self._serving_length = serving
        self._serving = ints[serving + 1 : serving + layout.fields["serving"].size].cast("B")

    def _cell(self, name: str) -> int:
        return self._start + self._layout.offsets[name]

    def _finite(self, name: str) -> float:
        """A number, which another process may have written: 0.0 for what is none, and would make everything else none."""
        number = self._floats[self._cell(name)]
        return number if isfinite(number) else 0.0

    def begin(self, *, pid: int, generation: int, started_at: float | None = None) -> None:
        """Take the slot, which is free: BOOTING, no heartbeat yet. `started_at` is seconds since the epoch."""
        self._number = self._ints[self._requests_started]
        self._ints[self._cell("pid")] = pid
        self._ints[self._cell("generation")] = generation
        self._floats[self._cell("started_at")] = time.time() if started_at is None else started_at
        self._ints[self._state] = WorkerState.BOOTING

    def leave(self) -> None:
        """Write into a copy from now on: for a process forked from the worker, which must not count in its place."""
        copy = memoryview(bytearray(self._ints))
        self.__init__(self._layout, copy.cast("q"), copy.cast("d"), self.index)  # type: ignore[misc]

    def heartbeat(self, now: float, lag: float) -> None:
        """Note that the event loop turned at `now` (time.monotonic(), which all processes share), `lag` seconds late."""
        self._floats[self._cell("loop_lag")] = lag
        self._floats[self._cell("heartbeat_at")] = now

    def connection_opened(self) -> None:
        self._ints[self._connections] += 1
        self._ints[self._connections_open] = open_now = self._ints[self._connections_open] + 1
        if open_now > self._most_connections:
            self._most_connections = open_now
        self._show_load()

    def connection_closed(self) -> None:
        self._ints[self._connections_open] -= 1
        self._show_load()

    def weigh(self, more: int) -> None:
        """Count so many connections more than are open as the load of this worker, until the next call.

        A connection of HTTP/2 may have a hundred requests under way. For the choice of the worker that takes the next
        connection it is what as many connections of HTTP/1.1 would be.
        """
        if more != self._more_load:
            self._more_load = more
            self._show_load()

    def _show_load(self) -> None:
        takes_connections = self._ints[self._state] == WorkerState.READY
        load = self._ints[self._connections_open] + self._more_load
        self._ints[self._load] = load + 1 if takes_connections else 0

    def connections_ahead(self) -> int:
        """How many more connections this worker has open than the ready worker with the fewest; 0 if it is that one.

        Those that `weigh` has added count as well.
        """
        least = min(filter(None, self._loads), default=0)
        return max(0, self._ints[self._load] - least)

    def request_started(self, now: float, method: str, raw_path: bytes, request_id: bytes = b"") -> int:
        """Note what is served from `now` on (time.monotonic()); returns the number by which `request_finished` knows it."""
        self._number = number = self._number + 1
        self._ints[self._requests_started] = number
        _write_entry(self._ring, number % MAX_BEGUN * _ENTRY_SIZE, number, now, method.encode(), request_id, raw_path)
        return number

    def request_finished(self, number: int, method: str, status: int, seconds: float, received: int, sent: int) -> None:
        """Count a request that `request_started` announced; `status` is 0 where no response was begun."""
        ints = self._ints
        place = self._begun + number % MAX_BEGUN * ENTRY_CELLS
        if ints[place] == number:  # otherwise it is another one's by now
            ints[place] = 0
        row = self._rows.get(method) or self._rows[OTHER]
        ints[row + (status if FIRST_STATUS <= status <= LAST_STATUS else self._unusual)] += 1
        # Most requests are quick, and the comparison costs a third of the search.
        bucket = 0 if seconds <= self._first_bound else bisect_left(self._bounds, seconds)
        ints[self._durations + bucket] += 1
        self._floats[self._duration_sum] += seconds
        ints[self._received] += received
        ints[self._sent] += sent

    def traffic(self, received: int, sent: int) -> None:
        """Count octets that belong to no request: WebSocket frames, heads that were refused."""
        self._ints[self._received] += received
        self._ints[self._sent] += sent

    def session_opened(self, number: int) -> int:
        """Count a session, which a request becomes before it is finished; returns what `session_closed` knows it by."""
        self._ints[self._sessions] += 1
        self._ints[self._sessions_open] += 1
        self._replace_number(number, -number)
        return -number

    def session_closed(self, number: int) -> None:
        self._ints[self._sessions_open] -= 1
        self._replace_number(number, 0)

    def _replace_number(self, old: int, new: int) -> None:
        place = self._begun + abs(old) % MAX_BEGUN * ENTRY_CELLS
        if self._ints[place] == old:
            self._ints[place] = new

    def messages_received(self, count: int) -> None:
        self._ints[self._messages] += count

    def message_sent(self) -> None:
        self._ints[self._messages + 1] += 1

    def rejected(self, reason: str) -> None:
        """Count a refusal by its reason, a label of `appserver_rejected_total`; one that is not known is "other"."""
        self._ints[self._rejected.get(reason) or self._rejected[OTHER]] += 1

    def application_error(self) -> None:
        self._ints[self._application_errors] += 1

    def show_threads(self, size: int, busy: int, waiting: int) -> None:
        """Show how the threads of a WSGI application are used (see ThreadUse)."""
        self._ints[self._threads] = size
        self._ints[self._threads_busy] = busy
        self._ints[self._threads_waiting] = waiting

    def thread_waited(self, seconds: float) -> None:
        """Count a request that has got its thread after this time."""
        bucket = 0 if seconds <= self._first_bound else bisect_left(self._bounds, seconds)
        self._ints[self._thread_waits + bucket] += 1
        self._floats[self._thread_wait_sum] += seconds

    @property
    def threads(self) -> ThreadUse:
        """How the threads of a WSGI application are used; all 0 with an ASGI application."""
        return ThreadUse(*(self._ints[cell] for cell in (self._threads, self._threads_busy, self._threads_waiting)))

    @property
    def state(self) -> WorkerState:
        value = self._ints[self._state]
        return WorkerState(value) if value in _STATES else WorkerState.BOOTING

    @state.setter
    def state(self, state: WorkerState) -> None:
        self._ints[self._state] = state
        self._show_load()

    @property
    def log_lines_dropped(self) -> int:
        """Lines that the worker's outputs have lost; the worker stores their sum at its heartbeat."""
        return self._ints[self._cell("log_lines_dropped")]

    @log_lines_dropped.setter
    def log_lines_dropped(self, count: int) -> None:
        self._ints[self._cell("log_lines_dropped")] = count

    @property
    def pid(self) -> int:
        return self._ints[self._cell("pid")]

    @property
    def generation(self) -> int:
        return self._ints[self._cell("generation")]

    @property
    def started_at(self) -> float:
        """Seconds since the epoch."""
        return self._finite("started_at")

    @property
    def heartbeat_at(self) -> float:
        """When the event loop last turned, as time.monotonic(); 0.0 if it has not yet."""
        return self._finite("heartbeat_at")

    @property
    def loop_lag(self) -> float:
        """How late the event loop was at the last heartbeat, in seconds."""
        return self._finite("loop_lag")

    def lag(self, now: float) -> float:
        """How late the event loop is at `now` (time.monotonic()): if no heartbeat is overdue, as late as it was."""
        beat = self.heartbeat_at
        return max(self.loop_lag, now - beat - HEARTBEAT_INTERVAL) if beat else 0.0

    @property
    def serving(self) -> list[Serving]:
        """The requests being served, the oldest first, then sessions: some of them, if there are many.

        A request that has ended within the last half second may be among it.
        """
        certain, uncertain = self.last_seen()
        return merge(uncertain, certain)

    def last_seen(self) -> tuple[list[Serving], list[Serving]]:
        """The requests being served, now or when the worker died, as far as they are known; and those that may have ended before.

        Both are empty where the worker has not written what it should.
        """
        begun = read_ring(self._ring)
        finished, listed = decode_list(bytes(self._serving[: max(0, self._ints[self._serving_length])]) or b"[-1, []]")
        none_has_finished = finished == self.requests  # since that was written
        known = {found.number for found in begun}
        some_are_unknown = self.in_progress > sum(number > 0 for number in known)
        certain, uncertain = [], []
        for found in listed:
            if found.number in known or (found.number > 0 and none_has_finished):
                certain.append(found)
            elif found.number <= 0 or some_are_unknown:
                uncertain.append(found)
        return merge(certain, begun), uncertain

    def show_serving(self, requests: Sequence[Serving], finished: int) -> None:
        """List what is being served; `finished` is what `requests` of this slot was before that was looked at."""
        length = self._serving_length
        # A reader, now or after a sudden death, sees nothing rather than half of it.
        self._ints[length] = 0
        if requests:
            text = encode_list(requests, finished, len(self._serving))
            self._serving[: len(text)] = text
            self._ints[length] = len(text)

    @property
    def past_cpu_seconds(self) -> float:
        """Processor time of the workers that had this slot before."""
        seconds = self._floats[self._layout.column("past_cpu_seconds") + self.index]
        return seconds if isfinite(seconds) else 0.0

    @property
    def requests(self) -> int:
        """How many requests have finished."""
        return sum(self._ints[self._durations : self._durations + len(self._bounds) + 1])

    @property
    def durations(self) -> list[int]:
        """How many requests have finished in each bucket of the histogram alone; the last one has no upper bound."""
        return self._ints[self._durations : self._durations + len(self._bounds) + 1].tolist()

    @property
    def in_progress(self) -> int:
        return max(0, self._ints[self._requests_started] - self.requests)

    def take_most_connections(self) -> int:
        """The largest number of connections that were open at a time since this was called last."""
        most, self._most_connections = self._most_connections, self.connections
        return most

    @property
    def connections(self) -> int:
        """How many connections are open."""
        return self._ints[self._connections_open]

    @property
    def sessions(self) -> int:
        """How many WebSocket sessions are open."""
        return self._ints[self._sessions_open]


class Uncounted(WorkerSlot):
    """In the place of a slot where nobody asks for the numbers, in a function on AWS Lambda: what a request counts is nowhere.

    It has nothing else of a slot.
    """

    def __init__(self) -> None:
        pass

    def request_started(self, now: float, method: str, raw_path: bytes, request_id: bytes = b"") -> int:  # noqa: ARG002
        return 0

    def request_finished(self, number: int, method: str, status: int, seconds: float, received: int, sent: int) -> None:
        pass

    def rejected(self, reason: str) -> None:
        pass

    def application_error(self) -> None:
        pass
