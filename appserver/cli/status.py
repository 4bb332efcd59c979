"""The state of a running server, as text for a terminal of 80 columns."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

WIDTH = 80

Worker = Mapping[str, Any]


def as_table(status: Mapping[str, Any], unreadiness: str, now: datetime | None = None) -> str:
    """Show what `/status` says; `unreadiness` is the reason of `/readyz`, empty for a server that is ready."""
    now = now or datetime.now(UTC)
    about = "appserver {version}: {state}, generation {generation}, pid {pid}".format(**status)
    paragraphs = [
        f"{about}, up {age(status['started_at'], now)}",
        f"not ready: {unreadiness}" if unreadiness else "ready",
        "listening on " + ", ".join(status["listeners"]),
        _last_reload(status["last_reload"], now),
    ]
    lines = [line for text in paragraphs for line in textwrap.wrap(text, WIDTH, subsequent_indent="    ")]
    return "\n".join([*lines, "", *_rows(status["workers"], now)]) + "\n"


def _last_reload(reload: Mapping[str, Any] | None, now: datetime) -> str:
    if reload is None:
        return "no reload so far"
    return f"last reload {age(reload['at'], now)} ago: {reload['result']}, {reload['reason']}"


def _rows(workers: list[Worker], now: datetime) -> list[str]:
    columns: dict[str, Callable[[Worker], str]] = {
        "ID": lambda worker: str(worker["id"]),
        "PID": lambda worker: str(worker["pid"] or "-"),
        "GEN": lambda worker: str(worker["generation"]),
        "STATE": lambda worker: str(worker["state"]),
        "UP": lambda worker: age(worker["started_at"], now),
        "REQUESTS": lambda worker: number(worker["requests"]),
        "RUNNING": lambda worker: number(worker["in_progress"]),
        "CONNS": lambda worker: number(worker["connections"]),
        "WS": lambda worker: number(worker["websockets"]),
        "MEMORY": lambda worker: size(worker["rss_bytes"]),
        "LAG": lambda worker: lag(worker["loop_lag_seconds"]),
    }
    table = [list(columns), *([show(worker) for show in columns.values()] for worker in workers)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return [" ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in table]


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
