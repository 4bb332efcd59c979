"""From the arguments of the process to its exit code.

Only here does an error become an exit code and a line for people; only `__main__` and the console script exit.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence

from appserver import __version__
from appserver.errors import AppserverError, SettingsError, StartupError, UsageError
from appserver.telemetry.journal import leads_to_journal, with_priority


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command that the arguments ask for, and return the exit code.

    The arguments are those of the process unless they are given. --help and --version raise SystemExit.
    """
    try:
        _open_standard_streams()
        return _dispatch(sys.argv[1:] if arguments is None else list(arguments))
    except AppserverError as error:
        if error.exit_code == AppserverError.exit_code:
            return _report_bug(error)
        complain(error)
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    except Exception as error:  # noqa: BLE001 - whatever it is, it is ours, and becomes a report instead of a bare traceback
        if isinstance(error, FileNotFoundError) and not _is_somewhere():
            _print_error("appserver: the current directory has been removed; start appserver from one that stays\n")
            return UsageError.exit_code
        from appserver.worker.failure import describe_exhaustion

        if exhausted := describe_exhaustion(error):
            _print_error(f"appserver: {exhausted}\n")
            return StartupError.exit_code
        return _report_bug(error)


def _is_somewhere() -> bool:
    """Whether the current directory is there; a deployment may have put another one in its place."""
    try:
        os.getcwd()  # noqa: PTH109
    except FileNotFoundError:
        return False
    return True


def _open_standard_streams() -> None:
    """Put the null device in place of standard streams that are closed.

    Otherwise the next file or socket gets the number of standard error, and with it all that is meant for people. To an
    application that prints it is as if nobody read it. But what a command has to show (`show`) must not be lost in
    silence: every write of this process itself to a standard output that is closed fails. Raises UsageError where there is
    no null device.
    """
    try:
        while (fd := os.open(os.devnull, os.O_RDWR)) <= 2:
            os.set_inheritable(fd, True)
    except OSError as error:
        raise UsageError(f"{os.devnull} cannot be opened: {error.strerror}; every program needs it") from error
    os.close(fd)
    sys.stdout = sys.stdout or open(os.open(os.devnull, os.O_RDONLY), "w")  # noqa: SIM115, PTH123
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115, PTH123


def complain(error: AppserverError) -> None:
    """Print the error for people; the traceback, where there is one, is the application's."""
    lines = list(map(str, error.problems)) if isinstance(error, SettingsError) else [str(error)]
    trace = getattr(error, "traceback", "").rstrip()
    _print_error((f"{trace}\n" if trace else "") + "".join(f"appserver: {line}\n" for line in lines))


def _print_error(text: str) -> None:
    """Print on standard error; systemd's journal is to know it for an error."""
    if leads_to_journal(2, os.environ):
        text = with_priority("error", text.encode(errors="surrogateescape")).decode(errors="surrogateescape")
    sys.stderr.write(text)


def _report_bug(error: Exception) -> int:
    from appserver.asgi.tracebacks import examine

    advice = f"appserver: this is a bug in appserver {__version__}; please report it with the lines above\n"
    _print_error("".join(examine(error).format()) + advice)
    return AppserverError.exit_code


FUNCTION = "appserver.cli.function"


def prepare(arguments: Sequence[str]) -> None:
    """Import the modules that the command needs; most of them belong to the table of commands."""
    module = _module(arguments)
    importlib.import_module(module)
    if module == FUNCTION:
        importlib.import_module("appserver.aws.bootstrap")


def _module(arguments: Sequence[str]) -> str:
    # A function on Lambda is started while a client waits: it does not import what other commands need.
    return FUNCTION if arguments[:1] == ["lambda"] else "appserver.cli.commands"


def _dispatch(arguments: list[str]) -> int:
    found: int = importlib.import_module(_module(arguments)).dispatch(arguments)
    return found
