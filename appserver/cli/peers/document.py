"""deploy/MIGRATION.md, made from the tables: `python -m appserver.cli.peers.document`."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from appserver.cli.habits import ACCEPTED
from appserver.cli.peers.table import Option, Table, tables
from appserver.settings.rendering import toml_value

_HEAD = """\
# Coming from another server

Made from the tables in `appserver/cli/peers`; a test holds them complete against the releases named below.

Let appserver translate the command line that you have. It reads what the other server would read: the environment
(`UVICORN_*`, `GRANIAN_*`, `GUNICORN_CMD_ARGS`, `WEB_CONCURRENCY`), and configuration files, Python ones in a process of their own.

    appserver migrate -- uvicorn main:app --workers 4 --proxy-headers > server.toml
    appserver migrate -- gunicorn -c gunicorn.conf.py main:app > server.toml
    appserver migrate -- fastapi run app/main.py --port 80 > server.toml
    appserver check --config server.toml --app

The options marked with * are taken by `appserver` as they are: `appserver main:app --host 0.0.0.0 --port 8080 --reload` is what you
think it is. All others are answered with what this page says.

## What is different, whoever you come from

| | here |
|---|---|
| workers | one for each CPU that this process may use, unless `workers.count`, `--workers` or `WEB_CONCURRENCY` says otherwise |
| reload | `HUP`, `appserver reload`, `systemctl reload`: new workers serve before old ones go; code that does not start changes nothing |
| a worker that is stuck | its stacks are logged after `workers.stall_report` (5 s), it is replaced after `workers.stall_timeout` (30 s) |
| stop | `TERM`; requests have `workers.graceful_timeout` (30 s), the lifespan shutdown `workers.lifespan_timeout` on top |
| logs | JSON unless a terminal is there; the access log is on; `--log-config` is for the application's loggers, not for the server's own |
| files | relative paths start where appserver is started |
| WSGI | recognised, or `app.interface = "wsgi"`; a worker runs `app.threads` (8) requests at once, 1 is what gunicorn's `sync` worker does |
| below a prefix | `app.root_path` is put in front of every path; where nothing has removed it (gunicorn's `SCRIPT_NAME`): `proxy.strips_prefix = false` |
| behind a proxy | of `X-Forwarded-For` and its family `-Host`, `-Port` and `-Prefix` count as well, as soon as the proxy is trusted, by default on the same machine: have it set or remove each of them, or a client chooses the `Host` that your application sees (nginx passes on what is not set; `deploy/nginx.conf` sets all) |

## From Mangum

`handler = Mangum(app, ...)` becomes `handler = appserver.aws.handler(app, ...)`, with the same arguments; `appserver lambda main:app` is a runtime that
streams. What differs, and why, is in deploy/lambda/README.md.
"""


def document() -> str:
    """Return the text of `deploy/MIGRATION.md`."""
    return _HEAD + "".join(f"\n{part}" for table in tables() for part in _chapter(table))


def _chapter(table: Table) -> Iterator[str]:
    yield f"## {table.name}\n"
    if table.defaults:
        yield "What it does when nothing is said, and `appserver migrate` therefore writes:\n"
        yield (
            "\n".join(
                f"- `{default.setting or default.by} = {toml_value(default.value)}`: {default.remark}"
                for default in table.defaults
            )
            + "\n"
        )
    rows = [f"| {_name(option)} | {_here(option)} |" for option in table.options.values()]
    yield "\n".join([f"| {table.peer} | appserver |", "|---|---|", *rows]) + "\n"


def _name(option: Option) -> str:
    if not option.flags:
        return f"`{option.name}` (in its file)"
    return ", ".join(f"`{flag}`{' *' if _is_taken(flag, option) else ''}" for flag in (*option.flags, *option.negated))


def _is_taken(flag: str, option: Option) -> bool:
    """Tell whether a run takes the flag, and for the same setting: two servers may mean different things by it."""
    taken = ACCEPTED.get(flag)
    return taken is not None and not (taken and option.setting and taken != option.setting)


def _here(option: Option) -> str:
    if option.none:
        return f"none: {option.none}"
    words = option.counterpart()
    if option.negated and option.off:
        words = f"{words}; {option.counterpart(option.negated[0])}"
    words = words if option.here else f"`{words}`"
    return words.replace("|", "\\|") + (f" ({option.remark})" if option.remark else "")


if __name__ == "__main__":
    sys.stdout.write(document())
