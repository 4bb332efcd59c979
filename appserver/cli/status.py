"""The state of a running server, as text for a terminal of 80 columns."""

from __future__ import annotations

import textwrap
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from appserver.telemetry.console import printable
from appserver.telemetry.figures import age, worker_rows

WIDTH = 80


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
    return "\n".join([*lines, "", *columns(worker_rows(status["workers"], now))]) + "\n"


def _last_reload(reload: Mapping[str, Any] | None, now: datetime) -> str:
    if reload is None:
        return "no reload so far"
    return f"last reload {age(reload['at'], now)} ago: {reload['result']}, {reload['reason']}"


def _deadly(request: Mapping[str, Any], now: datetime) -> str:
    """Of which request workers keep dying; alone means that a worker served nothing else, so it was certainly this one."""
    deaths = "{deaths} workers have died while they served {method} {path} ({alone} nothing else)".format_map(request)
    return f"{deaths}, the last one {age(request['last_at'], now)} ago"


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
