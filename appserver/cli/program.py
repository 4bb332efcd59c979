"""From the arguments of the process to its exit code.

Only here does an error become an exit code and a line for people; only `__main__` and the console script exit.
"""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from collections.abc import Callable, Sequence

from appserver import __version__, signals
from appserver.cli import control, replacement, run
from appserver.cli.options import Parser, check_parser, run_parser, settings_parser
from appserver.cli.words import COMMANDS, unknown_word
from appserver.errors import AppserverError, SettingsError, UsageError
from appserver.telemetry.journal import leads_to_journal, with_priority


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command that the arguments ask for, and return the exit code.

    The arguments are those of the process unless they are given. --help and --version raise SystemExit.
    """
    _open_standard_streams()
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


def _open_standard_streams() -> None:
    """Put the null device in place of standard streams that are closed.

    Otherwise the next file or socket gets the number of standard error, and with it all that is meant for people. To an
    application that prints it is as if nobody read it. But what a command has to show (`show`) must not be lost in
    silence: every write of this process itself to a standard output that is closed fails.
    """
    while (fd := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(fd, True)
    os.close(fd)
    sys.stdout = sys.stdout or open(os.open(os.devnull, os.O_RDONLY), "w")  # noqa: SIM115, PTH123
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115, PTH123


def _complain(error: AppserverError) -> None:
    """Print the error for people; the traceback, where there is one, is the application's."""
    lines = list(map(str, error.problems)) if isinstance(error, SettingsError) else [str(error)]
    _print_error(getattr(error, "traceback", "") + "".join(f"appserver: {line}\n" for line in lines))


def _print_error(text: str) -> None:
    """Print on standard error; systemd's journal is to know it for an error."""
    if leads_to_journal(2, os.environ):
        text = with_priority("error", text.encode(errors="surrogateescape")).decode(errors="surrogateescape")
    sys.stderr.write(text)


def _report_bug() -> int:
    advice = f"appserver: this is a bug in appserver {__version__}; please report it with the lines above\n"
    _print_error(traceback.format_exc() + advice)
    return AppserverError.exit_code


def _dispatch(arguments: list[str]) -> int:
    word = arguments[0] if arguments else "-"
    if word.startswith("-") or ":" in word:
        return run.serve(run_parser().parse(arguments), arguments)
    if word in replacement.WORDS:
        return replacement.WORDS[word](arguments[1:])
    signals.unblock()  # these commands end by them, as any program does
    if word not in COMMANDS:
        raise UsageError(unknown_word(word))
    parser, command = _COMMANDS[word]
    return command(parser().parse(arguments[1:]))


_COMMANDS: dict[str, tuple[Callable[[], Parser], Callable[[argparse.Namespace], int]]] = {
    "check": (check_parser, run.check),
    "settings": (settings_parser, run.show_settings),
    **control.COMMANDS,
}
