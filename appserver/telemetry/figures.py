"""The figures of a server as people read them, in a terminal and on the status page."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

# A worker whose last heartbeat is older than this, in seconds, has a blocked event loop: it beats twice a second.
BLOCKED_AFTER = 2.0

Worker = Mapping[str, Any]
"""A worker as `/status` has it."""


def worker_rows(workers: Sequence[Worker], now: datetime) -> list[dict[str, str]]:
    """The workers, each as the cells of a row, by the name of their column."""
    cells: dict[str, Callable[[Worker], str]] = {
        "ID": lambda worker: str(worker["id"]),
        "PID": lambda worker: str(worker["pid"] or "-"),
        "GEN": lambda worker: str(worker["generation"]),
        "STATE": shown_state,
        "UP": lambda worker: age(worker["started_at"], now),
        "REQUESTS": lambda worker: number(worker["requests"]),
        "RUNNING": lambda worker: number(worker["in_progress"]),
        "CONNS": lambda worker: number(worker["connections"]),
        "WS": lambda worker: number(worker["websockets"]),
        "MEMORY": lambda worker: size(worker["rss_bytes"]),
        "LAG": shown_lag,
    }
    if any(worker["http2_connections"] for worker in workers):
        cells["H2"] = shown_http2
    if any("threads" in worker for worker in workers):
        cells["THREADS"] = shown_threads
    return [{name: show(worker) for name, show in cells.items()} for worker in workers]


def shown_state(worker: Worker) -> str:
    """The state of a worker, or that its event loop does not turn."""
    blocked = worker["state"] == "ready" and (worker["heartbeat_age_seconds"] or 0.0) > BLOCKED_AFTER
    return "blocked" if blocked else str(worker["state"])


def shown_lag(worker: Worker) -> str:
    """How late the event loop is: since its last heartbeat, if that is long ago."""
    age = worker["heartbeat_age_seconds"] or 0.0
    return lag(age if age > BLOCKED_AFTER else worker["loop_lag_seconds"])


def shown_threads(worker: Worker) -> str:
    """How many threads of a WSGI application are busy, and how many requests wait for one: "8/8+3"; "-" without any."""
    if (threads := worker.get("threads")) is None:
        return "-"
    waiting = f"+{number(threads['waiting'])}" if threads["waiting"] else ""
    return f"{threads['busy']}/{threads['size']}{waiting}"


def shown_http2(worker: Worker) -> str:
    """How many connections speak HTTP/2, and how many streams are open on them: "3/17"."""
    return f"{number(worker['http2_connections'])}/{number(worker['http2_streams'])}"


def age(since: str | None, now: datetime) -> str:
    """How long ago a moment was (as RFC 3339), in its two largest units: "2h3m"; "-" for none."""
    if since is None:
        return "-"
    seconds = max(0, int((now - datetime.fromisoformat(since)).total_seconds()))
    for large, small, per in (("d", "h", 3600), ("h", "m", 60), ("m", "s", 1)):
        factor = {"d": 24, "h": 60, "m": 60}[large]
        count, rest = divmod(seconds // per, factor)
        if count:
            return f"{count}{large}{rest}{small}" if rest else f"{count}{large}"
    return f"{seconds}s"


def number(count: int) -> str:
    """A count in at most seven characters: "123456", "12.3M"."""
    for power, unit in ((4, "T"), (3, "G"), (2, "M")):
        if count >= 1000**power:
            return f"{count / 1000**power:.1f}{unit}"
    return str(count)


def size(octets: int) -> str:
    """A size of memory, in the unit that people expect: "45MiB"."""
    for power, unit in ((3, "GiB"), (2, "MiB"), (1, "KiB")):
        if octets >= 1024**power:
            return f"{octets / 1024**power:.{1 if power == 3 else 0}f}{unit}"
    return f"{octets}B" if octets else "-"


def lag(seconds: float) -> str:
    """How late an event loop was: "0.2ms", "1.5s"."""
    return f"{seconds * 1000:.1f}ms" if seconds < 1 else f"{seconds:.1f}s"
