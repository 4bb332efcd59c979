"""The state of a running server, as text for a terminal of 80 columns."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from appserver.telemetry.console import printable

WIDTH = 80

# A worker whose last heartbeat is older than this, in seconds, has a blocked event loop: it beats twice a second.
BLOCKED_AFTER = 2.0

Worker = Mapping[str, Any]


def as_table(status: Mapping[str, Any], unreadiness: str, now: datetime | None = None) -> str:
    """Show what `/status` says; `unreadiness` is the reason of `/readyz`, empty for a server that is ready."""
    now = now or datetime.now(UTC)
    about = "appserver {version}: {state}, generation {generation}, pid {pid}".format_map(status)
    paragraphs = [
        f"{about}, up {age(status['started_at'], now)}",
        f"not ready: {unreadiness}" if unreadiness else "ready",
        "listening on " + ", ".join(status["listeners"]),
        _last_reload(status["last_reload"], now),
        *(_deadly(request, now) for request in status.get("deadly_requests", ())),
    ]
    # Paths are what clients write, reasons what an application does: none of it is to talk to this terminal.
    lines = [printable(line) for text in paragraphs for line in textwrap.wrap(text, WIDTH, subsequent_indent="    ")]
    return "\n".join([*lines, "", *_rows(status["workers"], now)]) + "\n"


def _last_reload(reload: Mapping[str, Any] | None, now: datetime) -> str:
    if reload is None:
        return "no reload so far"
    return f"last reload {age(reload['at'], now)} ago: {reload['result']}, {reload['reason']}"


def _deadly(request: Mapping[str, Any], now: datetime) -> str:
    """Of which request workers keep dying; alone means that a worker served nothing else, so it was certainly this one."""
    deaths = "{deaths} workers have died while they served {method} {path} ({alone} nothing else)".format_map(request)
    return f"{deaths}, the last one {age(request['last_at'], now)} ago"


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


def columns(rows: Sequence[Mapping[str, str]], left: Collection[str] = ()) -> list[str]:
    """Rows as lines, below their names; cells are right-aligned but those of the columns in `left`."""
    names = list(rows[0]) if rows else []
    table = [names, *(list(row.values()) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return [
        " ".join(
            cell.ljust(width) if name in left else cell.rjust(width)
            for name, cell, width in zip(names, row, widths, strict=True)
        ).rstrip()
        for row in table
    ]


def _rows(workers: list[Worker], now: datetime) -> list[str]:
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
    return columns([{name: show(worker) for name, show in cells.items()} for worker in workers])


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
