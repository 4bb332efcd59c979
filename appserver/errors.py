"""The error tree.

Every error that appserver raises on purpose derives from `AppserverError`. An error that ends the program carries the
exit code it ends with; an error that a client caused carries the HTTP status it is answered with. Nothing but `cli`
turns an exit code into an exit.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class AppserverError(Exception):
    """The root of the tree; raised as itself only for a bug in appserver (exit code 70, sysexits' EX_SOFTWARE)."""

    exit_code = 70


class ControlError(AppserverError):
    """A command to a running server was refused or failed."""

    exit_code = 1


class UpgradeError(ControlError):
    """A new program cannot take over from the running master, which goes on."""


class ChannelError(AppserverError):
    """A zygote or a worker has sent the master what none of this program sends: it is not to be believed any more."""


class OutputError(AppserverError):
    """The output of a command cannot be written to standard output."""

    exit_code = 1


class UsageError(AppserverError):
    """The command line cannot be understood."""

    exit_code = 2


class Problem(NamedTuple):
    """One thing that is wrong in the settings.

    `where` names the source the value came from ("server.toml", "APPSERVER_WORKERS__COUNT", "--workers"), `key` the
    dotted setting ("workers.count"; empty if the source as a whole is wrong), `value` what was found there as text
    (empty if there is none) and `expected` what would be right, or what to do.
    """

    where: str
    key: str
    value: str
    expected: str

    def __str__(self) -> str:
        found = f" = {self.value}" if self.value else ""
        return ": ".join(part for part in (self.where, f"{self.key}{found}", self.expected) if part)


class SettingsError(AppserverError):
    """The settings cannot be used; holds every problem that was found, not just the first."""

    exit_code = 2

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = tuple(problems)


class PidFileError(AppserverError):
    """The pid file cannot be written, or another server holds it."""

    exit_code = 2


class ListenerError(AppserverError):
    """A listener cannot be bound."""

    exit_code = 3


class ApplicationImportError(AppserverError):
    """The application cannot be imported.

    `traceback` is the application's own, as text, without appserver's frames; empty where there is none to show
    (a module that does not exist, an attribute that is missing).
    """

    exit_code = 4

    def __init__(self, message: str, traceback: str = "") -> None:
        super().__init__(message)
        self.traceback = traceback


class StartupError(AppserverError):
    """The application's start-up failed, or no worker became ready in time; `traceback` as in ApplicationImportError."""

    exit_code = 5

    def __init__(self, message: str, traceback: str = "") -> None:
        super().__init__(message)
        self.traceback = traceback


class RuntimeAPIError(AppserverError):
    """AWS Lambda's Runtime API cannot be reached, or says that this environment is over."""

    exit_code = 1


class EventError(AppserverError):
    """An event of AWS Lambda is nothing that can be answered; `kind` names the error for those who look at its type."""

    def __init__(self, message: str, kind: str = "UnknownEvent") -> None:
        super().__init__(message)
        self.kind = kind


class RequestError(AppserverError):
    """A client sent what has to be refused.

    `status` answers it (RFC 9110 section 15), `reason` is its label in `appserver_rejected_total`, and the message says
    what was wrong without repeating what the client sent. `fields` are header fields that the status asks for.
    """

    def __init__(self, status: int, reason: str, message: str, fields: Sequence[tuple[str, str]] = ()) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.fields = fields


class ClientDisconnected(AppserverError, ConnectionError):
    """The client is gone, so nothing can be sent to it; ASGI asks for an OSError here."""
