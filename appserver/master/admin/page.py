"""The status page: what `appserver status` shows, for a browser."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from html import escape
from string import Template
from typing import Any

from appserver.telemetry.figures import age, worker_rows

REFRESH = 5
"""Seconds after which a browser asks again."""

# Nothing is loaded and nothing runs: whatever a path or a reason may hold, it is text.
POLICY = b"default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

_STYLE = """
:root { color-scheme: light dark; }
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 64rem; padding: 0 1rem; }
h1 { font-size: 1.4rem; margin: 0; }
h1 b { border-radius: .3rem; color: #fff; font-size: .9rem; font-weight: 600; padding: .15rem .5rem; vertical-align: middle; }
.ready b { background: #1a7f37; }
.unready b { background: #bf3030; }
dl { display: grid; gap: .1rem 1rem; grid-template-columns: max-content auto; }
dt { opacity: .7; }
dd { margin: 0; overflow-wrap: anywhere; }
table { border-collapse: collapse; width: 100%; }
th, td { border-bottom: 1px solid #8884; font-variant-numeric: tabular-nums; padding: .3rem .5rem; text-align: right; }
th { font-size: .8rem; opacity: .7; }
.blocked td { background: #bf30302e; }
div { overflow-x: auto; }
nav { margin-top: 1.5rem; }
"""
_PAGE = Template("""\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="refresh" content="$refresh">
<title>appserver: $readiness</title>
<style>$style</style>
</head>
<body>
<h1 class="$kind">appserver <b>$readiness</b></h1>
<dl>
$facts</dl>
<div><table>
$workers</table></div>
<nav><a href="status">/status</a> · <a href="metrics">/metrics</a> · <a href="readyz">/readyz</a> · <a href="livez">/livez</a></nav>
</body>
</html>
""")


def render(status: Mapping[str, Any], unreadiness: str | None, now: datetime | None = None) -> bytes:
    """Return the page for what `/status` says; `unreadiness` is the reason of `/readyz`, None for a server that is ready."""
    now = now or datetime.now(UTC)
    page = _PAGE.substitute(
        refresh=REFRESH,
        style=_STYLE,
        kind="ready" if unreadiness is None else "unready",
        readiness="ready" if unreadiness is None else escape(f"not ready: {unreadiness}"),
        facts="".join(f"<dt>{name}</dt><dd>{escape(text)}</dd>\n" for name, text in _facts(status, now)),
        workers="".join(_workers(worker_rows(status["workers"], now))),
    )
    return page.encode(errors="replace")


def _facts(status: Mapping[str, Any], now: datetime) -> Iterator[tuple[str, str]]:
    yield "state", f"{status['state']}, generation {status['generation']}, up {age(status['started_at'], now)}"
    yield "version", f"{status['version']}, pid {status['pid']}"
    yield "listening on", ", ".join(status["listeners"])
    reload = status["last_reload"]
    yield (
        "last reload",
        "none so far" if reload is None else f"{age(reload['at'], now)} ago: {reload['result']}, {reload['reason']}",
    )
    for request in status["deadly_requests"]:
        deaths = "{method} {path}: {deaths} workers have died while they served it ({alone} nothing else)".format_map(
            request
        )
        yield "deadly", f"{deaths}, the last one {age(request['last_at'], now)} ago"


def _workers(rows: Iterable[Mapping[str, str]]) -> Iterator[str]:
    for index, row in enumerate(rows):
        if not index:
            yield f"<tr>{''.join(f'<th>{name.lower()}</th>' for name in row)}</tr>\n"
        blocked = ' class="blocked"' if row["STATE"] == "blocked" else ""
        yield f"<tr{blocked}>{''.join(f'<td>{escape(cell)}</td>' for cell in row.values())}</tr>\n"
