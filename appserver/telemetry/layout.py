"""The layout of the scoreboard: one table, from which everything else is computed.

    header    magic, version, length of the description, commit word (see `scoreboard`), then the description itself
    server    what only the master counts: exits of workers, reloads
    columns   one row of cells per field, one cell per slot: what is read of many slots at once
    totals    twice: the counters of the workers that are gone (twice, so that one copy is always complete)
    slots     one per worker, each on pages of its own: a slot that is never used costs no memory

A cell is eight bytes, aligned, an int64 or a float64 in the byte order of the machine. A field of several cells counts
by labels: its axes say which, the last one varying fastest. A text is as many octets as its length says, in cells one
behind the other; a record is what `serving` makes of its cells.

The description is the table as JSON. It lies in the mapping, so a mapping can be understood without the program that
made it, and one that was laid out differently is recognised, whatever the difference is.
"""

from __future__ import annotations

import json
import math
import operator
import os
from collections.abc import Iterable, Mapping, Sequence
from itertools import product
from typing import Any, Literal, NamedTuple

from appserver.telemetry.serving import ENTRY_CELLS, MAX_BEGUN

MAGIC = b"ASGI\x00\xf0sb"
# Raised when the meaning of the same table changes; a change of the table itself shows in the description.
VERSION = 1

CELL = 8
# Positions in the header, in cells. The description follows.
MAGIC_CELL, VERSION_CELL, LENGTH_CELL, COMMIT_CELL = range(4)
DESCRIPTION = 4 * CELL

DEFAULT_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

# Values that are in none of these lists are counted as "other": a client must not be able to make a time series.
OTHER = "other"
METHODS = ("CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE", OTHER)
FIRST_STATUS, LAST_STATUS = 100, 599  # RFC 9110 section 15
STATUSES = (*map(str, range(FIRST_STATUS, LAST_STATUS + 1)), OTHER)
REJECTIONS = (
    "bad_handshake",
    "bad_request",
    "body_timeout",
    "body_too_large",
    "expectation_failed",
    "head_too_large",
    "header_timeout",
    "http2_error",
    "http2_flood",
    "http2_refused",
    "http2_stream",
    "message_timeout",
    "not_implemented",
    "overload",
    "ping_timeout",
    "proxy_protocol",
    "request_timeout",
    "target_too_large",
    "tls",
    "unsupported_version",
    "websocket",
    "write_timeout",
    OTHER,
)
DIRECTIONS = ("received", "sent")
# The error codes of HTTP/2 in their order (RFC 9113 section 7).
HTTP2_CODES = (
    "NO_ERROR",
    "PROTOCOL_ERROR",
    "INTERNAL_ERROR",
    "FLOW_CONTROL_ERROR",
    "SETTINGS_TIMEOUT",
    "STREAM_CLOSED",
    "FRAME_SIZE_ERROR",
    "REFUSED_STREAM",
    "CANCEL",
    "COMPRESSION_ERROR",
    "CONNECT_ERROR",
    "ENHANCE_YOUR_CALM",
    "INADEQUATE_SECURITY",
    "HTTP_1_1_REQUIRED",
    OTHER,
)
HTTP2_FLOODS = ("control_frames", "header_block", "resets", "slow", "unread_answers", OTHER)
EXITS = (
    "recycled",
    "reloaded",
    "scaled_down",
    "stopped",
    "crashed",
    "stalled",
    "boot_failed",
    "out_of_memory",
    OTHER,
)
RELOADS = ("ok", "rolled_back", "incomplete", "refused", OTHER)

_PAGE_SIZE = os.sysconf("SC_PAGE_SIZE")
_OPEN_AXES = ("reason", "result")
_MOST_LABELS = 256

Place = Literal["server", "column", "counter", "gauge"]
Axis = tuple[str, tuple[str, ...]]


class Field(NamedTuple):
    """One number, or one number per combination of labels.

    `place` says where it lies and what becomes of it when its worker has gone: a "counter" lies in the slot and is added
    to the totals, a "gauge" lies in the slot and is forgotten. A "column" and a "server" field lie outside the slots.
    """

    name: str
    place: Place
    type: Literal["int", "float", "text", "record"] = "int"
    axes: tuple[Axis, ...] = ()
    cells: int = 1
    """How many it takes for each combination of labels: more than one for records, and for a text, whose first is its length."""

    @property
    def size(self) -> int:
        """How many cells it takes."""
        return self.cells * math.prod(len(labels) for _, labels in self.axes)

    def allows(self, name: str, labels: Sequence[str]) -> bool:
        """Whether its axis `name` may as well have other labels: of reasons a program knows more or fewer."""
        return (
            name in _OPEN_AXES
            and name in dict(self.axes)
            and OTHER in labels
            and len(labels) == len(set(labels)) <= _MOST_LABELS
        )

    def labels(self) -> Iterable[tuple[str, ...]]:
        """The labels of each of its cells, in their order."""
        return product(*(labels for _, labels in self.axes))


def table(buckets: Sequence[float]) -> tuple[Field, ...]:
    """Every field there is; `buckets` are the upper bounds of the duration histogram, without the infinite one."""
    return (
        Field("worker_exits", "server", axes=(("reason", EXITS),)),
        Field("reloads", "server", axes=(("result", RELOADS),)),
        Field("server_log_lines_dropped", "server"),
        Field("state", "column"),
        # For the other workers, who look at all of these at every accept: 0 while this worker takes no connections,
        # otherwise how many it has open, plus one.
        Field("load", "column"),
        # Processor time of the earlier workers of this slot, so that the counter of "worker 2" does not go back.
        Field("past_cpu_seconds", "column", "float"),
        Field("requests", "counter", axes=(("method", METHODS), ("status", STATUSES))),
        Field("durations", "counter", axes=(("le", (*map(repr, buckets), "+Inf")),)),
        Field("received_bytes", "counter"),
        Field("sent_bytes", "counter"),
        Field("connections", "counter"),
        Field("sessions", "counter"),
        Field("messages", "counter", axes=(("direction", DIRECTIONS),)),
        Field("rejected", "counter", axes=(("reason", REJECTIONS),)),
        # Those of HTTP/2 are among the connections, and its streams among the requests and sessions.
        Field("http2_connections", "counter"),
        Field("http2_streams", "counter"),
        Field("http2_resets", "counter", axes=(("direction", DIRECTIONS), ("code", HTTP2_CODES))),
        Field("http2_floods", "counter", axes=(("kind", HTTP2_FLOODS),)),
        Field("application_errors", "counter"),
        Field("log_lines_dropped", "counter"),
        # How long requests have waited for a thread, in the buckets of the durations; with a WSGI application only.
        Field("thread_waits", "counter", axes=(("le", (*map(repr, buckets), "+Inf")),)),
        Field("thread_wait_sum", "counter", "float"),
        Field("duration_sum", "counter", "float"),
        Field("pid", "gauge"),
        Field("generation", "gauge"),
        # Requests in progress are those started less those in the histogram: one store less for each request.
        Field("requests_started", "gauge"),
        Field("connections_open", "gauge"),
        Field("sessions_open", "gauge"),
        Field("http2_connections_open", "gauge"),
        Field("http2_streams_open", "gauge"),
        # 0 with an ASGI application, which has no threads of ours.
        Field("threads", "gauge"),
        Field("threads_busy", "gauge"),
        Field("threads_waiting", "gauge"),
        Field("started_at", "gauge", "float"),
        Field("heartbeat_at", "gauge", "float"),
        Field("loop_lag", "gauge", "float"),
        # The requests being served: for people, and for the report if the worker dies (see `serving`).
        Field("begun", "gauge", "record", cells=MAX_BEGUN * ENTRY_CELLS),
        Field("serving", "gauge", "text", cells=256),
    )


class Layout:
    """The table with positions, for so many slots.

    Positions are in cells. `offsets` are relative to where the field's place begins: the server area, the columns (each
    `capacity` cells), a slot. A block of totals has the shape of the counters of a slot, which come first in it: the
    integer ones, then the floating ones.
    """

    def __init__(self, capacity: int, buckets: Sequence[float], labels: Mapping[str, Axis] | None = None) -> None:
        """`labels`: for fields that have other ones than in the table, their axis."""
        self.capacity = capacity
        self.buckets = tuple(buckets)
        axes = labels or {}
        fields = (one._replace(axes=(axes[one.name],)) if one.name in axes else one for one in table(buckets))
        self.fields = {field.name: field for field in fields}
        self.description = self._describe()
        self.offsets: dict[str, int] = {}
        server_size = self._arrange("server")
        columns_size = self._arrange("column", cells=capacity)
        self.integers = self._arrange("counter", only="int")
        self.counters = self._arrange("counter", self.integers, only="float")
        slot_size = self._arrange("gauge", self.counters)

        self._server = _whole_pages(DESCRIPTION // CELL + _cells(len(self.description)))
        self._columns = self._server + server_size
        totals = _whole_pages(self._columns + columns_size)
        self.totals = (totals, totals + _whole_pages(self.counters))
        self._slots = self.totals[1] + _whole_pages(self.counters)
        self.slot_size = _whole_pages(slot_size)
        self.size = CELL * (self._slots + capacity * self.slot_size)

    @classmethod
    def described(cls, description: Mapping[str, Any]) -> Layout | None:
        """The layout that a description tells of; None if it is not one that this program can count in.

        It is if it has the same table, but for the reasons and results by which some fields count: what has no place
        there is counted as "other".
        """
        try:
            known = {field.name: field for field in table(description["buckets"])}
            labels: dict[str, Axis] = {}
            for found in description["fields"]:
                for name, values in found["axes"].items():
                    if known[found["name"]].allows(name, values):
                        labels[found["name"]] = name, tuple(map(str, values))
            layout = cls(operator.index(description["capacity"]), description["buckets"], labels)
        except (LookupError, TypeError, AttributeError, ValueError):
            return None
        return layout if json.loads(layout.description) == description else None

    def slot(self, index: int) -> int:
        """Where a slot begins."""
        return self._slots + index * self.slot_size

    def server(self, name: str) -> int:
        """Where a server field begins."""
        return self._server + self.offsets[name]

    def column(self, name: str) -> int:
        """Where a column begins."""
        return self._columns + self.offsets[name]

    def _arrange(self, place: Place, offset: int = 0, *, only: str | None = None, cells: int | None = None) -> int:
        """Put the fields of `place` one behind the other from `offset` on; returns where the last one ends."""
        for field in self.fields.values():
            if field.place == place and only in (None, field.type):
                self.offsets[field.name] = offset
                offset += cells or field.size
        return offset

    def _describe(self) -> bytes:
        fields = [
            {
                "name": field.name,
                "place": field.place,
                "type": field.type,
                "axes": dict(field.axes),
                "cells": field.cells,
            }
            for field in self.fields.values()
        ]
        return json.dumps({"capacity": self.capacity, "buckets": self.buckets, "fields": fields}).encode()


def _cells(size: int) -> int:
    return -(-size // CELL)


def _whole_pages(cells: int) -> int:
    """So many cells that they fill whole pages, and therefore cells that start where a page does."""
    page = _PAGE_SIZE // CELL
    return -(-cells // page) * page
