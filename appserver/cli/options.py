"""What a run, and what `check` and `settings` of the same run, can be told."""

from __future__ import annotations

import argparse
import difflib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from appserver import __version__
from appserver.cli.output import show
from appserver.cli.words import COMMANDS, unknown_word
from appserver.errors import SettingsError, UsageError
from appserver.settings import Loaded, Override, load

if TYPE_CHECKING:
    from _typeshed import SupportsWrite

_USAGE = """\
appserver --config FILE [option ...]
       appserver module:attribute [option ...]
       appserver COMMAND [option ...]"""

_COMMANDS_HELP = """\
commands:
  check                 validate the settings (with --app also import the application)
  settings              show the resolved settings, and where each value comes from

commands to a running server, through its control socket (admin.control):
  status                how it is, and how its workers are
  top                   what its workers are doing, live
  reload                boot new workers from new code and settings; waits until they serve
  scale N               have N workers
  stop                  stop gracefully, or at once with --now; waits for the end
  stacks [WORKER]       where the threads and tasks of the workers are
  reopen-logs           open the log files anew, after a rotation
  upgrade               replace the program of the master in place

`appserver COMMAND --help` shows the options of a command.

exit codes:
  0 clean stop, 1 a command was refused or failed, 2 settings or usage, 3 a listener cannot be bound,
  4 the application cannot be imported, 5 its start-up failed, 70 a bug in appserver
"""

_NOTHING_TO_SERVE = """\
nothing to serve: name the application, as in
    appserver module:attribute
or a settings file, as in
    appserver --config server.toml"""


class Parser(argparse.ArgumentParser):
    """argparse, with errors that are raised, and with a hint for an unknown option."""

    def parse(self, arguments: Sequence[str]) -> argparse.Namespace:
        options, unknown = self.parse_known_args(arguments)
        if unknown:
            name = unknown[0].partition("=")[0]
            near = difflib.get_close_matches(name, self._option_string_actions, n=1)
            self.error(
                f"unknown argument {name}; " + (f"did you mean {near[0]}?" if near else f"see {self.prog} --help")
            )
        target = getattr(options, "target", None)
        if target is not None and ":" not in target:
            if target in COMMANDS:
                self.error(f"the command comes first: appserver {target} ...")
            self.error(unknown_word(target))
        return options

    def print_help(self, file: SupportsWrite[str] | None = None) -> None:  # noqa: ARG002 - the form of argparse
        show(self.format_help())

    def error(self, message: str) -> NoReturn:
        raise UsageError(message)


def _parser(prog: str, description: str, usage: str | None = None, epilog: str = "") -> Parser:
    parser = Parser(
        prog=prog,
        description=description,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        usage=usage,
        epilog=epilog,
    )
    add = parser.add_argument
    add("target", nargs="?", metavar="module:attribute", help="the application to serve")
    add("--config", metavar="FILE", type=Path, help="the settings file (default: $APPSERVER_CONFIG)")
    add(
        "--bind",
        metavar="ADDR",
        action="append",
        help="listen on HOST:PORT, [v6]:PORT, unix:/path or fd://N; repeatable",
    )
    add("--workers", metavar="N", help='how many worker processes, or "auto"')
    add("--factory", action="store_true", help="the attribute is a function that returns the application")
    add("--app-dir", metavar="DIR", help="the directory to import the application from")
    add("--env-file", metavar="FILE", help="a file with variables for the application's environment")
    add("--log-level", metavar="LEVEL", help="debug, info, warning, error or critical")
    add("--set", metavar="KEY=VALUE", action="append", default=[], help="any setting, as section.key=value; repeatable")
    return parser


def run_parser() -> Parser:
    parser = _parser("appserver", "A supervised ASGI server for production.", usage=_USAGE, epilog=_COMMANDS_HELP)
    parser.add_argument(
        "--watch", action="store_true", help="reload when a file of the application changes (development)"
    )
    parser.add_argument("--version", action="version", version=f"appserver {__version__}")
    return parser


def check_parser() -> Parser:
    parser = _parser("appserver check", "Validate the settings, and print every problem.")
    parser.add_argument("--app", action="store_true", help="import the application too, in a process of its own")
    return parser


def settings_parser() -> Parser:
    parser = _parser("appserver settings", "Show the resolved settings, and where each value comes from.")
    parser.add_argument("--format", choices=("toml", "json"), default="toml", help="default: toml")
    return parser


def _overrides(options: argparse.Namespace) -> list[Override]:
    """Return what the options set; --set comes first, so that the option made for a thing wins."""
    overrides = []
    for text in options.set:
        try:
            overrides.append(Override.parse(text, "--set"))
        except ValueError as error:
            raise UsageError(f"--set {text}: {error}") from None
    if options.bind is not None:
        overrides.append(Override("listeners", [{"bind": address} for address in options.bind], "--bind"))
    if options.factory:
        overrides.append(Override("app.factory", True, "--factory"))
    for key, value, where in (
        ("app.target", options.target, "argument"),
        ("workers.count", options.workers, "--workers"),
        ("app.directory", options.app_dir, "--app-dir"),
        ("app.env_file", options.env_file, "--env-file"),
        ("logging.level", options.log_level, "--log-level"),
    ):
        if value is not None:
            overrides.append(Override(key, value, where))
    return overrides


def loader(options: argparse.Namespace, environ: Mapping[str, str]) -> Callable[[], Loaded]:
    """Return what loads the settings, now and at every reload: from the same file, environment and options."""
    overrides = _overrides(options)
    environ = dict(environ)

    def read() -> Loaded:
        try:
            return load(options.config, environ=environ, overrides=overrides)
        except SettingsError as error:
            if options.config is None and not environ.get("APPSERVER_CONFIG") and _lacks_only_target(error):
                raise UsageError(_NOTHING_TO_SERVE) from None
            raise

    return read


def _lacks_only_target(error: SettingsError) -> bool:
    return [(problem.key, problem.value) for problem in error.problems] == [("app.target", "")]
