"""The command line: what the words and options mean, and the exit codes.

Only here does an error become an exit code and a line for people; only `__main__` and the console script exit.
"""

from __future__ import annotations

import argparse
import difflib
import json
import os
import subprocess
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from appserver import __version__
from appserver.errors import ApplicationImportError, AppserverError, ControlError, SettingsError, UsageError
from appserver.settings import Loaded, Override, Settings, load
from appserver.settings.report import as_data, as_toml

_USAGE = """\
appserver --config FILE [option ...]
       appserver module:attribute [option ...]
       appserver COMMAND [option ...]"""

_COMMANDS_HELP = """\
commands:
  check                 validate the settings (with --app also import the application)
  settings              show the resolved settings, and where each value comes from

`appserver COMMAND --help` shows the options of a command.

exit codes:
  0 clean stop, 1 a control command was refused or failed, 2 settings or usage, 3 a listener cannot be bound,
  4 the application cannot be imported, 5 its start-up failed, 70 a bug in appserver
"""

_CONTROL_COMMANDS = ("status", "top", "reload", "scale", "stop", "stacks", "reopen-logs", "upgrade")

_NOTHING_TO_SERVE = """\
nothing to serve: name the application, as in
    appserver module:attribute
or a settings file, as in
    appserver --config server.toml"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command that the arguments ask for, and return the exit code.

    The arguments are those of the process unless they are given. --help and --version raise SystemExit.
    """
    try:
        return _dispatch(sys.argv[1:] if arguments is None else list(arguments))
    except AppserverError as error:
        if error.exit_code == AppserverError.exit_code:
            return _report_bug()
        _complain(error)
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    except Exception:  # noqa: BLE001 - whatever it is, it is ours, and becomes a report instead of a bare traceback
        return _report_bug()


def _complain(error: AppserverError) -> None:
    """Print the error for people; the traceback, where there is one, is the application's."""
    sys.stderr.write(getattr(error, "traceback", ""))
    lines = list(map(str, error.problems)) if isinstance(error, SettingsError) else [str(error)]
    sys.stderr.writelines(f"appserver: {line}\n" for line in lines)


def _report_bug() -> int:
    traceback.print_exc()
    sys.stderr.write(f"appserver: this is a bug in appserver {__version__}; please report it with the lines above\n")
    return AppserverError.exit_code


def _dispatch(arguments: list[str]) -> int:
    word = arguments[0] if arguments else "-"
    if word.startswith("-") or ":" in word:
        return _run(_run_parser().parse(arguments))
    if word in _CONTROL_COMMANDS:
        raise ControlError(f"{word}: not supported yet")
    if word not in _COMMANDS:
        raise UsageError(_unknown_word(word))
    parser, command = _COMMANDS[word]
    return command(parser().parse(arguments[1:]))


def _unknown_word(word: str) -> str:
    near = difflib.get_close_matches(word, (*_COMMANDS, *_CONTROL_COMMANDS), n=1)
    hint = f"did you mean {near[0]}?" if near else "appserver --help lists the commands"
    return f"{word!r} is neither a command nor an application (module:attribute); {hint}"


# What a run, and what `check` and `settings` of the same run, can be told


class _Parser(argparse.ArgumentParser):
    """argparse, with errors that are raised, and with a hint for an unknown option."""

    def parse(self, arguments: Sequence[str]) -> argparse.Namespace:
        options, unknown = self.parse_known_args(arguments)
        if unknown:
            name = unknown[0].partition("=")[0]
            near = difflib.get_close_matches(name, self._option_string_actions, n=1)
            self.error(
                f"unknown argument {name}; " + (f"did you mean {near[0]}?" if near else f"see {self.prog} --help")
            )
        target = options.target
        if target is not None and ":" not in target:
            if target in _COMMANDS or target in _CONTROL_COMMANDS:
                self.error(f"the command comes first: appserver {target} ...")
            self.error(_unknown_word(target))
        return options

    def error(self, message: str) -> NoReturn:
        raise UsageError(message)


def _parser(prog: str, description: str, usage: str | None = None, epilog: str = "") -> _Parser:
    parser = _Parser(
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


def _run_parser() -> _Parser:
    parser = _parser("appserver", "A supervised ASGI server for production.", usage=_USAGE, epilog=_COMMANDS_HELP)
    parser.add_argument(
        "--watch", action="store_true", help="restart when a file of the application changes (development)"
    )
    parser.add_argument("--version", action="version", version=f"appserver {__version__}")
    return parser


def _check_parser() -> _Parser:
    parser = _parser("appserver check", "Validate the settings, and print every problem.")
    parser.add_argument("--app", action="store_true", help="import the application too, in a process of its own")
    return parser


def _settings_parser() -> _Parser:
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


def _loader(options: argparse.Namespace, environ: Mapping[str, str]) -> Callable[[], Loaded]:
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


# The commands


def _run(options: argparse.Namespace) -> int:
    if options.watch:
        raise UsageError("--watch: not supported yet")
    read = _loader(options, os.environ)
    loaded = read()
    from appserver.master import run

    return run(loaded, read)


def _check(options: argparse.Namespace) -> int:
    loaded = _loader(options, os.environ)()
    prefix = f"{loaded.path}: " if loaded.path else ""
    _print(f"{prefix}the settings are valid\n")
    if options.app:
        _check_application(loaded.settings)
        _print(f"{prefix}the application can be imported: {loaded.settings.app.target}\n")
    return 0


def _check_application(settings: Settings) -> None:
    """Import the application in a child process; raises ApplicationImportError when that fails.

    The child itself prints what is wrong, since only it knows, and nothing of the application comes back.
    """
    limit = settings.workers.boot_timeout
    command = [sys.executable, "-m", "appserver.worker.check"]
    try:
        child = subprocess.run(command, input=settings.model_dump_json(), text=True, timeout=limit, check=False)
    except subprocess.TimeoutExpired:
        raise ApplicationImportError(
            f"{settings.app.target} was not imported within {limit:g} s (workers.boot_timeout)"
        ) from None
    if child.returncode < 0:
        raise ApplicationImportError(
            f"importing {settings.app.target} ended its process with signal {-child.returncode}"
        )
    if child.returncode:
        raise ApplicationImportError(f"{settings.app.target} cannot be imported (exit code {child.returncode})")


def _settings(options: argparse.Namespace) -> int:
    loaded = _loader(options, os.environ)()
    _print(as_toml(loaded) if options.format == "toml" else json.dumps(as_data(loaded), indent=2) + "\n")
    return 0


def _print(text: str) -> None:
    try:
        # A path or a value may hold what the terminal's encoding has not.
        sys.stdout.write(text.encode(sys.stdout.encoding, "backslashreplace").decode(sys.stdout.encoding))
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read it (`| head`) has seen enough; what is left in the buffer must not fail again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


_COMMANDS: dict[str, tuple[Callable[[], _Parser], Callable[[argparse.Namespace], int]]] = {
    "check": (_check_parser, _check),
    "settings": (_settings_parser, _settings),
}
