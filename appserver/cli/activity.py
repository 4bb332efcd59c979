"""The activity of a server between two looks at it, as text: the view of `appserver top`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from math import inf
from typing import Any

from appserver.cli.status import columns
from appserver.telemetry.console import RED, RESET, YELLOW, printable
from appserver.telemetry.figures import age, number, shown_http2, shown_lag, shown_state, shown_threads, size

Look = Mapping[str, Any]
"""What `/activity` says at one moment."""

# How often a quantile is met within the upper bound of a bucket but not within the one before.
MEDIAN, TAIL = 0.5, 0.99

LONG = 0.5
"""Seconds that a request has been running, to be shown: of a busy server the others are gone when somebody reads of them."""


@dataclass(frozen=True, slots=True)
class WorkerActivity:
    """A worker as it is, and what it has done since the look before: None if it was not there then."""

    worker: Mapping[str, Any]
    rate: float | None
    cpu: float | None
    durations: Sequence[int]


def quantile(share: float, bounds: Sequence[float], counts: Sequence[int]) -> str:
    """How long a share of the requests took at most, as text; "-" if there were none.

    What is known is the bucket; within it durations are taken to be spread evenly. Below the first bound nothing is
    known but that, and beyond the last one neither.
    """
    wanted = share * sum(counts)
    if not wanted:
        return "-"
    below, seen = 0.0, 0
    for bound, count in zip((*bounds, inf), counts, strict=True):
        if seen + count >= wanted and count:
            if bound == inf:
                return f">{duration(below)}"
            return f"<{duration(bound)}" if not below else duration(below + (bound - below) * (wanted - seen) / count)
        below, seen = bound, seen + count
    return "-"


def duration(seconds: float) -> str:
    """A time that a request takes: "7ms", "1.2s", "3m5s"."""
    if seconds < 1:
        return f"{seconds * 1000:.3g}ms"
    return f"{seconds:.1f}s" if seconds < 100 else f"{int(seconds // 60)}m{int(seconds % 60)}s"


def compare(before: Look, after: Look) -> list[WorkerActivity]:
    """The activity of each worker of the second look since the first."""
    seconds = max(after["clock"] - before["clock"], 0.001)
    earlier = {(worker["id"], worker["pid"]): worker for worker in before["workers"]}
    found = []
    for worker in after["workers"]:
        old = earlier.get((worker["id"], worker["pid"]))
        if old is None:
            found.append(WorkerActivity(worker, None, None, [0] * len(worker["durations"])))
            continue
        durations = _grown(old["durations"], worker["durations"])
        cpu = max(0.0, worker["cpu_seconds"] - old["cpu_seconds"]) / seconds
        found.append(WorkerActivity(worker, sum(durations) / seconds, cpu, durations))
    return found


_STATES = {"blocked": RED, "failing": RED, "killed": RED, "stopping": YELLOW, "booting": YELLOW, "draining": YELLOW}


def as_view(before: Look, after: Look, *, width: int, height: int, now: datetime, colours: bool = False) -> str:
    """The view: the server, its workers, its running requests; at most `height` lines of `width` characters.

    With `colours`, what needs somebody to look at it is red, what is passing is yellow.
    """
    workers = compare(before, after)
    more: dict[str, Callable[[Mapping[str, Any]], str]] = {}
    if any(worker["http2_connections"] for worker in after["workers"]):
        more["H2"] = shown_http2
    if any("threads" in worker for worker in after["workers"]):
        more["THREADS"] = shown_threads
    table = columns([_row(one, after["buckets"], now, more) for one in workers])
    summary = _summary(before, after, now)
    lines = [*summary, "", *table, ""]
    running = _running(after)
    lines += [f"{len(running)} longest running requests" if running else "no request has been running for long"]
    lines += columns([_request_row(*one) for one in running], left=("METHOD", "PATH")) if running else []
    shown = [line[:width].rstrip() for line in lines]
    if colours:
        painted = {
            len(summary) + 1 + index: _STATES.get(shown_state(one.worker), "")
            for index, one in enumerate(workers, start=1)
        }
        painted[0] = RED if after["unreadiness"] else ""
        shown = [f"{colour}{line}{RESET}" if (colour := painted.get(at)) else line for at, line in enumerate(shown)]
    if len(shown) > height:
        shown = [*shown[: height - 1], f"... {len(shown) - height + 1} more lines"[:width]]
    return "\n".join(shown) + "\n"


def _summary(before: Look, after: Look, now: datetime) -> list[str]:
    about = "appserver {version}: {state}, generation {generation}, pid {pid}".format_map(after)
    seconds = max(after["clock"] - before["clock"], 0.001)
    durations = _grown(before["durations"], after["durations"])
    bounds = after["buckets"]
    running = sum(worker["in_progress"] for worker in after["workers"])
    connections = sum(worker["connections"] for worker in after["workers"])
    readiness = f"; not ready: {after['unreadiness']}" if after["unreadiness"] else ""
    traffic = (
        f"{rate(sum(durations) / seconds)} requests/s, p50 {quantile(MEDIAN, bounds, durations)}, "
        f"p99 {quantile(TAIL, bounds, durations)}; {number(running)} running, {number(connections)} connections"
    )
    return [f"{about}, up {age(after['started_at'], now)}{readiness}", traffic]


def _row(
    one: WorkerActivity, bounds: Sequence[float], now: datetime, more: Mapping[str, Callable[[Mapping[str, Any]], str]]
) -> dict[str, str]:
    """The cells of one worker; `more` are columns that not every server has."""
    worker = one.worker
    cells: dict[str, Callable[[], str]] = {
        "ID": lambda: str(worker["id"]),
        "PID": lambda: str(worker["pid"] or "-"),
        "GEN": lambda: str(worker["generation"]),
        "STATE": lambda: shown_state(worker),
        "UP": lambda: age(worker["started_at"], now),
        "REQ/S": lambda: "-" if one.rate is None else rate(one.rate),
        "P50": lambda: quantile(MEDIAN, bounds, one.durations),
        "P99": lambda: quantile(TAIL, bounds, one.durations),
        "RUN": lambda: number(worker["in_progress"]),
        "CONNS": lambda: number(worker["connections"]),
        "WS": lambda: number(worker["websockets"]),
        "LAG": lambda: shown_lag(worker),
        "CPU": lambda: "-" if one.cpu is None else f"{one.cpu:.0%}",
        "MEM": lambda: size(worker["rss_bytes"]),
    }
    return {name: show() for name, show in cells.items()} | {name: show(worker) for name, show in more.items()}


def _running(look: Look) -> list[tuple[float, int, str, str]]:
    """The requests that have been running for long, as age, worker, method and path; the longest first."""
    found = [
        (request["age_seconds"], worker["id"], request["method"], request["path"])
        for worker in look["workers"]
        for request in worker["running"]
        if request["age_seconds"] >= LONG
    ]
    return sorted(found, key=lambda request: -request[0])


def _request_row(seconds: float, worker: int, method: str, path: str) -> dict[str, str]:
    # Both are the client's, and not to talk to this terminal.
    return {"AGE": duration(seconds), "WORKER": str(worker), "METHOD": printable(method), "PATH": printable(path)}


def rate(per_second: float) -> str:
    """A rate with three digits that mean something: "0.5", "12.3", "4711"."""
    return number(round(per_second)) if per_second >= 100 or per_second == 0 else f"{per_second:.1f}"


def _grown(before: Sequence[int], after: Sequence[int]) -> list[int]:
    return [max(0, new - old) for old, new in zip(before, after, strict=True)]
