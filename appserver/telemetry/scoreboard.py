"""The scoreboard: every number of the server, in memory that all of its processes share.

A memfd is mapped by the master, and, being inherited through exec and fork, by every zygote and worker. Each worker has
a slot, in which nobody else writes; anybody reads, at any time, whatever state the writer is in. There is no lock and no
message: a number is one aligned cell of eight bytes, which the processor reads and writes whole.

A reader may rely on this:

- A counter never goes back: not while its worker lives (it only adds), not when that has died by whatever signal (what
  was counted is in the mapping), not while `retire` moves its numbers to the totals (see there).
- Numbers of different cells are read one after the other. A request that ends meanwhile may be in one and not yet in the
  other; the next look has it in both.

The slots are not trusted: a worker may be in the hands of an attacker, and the master must not fall over what it writes.
"""

from __future__ import annotations

import fcntl
import json
import mmap
import os
import sys
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from operator import add
from typing import Any

from appserver.errors import AppserverError
from appserver.telemetry.layout import (
    CELL,
    COMMIT_CELL,
    DEFAULT_BUCKETS,
    DESCRIPTION,
    LENGTH_CELL,
    MAGIC,
    OTHER,
    VERSION,
    VERSION_CELL,
    Layout,
)
from appserver.telemetry.slot import ThreadUse, WorkerSlot, WorkerState

__all__ = ["Scoreboard", "ScoreboardMismatch", "Totals", "WorkerSlot", "WorkerState", "read_description"]

# The commit word holds how often `retire` has run and, in its lowest bits, the slot that does not count (plus one).
_SLOT_BITS = 16
_MAX_CAPACITY = (1 << _SLOT_BITS) - 2
_MAX_TURN = 1 << 62 - _SLOT_BITS
# No honest sum comes near this; a greater one would soon not fit its cell any more.
_IMPLAUSIBLE = 1 << 62


class ScoreboardMismatch(AppserverError):
    """A descriptor is no scoreboard, or one that another version of appserver has laid out differently."""


@dataclass(frozen=True, slots=True)
class Totals:
    """Every counter over all workers, past and present, and the gauges summed over the present ones.

    `duration_buckets` holds (upper bound in seconds, requests in this bucket alone); the last bound is infinite, and so it
    is in `thread_wait_buckets`. Of `requests` only those combinations are listed that have occurred.
    """

    requests: Mapping[tuple[str, str], int]
    duration_buckets: tuple[tuple[float, int], ...]
    duration_sum: float
    in_progress: int
    received_bytes: int
    sent_bytes: int
    connections: int
    connections_open: int
    sessions: int
    sessions_open: int
    messages: Mapping[str, int]
    rejected: Mapping[str, int]
    http2_connections: int
    http2_connections_open: int
    http2_streams: int
    http2_streams_open: int
    http2_resets: Mapping[tuple[str, str], int]
    http2_floods: Mapping[str, int]
    application_errors: int
    log_lines_dropped: int
    threads: ThreadUse
    thread_wait_buckets: tuple[tuple[float, int], ...]
    thread_wait_sum: float
    worker_exits: Mapping[str, int]
    reloads: Mapping[str, int]


def _map(fd: int, size: int) -> mmap.mmap:
    """Map so many octets of a file, where possible without another descriptor that lives as long as the mapping."""
    if sys.version_info >= (3, 13):
        return mmap.mmap(fd, size, trackfd=False)
    return mmap.mmap(fd, size)


class Scoreboard:
    """The mapping: what was counted by the workers that are gone, and a slot for each one that lives.

    `create` it in the master, `attach` to it where the descriptor was inherited through exec. A process forked from one
    that has it uses it as it is.
    """

    def __init__(self, fd: int, layout: Layout) -> None:
        self.fd = fd
        self.capacity = layout.capacity
        self.buckets = layout.buckets
        self._layout = layout
        self._bytes = memoryview(_map(fd, layout.size))
        self._ints = self._bytes.cast("q")
        self._floats = self._bytes.cast("d")
        self._slots: dict[int, WorkerSlot] = {}

    @classmethod
    def create(cls, capacity: int, buckets: Sequence[float] = DEFAULT_BUCKETS) -> Scoreboard:
        """Make an empty scoreboard for up to `capacity` workers at a time.

        `buckets` are the upper bounds of the duration histogram in seconds, ascending. `fd` is inheritable, through exec
        as well, until a process that starts programs of others makes it non-inheritable.
        """
        if not 0 < capacity <= _MAX_CAPACITY:
            raise ValueError(f"capacity must be between 1 and {_MAX_CAPACITY}, not {capacity}")
        if not buckets or list(buckets) != sorted(set(buckets)):
            raise ValueError(f"buckets must be ascending numbers, at least one, not {list(buckets)}")
        layout = Layout(capacity, buckets)
        fd = os.memfd_create("appserver-scoreboard", os.MFD_ALLOW_SEALING)
        os.ftruncate(fd, layout.size)
        # Nobody may shrink it: those who have it mapped would die of SIGBUS.
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
        board = cls(fd, layout)
        board._bytes[DESCRIPTION : DESCRIPTION + len(layout.description)] = layout.description
        board._ints[LENGTH_CELL] = len(layout.description)
        board._ints[VERSION_CELL] = VERSION
        board._bytes[: len(MAGIC)] = MAGIC
        return board

    @classmethod
    def attach(cls, fd: int, described: str = "") -> Scoreboard:
        """Map the scoreboard behind a descriptor; `described` is what its maker says of it, where that can be had.

        Raises ScoreboardMismatch if it is none, or if its layout is not one that this version of appserver understands
        (see `Layout.described`); `read_description` tells what it is then.
        """
        if described:
            content = json.loads(described)
            version, found = content["version"], content["layout"]
        else:
            version, found = read_description(fd)
        layout = Layout.described(found)
        if version != VERSION or layout is None or os.fstat(fd).st_size != layout.size:
            raise ScoreboardMismatch(
                "this scoreboard was laid out by another version of appserver: start the server anew"
            )
        return cls(fd, layout)

    @property
    def described(self) -> str:
        """How the mapping is laid out, for `attach` in another process: any worker could write over what it says itself."""
        return json.dumps({"version": VERSION, "layout": json.loads(self._layout.description)})

    def slot(self, index: int) -> WorkerSlot:
        """The slot of worker number `index` + 1."""
        if not 0 <= index < self.capacity:
            raise IndexError(f"the scoreboard has {self.capacity} slots, none with the index {index}")
        if index not in self._slots:
            self._slots[index] = WorkerSlot(self._layout, self._ints, self._floats, index)
        return self._slots[index]

    def retire(self, index: int, cpu_seconds: float = 0.0) -> None:
        """Add a dead worker's counters to the totals, and free its slot. For the master, after it has reaped the worker.

        `cpu_seconds` is the processor time that the worker has used. For every reader this is one step: the new totals
        are made in the copy that does not count; then one store, to the commit word, says that this copy counts from now
        on, and that the slot does not. Only then is the slot cleared. A master that is killed anywhere between leaves
        numbers that are right.
        """
        layout = self._layout
        turn, uncounted = self._commit()
        if uncounted is not None:
            self._clear(uncounted, turn)  # what a predecessor did not get to
        turn += 1
        target = layout.totals[turn % 2]
        sums = self._counters(layout.totals[(turn - 1) % 2]) + self._counters(layout.slot(index))
        self._ints[target : target + layout.integers] = memoryview(array("q", sums.ints))
        self._floats[target + layout.integers : target + layout.counters] = memoryview(array("d", sums.floats))
        self._ints[COMMIT_CELL] = turn << _SLOT_BITS | index + 1
        past = layout.column("past_cpu_seconds") + index
        self._floats[past] = self.slot(index).past_cpu_seconds + cpu_seconds
        self._clear(index, turn)

    def _commit(self) -> tuple[int, int | None]:
        """How often `retire` has run, and the slot that does not count.

        Something that `retire` has not written is taken for the copy it may mean, and every slot as one that counts.
        """
        turn, slot = divmod(self._ints[COMMIT_CELL], 1 << _SLOT_BITS)
        if not (0 <= turn < _MAX_TURN and slot <= self.capacity):
            return turn % 2, None
        return turn, slot - 1 if slot else None

    def _clear(self, index: int, turn: int) -> None:
        layout = self._layout
        self._ints[layout.column("state") + index] = WorkerState.FREE
        self._ints[layout.column("load") + index] = 0
        start, end = layout.slot(index) * CELL, layout.slot(index + 1) * CELL
        self._bytes[start:end] = bytes(end - start)
        self._ints[COMMIT_CELL] = turn << _SLOT_BITS

    def worker_exited(self, reason: str) -> None:
        """Count the exit of a worker (`appserver_worker_exits_total`). For the master."""
        self._count("worker_exits", reason)

    def reload_finished(self, result: str) -> None:
        """Count a reload (`appserver_reloads_total`). For the master."""
        self._count("reloads", result)

    def set_log_lines_dropped(self, count: int) -> None:
        """Store how many lines the master itself has lost. For the master."""
        self._ints[self._layout.server("server_log_lines_dropped")] = count

    def totals(self) -> Totals:
        """Everything that has been counted, and what is going on."""
        while True:
            commit = self._commit()
            totals = self._read_totals(*commit)
            # Otherwise a worker was retired meanwhile, and may have been counted twice or not at all.
            if self._commit() == commit:
                return totals

    def close(self) -> None:
        """Unmap, and close the descriptor. Neither this nor its slots can be used afterwards."""
        self._ints.release()
        self._floats.release()
        self._bytes.release()
        os.close(self.fd)

    def _count(self, name: str, label: str) -> None:
        ((_, labels),) = self._layout.fields[name].axes
        cell = self._layout.server(name) + labels.index(label if label in labels else OTHER)
        count = self._ints[cell]
        self._ints[cell] = count + 1 if 0 <= count < _IMPLAUSIBLE else 1

    def _counters(self, start: int) -> _Counters:
        layout = self._layout
        return _Counters(
            layout,
            self._ints[start : start + layout.integers].tolist(),
            list(self._floats[start + layout.integers : start + layout.counters]),
        )

    def _read_totals(self, turn: int, uncounted: int | None) -> Totals:
        layout = self._layout
        states = self._ints[layout.column("state") :][: self.capacity].tolist()
        live = [self.slot(index) for index, state in enumerate(states) if state and index != uncounted]
        counters = self._counters(layout.totals[turn % 2])
        for slot in live:
            counters += self._counters(layout.slot(slot.index))
        uses = [slot.threads for slot in live]
        return Totals(
            requests={(method, status): count for (method, status), count in counters.labelled("requests") if count},
            duration_buckets=tuple(zip((*self.buckets, inf), counters.values("durations"), strict=True)),
            duration_sum=counters.floats[layout.offsets["duration_sum"] - layout.integers],
            in_progress=sum(slot.in_progress for slot in live),
            received_bytes=counters.value("received_bytes"),
            sent_bytes=counters.value("sent_bytes"),
            connections=counters.value("connections"),
            connections_open=sum(slot.connections for slot in live),
            sessions=counters.value("sessions"),
            sessions_open=sum(slot.sessions for slot in live),
            messages={direction: count for (direction,), count in counters.labelled("messages")},
            rejected={reason: count for (reason,), count in counters.labelled("rejected")},
            http2_connections=counters.value("http2_connections"),
            http2_connections_open=sum(slot.http2.connections for slot in live),
            http2_streams=counters.value("http2_streams"),
            http2_streams_open=sum(slot.http2.streams for slot in live),
            http2_resets={(direction, code): count for (direction, code), count in counters.labelled("http2_resets")},
            http2_floods={kind: count for (kind,), count in counters.labelled("http2_floods")},
            application_errors=counters.value("application_errors"),
            log_lines_dropped=counters.value("log_lines_dropped")
            + self._ints[layout.server("server_log_lines_dropped")],
            threads=ThreadUse(*(sum(numbers) for numbers in zip(ThreadUse(0, 0, 0), *uses, strict=True))),
            thread_wait_buckets=tuple(zip((*self.buckets, inf), counters.values("thread_waits"), strict=True)),
            thread_wait_sum=counters.floats[layout.offsets["thread_wait_sum"] - layout.integers],
            worker_exits=self._server_counts("worker_exits"),
            reloads=self._server_counts("reloads"),
        )

    def _server_counts(self, name: str) -> dict[str, int]:
        start = self._layout.server(name)
        ((_, labels),) = self._layout.fields[name].axes
        return dict(zip(labels, self._ints[start : start + len(labels)].tolist(), strict=True))


@dataclass(frozen=True, slots=True)
class _Counters:
    """The counters of a slot, or the totals, copied out of the mapping."""

    layout: Layout
    ints: list[int]
    floats: list[float]

    def __add__(self, other: _Counters) -> _Counters:
        """The sums; `self` as it is if there is something in `other` that no honest worker has written."""
        ints = list(map(add, self.ints, other.ints))
        if min(other.ints) < 0 or max(ints) > _IMPLAUSIBLE or not all(0 <= number < inf for number in other.floats):
            return self
        return _Counters(self.layout, ints, list(map(add, self.floats, other.floats)))

    def values(self, name: str) -> list[int]:
        offset = self.layout.offsets[name]
        return self.ints[offset : offset + self.layout.fields[name].size]

    def value(self, name: str) -> int:
        return self.ints[self.layout.offsets[name]]

    def labelled(self, name: str) -> Iterator[tuple[tuple[str, ...], int]]:
        return zip(self.layout.fields[name].labels(), self.values(name), strict=True)


def read_description(fd: int) -> tuple[int, dict[str, Any]]:
    """Version and description of the scoreboard behind a descriptor, whichever version of appserver has made it.

    The description holds `capacity`, `buckets` and `fields`, the latter in the order in which they lie in the mapping.
    Raises ScoreboardMismatch if it is no scoreboard.
    """
    header = os.pread(fd, DESCRIPTION, 0)
    if len(header) < DESCRIPTION or not header.startswith(MAGIC):
        raise ScoreboardMismatch(f"descriptor {fd} is no scoreboard: it begins with {header[: len(MAGIC)]!r}")
    _, version, length, _ = memoryview(header).cast("q")
    try:
        return version, json.loads(os.pread(fd, length, DESCRIPTION))
    except ValueError as error:
        raise ScoreboardMismatch(f"the description of the scoreboard cannot be read: {error}") from error
