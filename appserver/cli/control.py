"""The commands to a running server."""

from __future__ import annotations

import argparse
import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from appserver.cli.client import ControlClient, Refused, is_answering, wait_for_end
from appserver.cli.options import Parser, named_path
from appserver.cli.output import show
from appserver.cli.status import as_table
from appserver.cli.top import watch
from appserver.errors import ControlError, UsageError
from appserver.settings import look_up, settings_files, usual_files
from appserver.settings.runtime import client_places

# Seconds that a server may take to answer; its master never does anything that takes long.
_TIMEOUT = 10.0

_NO_SERVER_NAMED = """\
which server? name the settings that it runs with, as in
    appserver {command} --config server.toml
or its control socket, as in
    appserver {command} --control /run/appserver.sock"""


def _client(command: str, options: argparse.Namespace, environ: Mapping[str, str]) -> ControlClient:
    """The way to the server that the options name."""
    path = options.control or _configured_path(command, options.config, environ)
    return ControlClient(path, options.timeout or None)


def _configured_path(command: str, config: Sequence[Path] | None, environ: Mapping[str, str]) -> Path:
    """Find the control socket: where the settings say, or at one of the places where a server puts it by itself."""
    files = settings_files(config or usual_files(), environ)
    value = look_up("admin.control", files, environ=environ)
    if isinstance(value, str) and value not in ("", "auto"):
        return Path(value)
    name = ", ".join(map(str, files))
    if value == "":
        raise ControlError(
            f'{name or "the environment"}: admin.control is "", so this server has no control socket: name one in [admin] '
            f'(such as control = "/run/appserver.sock"), and restart the server; signals work without it'
        )
    places = client_places(files, environ)
    for place in places:
        if is_answering(place):
            return place
    tried = "".join(f"\n    {place}" for place in places)
    if not name:
        raise UsageError(f"{_NO_SERVER_NAMED.format(command=command)}\n  no server of this directory answers at{tried}")
    raise ControlError(
        f"{name}: admin.control is not set, and no server with these settings answers at{tried}\n"
        f"  it is not running, or runs as another user; set it in [admin] to have the socket elsewhere"
    )


# The commands


def _status(client: ControlClient, options: argparse.Namespace) -> None:
    status = client.look("/status")
    show(json.dumps(status, indent=2) + "\n" if options.json else as_table(status, _unreadiness(client)))


def _top(client: ControlClient, options: argparse.Namespace) -> None:
    watch(lambda: client.look("/activity"), options.interval, once=options.once)


def _unreadiness(client: ControlClient) -> str:
    """Why the server is not ready; empty if it is."""
    try:
        client.get("/readyz")
    except Refused as refused:
        return str(refused)
    return ""


def _reload(client: ControlClient, options: argparse.Namespace) -> None:  # noqa: ARG001 - each command has this form
    try:
        verdict = client.post("/reload")
    except Refused as refused:
        if isinstance(refused.answer, dict) and "result" in refused.answer:
            result = str(refused.answer["result"]).replace("_", " ")
            raise ControlError(f"reload {result}: {refused.answer['reason']}") from None
        raise
    show(f"reloaded: {verdict['reason']}\n")


def _scale(client: ControlClient, options: argparse.Namespace) -> None:
    answer = client.post("/scale", options.wish)
    show(f"{_workers(answer['count'])} wanted now, {answer['before']} before\n")


def _workers(count: int) -> str:
    return "1 worker" if count == 1 else f"{count} workers"


def _stop(client: ControlClient, options: argparse.Namespace) -> None:
    process = client.server_process()
    client.post("/stop", {"now": options.now})
    if process is None:
        show("stopping\n")
        return
    wait_for_end(process)
    show("stopped\n")


def _stacks(client: ControlClient, options: argparse.Namespace) -> None:
    target = "/stacks" if options.worker is None else f"/stacks?worker={options.worker}"
    for worker in client.look(target)["workers"]:
        show(
            f"=== worker {worker['id']} (pid {worker['pid']}, generation {worker['generation']}): threads\n\n"
            f"{worker['threads']}\n\n=== worker {worker['id']}: tasks\n\n{worker['tasks']}\n\n"
        )


def _reopen_logs(client: ControlClient, options: argparse.Namespace) -> None:  # noqa: ARG001 - each command has this form
    client.post("/reopen-logs")
    show("log files reopened\n")


def _upgrade(client: ControlClient, options: argparse.Namespace) -> None:  # noqa: ARG001 - each command has this form
    answer = client.post("/upgrade")
    show(f"upgraded: {answer['reason']}\n")


# Their options


def _parser(command: str, description: str, timeout: float = _TIMEOUT) -> Parser:
    parser = Parser(prog=f"appserver {command}", description=description, allow_abbrev=False)
    add = parser.add_argument
    add(
        "--config",
        metavar="FILE",
        type=named_path,
        action="append",
        help="the settings of the server, as it was given them (default: $APPSERVER_CONFIG)",
    )
    add(
        "--control", metavar="PATH", type=named_path, help="its control socket (default: admin.control of the settings)"
    )
    forever = "as long as it takes"
    add(
        "--timeout",
        metavar="SECONDS",
        type=seconds,
        default=timeout,
        help=f"how long to wait for its answer (default: {f'{timeout:g}' if timeout else forever})",
    )
    return parser


def seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"expected seconds, not {text!r}")
    return seconds


def _status_parser() -> Parser:
    parser = _parser("status", "Show how the server is, and how its workers are.")
    parser.add_argument("--json", action="store_true", help="as JSON, for programs")
    return parser


def _top_parser() -> Parser:
    parser = _parser("top", "Show what the workers are doing, again and again; press q to quit.")
    parser.add_argument(
        "--interval", metavar="SECONDS", type=_interval, default=1.0, help="between two looks (default: 1)"
    )
    parser.add_argument("--once", action="store_true", help="look twice, and print what has happened between")
    return parser


def _interval(text: str) -> float:
    return max(0.1, seconds(text))


def _reload_parser() -> Parser:
    text = (
        "Boot new workers from new code and settings. Exit code 0 when they serve, 1 (with the reason) if they do not."
    )
    return _parser("reload", text, timeout=0)


def _scale_parser() -> Parser:
    parser = _parser("scale", "Have N workers, until the next reload with another workers.count.")
    parser.add_argument(
        "wish", metavar="N", type=_wish, help="how many workers there are to be; +N or -N: so many more, or fewer"
    )
    return parser


def _wish(text: str) -> dict[str, int]:
    if not re.fullmatch(r"[+-]?\d{1,9}", text, re.ASCII):
        raise argparse.ArgumentTypeError(f"expected how many workers there are to be, or +N or -N, not {text!r}")
    return {"delta" if text.startswith(("+", "-")) else "count": int(text)}


def _worker(text: str) -> int:
    if not re.fullmatch(r"\d{1,4}", text, re.ASCII):
        raise argparse.ArgumentTypeError(
            f"expected the number of a worker (`appserver status` shows them), not {text!r}"
        )
    return int(text)


def _stop_parser() -> Parser:
    parser = _parser("stop", "Stop the server, and wait until it has stopped.")
    parser.add_argument("--now", action="store_true", help="at once; requests in progress are lost")
    return parser


def _stacks_parser() -> Parser:
    parser = _parser("stacks", "Show where the threads and the asyncio tasks of the workers are.")
    parser.add_argument(
        "worker", metavar="WORKER", type=_worker, nargs="?", help="the number of one worker (default: all)"
    )
    return parser


def _command(
    name: str, parser: Callable[[], Parser], body: Callable[[ControlClient, argparse.Namespace], Any]
) -> tuple[Callable[[], Parser], Callable[[argparse.Namespace], int]]:
    def run(options: argparse.Namespace) -> int:
        body(_client(name, options, os.environ), options)
        return 0

    return parser, run


COMMANDS: dict[str, tuple[Callable[[], Parser], Callable[[argparse.Namespace], int]]] = {
    name: _command(name, parser, body)
    for name, parser, body in (
        ("status", _status_parser, _status),
        ("top", _top_parser, _top),
        ("reload", _reload_parser, _reload),
        ("scale", _scale_parser, _scale),
        ("stop", _stop_parser, _stop),
        ("stacks", _stacks_parser, _stacks),
        ("reopen-logs", lambda: _parser("reopen-logs", "Open the log files anew, after a rotation."), _reopen_logs),
        ("upgrade", lambda: _parser("upgrade", "Replace the program of the master in place.", timeout=0), _upgrade),
    )
}
"""The commands by their words: each its options, and what it does with them."""
