"""The requests that a worker is serving, as they lie in the scoreboard: twice, because neither tells all.

The requests that began last lie in a ring: each is written when it begins and struck out when it ends. Whenever its worker
dies, the ring is right, even of a request that kills at once; but it is small, and in a busy worker each of them is soon
written over. So there is a text besides, in which the oldest ones are listed, WebSocket sessions among them, now and then:
what takes so long that somebody may ask for it is found there.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from math import isfinite
from operator import attrgetter
from struct import Struct
from typing import NamedTuple
from urllib.parse import unquote

# Of the text: so many requests, and so much of each path.
MAX_SERVING = 16
MAX_PATH = 200

SESSION = "WEBSOCKET"
"""Stands for a WebSocket session where requests have a method."""

_ID_SIZE = 64
ENTRY = Struct(f"@qd16p{_ID_SIZE}p160p")
"""A place of the ring: number (0: it has ended), since when, method, id, raw path. The latter are cut to fit."""
MAX_BEGUN = 16
ENTRY_CELLS = ENTRY.size // 8


class Serving(NamedTuple):
    """A request that is being served, since `since` (time.monotonic(), which all processes share).

    `number` is what `WorkerSlot.request_started` gave, and for a session what `session_opened` gave, which is negative. It
    is 0 for a request whose response is complete while the application is still at work on it.
    """

    method: str
    path: str
    since: float
    request_id: str | None = None
    number: int = 0


def read_ring(ring: memoryview) -> list[Serving]:
    """The requests and sessions in the ring that have not ended, in no order."""
    entries: Iterator[tuple[int, float, bytes, bytes, bytes]] = ENTRY.iter_unpack(ring)
    return [
        Serving(
            method.decode("ascii", "replace"),
            unquote(path.decode("ascii", "replace")),
            since,
            # One that fills its place may have been cut, and would be found nowhere.
            request_id.decode("ascii", "replace") if 0 < len(request_id) < _ID_SIZE - 1 else None,
            number,
        )
        for number, since, method, request_id, path in entries
        if number and isfinite(since)
    ]


def encode_list(requests: Iterable[Serving], finished: int, room: int) -> bytes:
    """The text for as many of `requests` as go into `room` octets; `finished` is to be given back by `decode_list`."""
    shown = [
        (method, path[:MAX_PATH], round(since, 3), request_id, number)
        for method, path, since, request_id, number in requests
    ][:MAX_SERVING]
    while len(text := json.dumps((finished, shown)).encode()) > room:
        shown.pop()
    return text


def decode_list(text: bytes) -> tuple[int, list[Serving]]:
    """What `encode_list` was given; (-1, []) if it has not made this text, or not all of it."""
    try:
        finished, found = json.loads(text)
        finished = int(finished)
        requests = [
            Serving(str(method), str(path), float(since), None if request_id is None else str(request_id), int(number))
            for method, path, since, request_id, number in found[:MAX_SERVING]
        ]
    except (ValueError, TypeError, LookupError, OverflowError, RecursionError):
        return -1, []
    return (finished, requests) if all(isfinite(found.since) for found in requests) else (-1, [])


def merge(listed: Iterable[Serving], begun: Sequence[Serving]) -> list[Serving]:
    """Both together, each request once, the oldest first; a session comes behind the requests."""
    numbers = {found.number for found in listed}
    together = [*listed, *(found for found in begun if found.number not in numbers)]
    return sorted(sorted(together, key=attrgetter("since")), key=lambda found: found.method == SESSION)
