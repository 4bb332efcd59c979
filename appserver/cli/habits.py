"""Options that other servers have and that mean the same here: a run takes them by those names."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from appserver.errors import UsageError
from appserver.settings import Override

_LISTENING = ("--host", "--port", "--uds", "--fd")


class Habit(NamedTuple):
    """Some options that mean one setting; with a `meaning` of their own they take no value.

    `values` are the values of other servers, and what they are called here; others are the setting's own. `also` is what
    is set besides.
    """

    flags: tuple[str, ...]
    setting: str
    metavar: str = ""
    meaning: Any = None
    values: Mapping[str, Any] = MappingProxyType({})
    split: bool = False
    also: Mapping[str, Any] = MappingProxyType({})


HABITS = (
    Habit(("--root-path",), "app.root_path", "PATH"),
    Habit(("--lifespan",), "app.lifespan", "MODE"),
    Habit(("--interface",), "app.interface", "KIND", values={"asgi": "asgi3"}),
    Habit(("--loop",), "workers.loop", "LOOP"),
    Habit(("--preload",), "workers.preload", meaning=True),
    Habit(("--max-requests", "--limit-max-requests"), "workers.max_requests", "N"),
    Habit(("--limit-concurrency",), "workers.max_concurrency", "N"),
    Habit(("--http",), "http.parser", "PARSER"),
    Habit(("--timeout-keep-alive",), "http.keepalive_timeout", "SECONDS"),
    Habit(
        ("--ws",),
        "websocket.enabled",
        "KIND",
        values={"auto": True, "none": False, "websockets": True, "websockets-sansio": True},
    ),
    Habit(("--proxy-headers",), "proxy.headers", meaning="x-forwarded"),
    Habit(("--no-proxy-headers",), "proxy.headers", meaning="none"),
    Habit(("--forwarded-allow-ips",), "proxy.trusted", "IPS", split=True),
    Habit(("--certfile", "--ssl-certfile"), "tls.certificate", "FILE"),
    Habit(("--keyfile", "--ssl-keyfile"), "tls.key", "FILE"),
    Habit(("--access-logfile",), "access_log.file", "FILE", values={"-": ""}, also={"access_log.enabled": True}),
    Habit(("--log-config", "--log-config-json"), "logging.config_file", "FILE"),
    Habit(("--pid",), "admin.pid_file", "FILE"),
    Habit(("--reload-dir",), "dev.watch", "DIR"),
)

ACCEPTED: Mapping[str, str] = {
    **{flag: habit.setting for habit in HABITS for flag in habit.flags},
    **dict.fromkeys((*_LISTENING, "-b", "--bind"), "listeners.bind"),
    **dict.fromkeys(("-w", "--workers"), "workers.count"),
    **dict.fromkeys(("-c", "--config", "--reload"), ""),
    "--factory": "app.factory",
    "--app-dir": "app.directory",
    "--env-file": "app.env_file",
    "--log-level": "logging.level",
}
"""All options of a run that other servers have under the same name, and the setting that each is."""


class _Note(argparse.Action):
    """Adds what an option means to the namespace's `habits`, as it was written."""

    def __init__(self, *arguments: Any, habit: Habit, **options: Any) -> None:
        options["nargs"] = 0 if habit.meaning is not None else None
        super().__init__(*arguments, **options)
        self._habit = habit

    def __call__(self, _parser: object, namespace: argparse.Namespace, values: Any, flag: str | None = None) -> None:
        habit, noted = self._habit, getattr(namespace, "habits", [])
        value: Any = habit.meaning if habit.meaning is not None else habit.values.get(values, values)
        if habit.split:
            value = [part.strip() for part in values.split(",")]
        elif habit.setting == "dev.watch":
            earlier = next((one for one in noted if one.key == habit.setting), None)
            noted = [one for one in noted if one is not earlier]
            value = [*(earlier.value if earlier else ()), values]
        where = flag or habit.flags[0]
        also = [Override(key, meaning, where) for key, meaning in habit.also.items()]
        namespace.habits = [*noted, Override(habit.setting, value, where), *also]


def add_habits(parser: argparse.ArgumentParser) -> None:
    """Add the options, in a group of their own."""
    group = parser.add_argument_group("options by the names that other servers have for them")
    group.add_argument("--host", metavar="HOST", help="with --port: as --bind HOST:PORT (default: 127.0.0.1)")
    group.add_argument("--port", metavar="PORT", help="(default: 8000)")
    group.add_argument("--uds", metavar="PATH", help="as --bind unix:PATH")
    group.add_argument("--fd", metavar="N", help="as --bind fd://N")
    for habit in HABITS:
        meaning = "" if habit.meaning is None else f" = {str(habit.meaning).lower()}"
        option = group.add_argument(
            *habit.flags,
            action=_Note,
            habit=habit,
            dest="habits",
            default=[],
            help=f"{habit.setting}{meaning}",
        )
        option.metavar = habit.metavar or None


def listeners(options: argparse.Namespace) -> list[Override]:
    """Return what the options say about listening, as the whole list of listeners, or nothing."""
    addresses = [(address, "--bind") for address in options.bind or ()]
    addresses += [(f"unix:{options.uds}", "--uds")] if options.uds is not None else []
    addresses += [(f"fd://{options.fd}", "--fd")] if options.fd is not None else []
    if options.host is not None or options.port is not None:
        host = "127.0.0.1" if options.host is None else options.host
        where = "--host" if options.host is not None else "--port"
        addresses.append(
            (f"[{host}]:{options.port or 8000}" if ":" in host else f"{host}:{options.port or 8000}", where)
        )
    encrypted = next((one for one in options.habits if one.key == "tls.certificate"), None)
    if not addresses:
        if encrypted is None or options.config is not None:
            return []  # those of the file have tls = true where they are to have it
        addresses = [("127.0.0.1:8000", encrypted.where)]
    tls = {} if encrypted is None else {"tls": True}
    return [Override("listeners", [{"bind": address, **tls} for address, _ in addresses], addresses[0][1])]


def refuse_programs(config: Sequence[object]) -> None:
    """Raise UsageError for a configuration file of another server, which is a program."""
    for name in map(str, config):
        if name.endswith(".py") or name.startswith(("python:", "file:")):
            raise UsageError(
                f"-c {name}: this is another server's configuration; the settings that it comes to are written by\n"
                f"    appserver migrate -- gunicorn -c {name} module:attribute"
            )
