"""Options of a run, and of `check` and `settings` for the same run."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from appserver import __version__, distribution
from appserver.cli import peers
from appserver.cli.habits import add_habits, listeners, refuse_programs
from appserver.cli.output import show
from appserver.cli.reading import reader
from appserver.cli.words import COMMANDS, unknown_word
from appserver.errors import UsageError
from appserver.nearest import nearest
from appserver.settings import Loaded, Override

if TYPE_CHECKING:
    from _typeshed import SupportsWrite

_USAGE = """\
appserver --config FILE [option ...]
       appserver module:attribute [option ...]
       appserver COMMAND [option ...]"""

_COMMANDS_HELP = """\
commands:
  dev                   serve for development: one process, reloads, breakpoint() works
  check                 validate the settings (with --app also import the application)
  settings              show the resolved settings, and where each value comes from
  init                  write a commented server.toml for the application found here
  migrate -- ...        print the settings that another server's command line comes to
  lambda                be the runtime of an AWS Lambda function

commands to a running server, through its control socket (admin.control):
  status                how it is, and how its workers are
  top                   what its workers are doing, live
  reload                boot new workers from new code and settings; waits until they serve
  scale N               have N workers
  stop                  stop gracefully, or at once with --now; waits for the end
  stacks [WORKER]       where the threads and tasks of the workers are
  reopen-logs           open the log files anew, after a rotation
  upgrade               replace the program of the master in place

`appserver help COMMAND` shows the options of a command; `appserver completion SHELL` completes them in a shell.

exit codes:
  0 clean stop, 1 a command was refused or failed, 2 settings or usage, 3 a listener cannot be bound,
  4 the application cannot be imported, 5 its start-up failed, 70 a bug in appserver
"""


class Parser(argparse.ArgumentParser):
    """argparse, with errors that are raised, and with a hint for an unknown option.

    `answers_foreign_options` is set for commands that people call with the options of other servers.
    """

    answers_foreign_options = False

    def parse(self, arguments: Sequence[str]) -> argparse.Namespace:
        options, unknown = self.parse_known_args(arguments)
        if unknown:
            self.error(self._explain_unknown(unknown))
        target = getattr(options, "target", None)
        if target is not None and ":" not in target:
            if target in COMMANDS:
                self.error(f"the command comes first: appserver {target} ...")
            self.error(unknown_word(target))
        return options

    def _explain_unknown(self, unknown: Sequence[str]) -> str:
        """Say of each unknown option what it is here, if it is another server's, or what was probably meant."""
        flags = [argument.partition("=")[0] for argument in unknown if argument.startswith("-")]
        lines, is_foreign = [], False
        for flag in dict.fromkeys(flags) or unknown[:1]:
            if flag in self._option_string_actions:
                lines.append(f'{flag} stands behind "--", where nothing is an option: write it in front of that')
                continue
            foreign = peers.answer(flag) if self.answers_foreign_options else None
            is_foreign |= foreign is not None
            near = nearest(flag, self._option_string_actions)
            hint = f"did you mean {near}?" if near else f"see {self.prog} --help"
            lines.append(foreign or f"unknown argument {flag}; {hint}")
        if is_foreign:
            lines.append(
                "`appserver migrate -- COMMAND LINE` writes the settings that another server's command line comes to"
            )
        return "\n  ".join(line for text in lines for line in text.splitlines())

    def print_help(self, file: SupportsWrite[str] | None = None) -> None:  # noqa: ARG002 - the form of argparse
        show(self.format_help())

    def _print_message(self, message: str, file: SupportsWrite[str] | None = None) -> None:  # noqa: ARG002
        show(message)  # the version

    def error(self, message: str) -> NoReturn:
        raise UsageError(message)


def named_path(text: str) -> Path:
    # Path("") is the current directory, whose *.toml would all be settings, pyproject.toml among them.
    if not text:
        raise argparse.ArgumentTypeError("expected the name of a file or a directory, not an empty text")
    return Path(text)


def application_parser(prog: str, description: str, usage: str | None = None, epilog: str = "") -> Parser:
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
    parser.answers_foreign_options = True
    add(
        "-c",
        "--config",
        metavar="FILE",
        type=named_path,
        action="append",
        help="the settings file, or a directory of them (*.toml); repeatable, the last is the strongest (default: "
        "$APPSERVER_CONFIG, or ./server.toml if no application is named)",
    )
    add(
        "-b",
        "--bind",
        metavar="ADDR",
        action="append",
        help="listen on HOST:PORT, [v6]:PORT, unix:/path or fd://N; repeatable",
    )
    add("-w", "--workers", metavar="N", help='how many worker processes, or "auto"')
    add("--factory", action="store_true", help="the attribute is a function that returns the application")
    add("--app-dir", metavar="DIR", help="the directory to import the application from")
    add("--env-file", metavar="FILE", help="a file with variables for the application's environment")
    add("--log-level", metavar="LEVEL", help="debug, info, warning, error or critical")
    add("--set", metavar="KEY=VALUE", action="append", default=[], help="any setting, as section.key=value; repeatable")
    add_habits(parser)
    return parser


def run_parser() -> Parser:
    parser = application_parser(
        "appserver", "A supervised ASGI server for production.", usage=_USAGE, epilog=_COMMANDS_HELP
    )
    parser.add_argument(
        "--watch", "--reload", action="store_true", help="reload when a file of the application changes (development)"
    )
    parser.add_argument(
        "-V", "--version", action="version", version=f"appserver {__version__} ({distribution.build()})"
    )
    return parser


def check_parser() -> Parser:
    parser = application_parser("appserver check", "Validate the settings, and print every problem.")
    parser.add_argument("--app", action="store_true", help="import the application too, in a process of its own")
    return parser


def settings_parser() -> Parser:
    parser = application_parser("appserver settings", "Show the resolved settings, and where each value comes from.")
    parser.add_argument("--format", choices=("toml", "json"), default="toml", help="default: toml")
    parser.add_argument(
        "--json-schema", action="store_true", help="print the JSON schema of settings files, for editors"
    )
    return parser


def _overrides(options: argparse.Namespace) -> list[Override]:
    """Return what the options set; --set comes first, so that the option made for a thing wins."""
    overrides = []
    for text in options.set:
        try:
            overrides.append(Override.parse(text, "--set"))
        except ValueError as error:
            raise UsageError(f"--set {text}: {error}") from None
    overrides += options.habits
    overrides += listeners(options)
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
    refuse_programs(options.config or [])
    return reader(options.config, _overrides(options), environ)
