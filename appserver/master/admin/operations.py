"""The master as the admin addresses know it: its state, and the orders that it takes."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any, Protocol

from appserver.errors import ControlError, Problem
from appserver.master.reload_outcomes import ReloadOutcome
from appserver.telemetry.metrics import Exposition


class NoSuchWorkerError(ControlError):
    """There is no worker of that number."""


class Watching(Protocol):
    """The state of the server, to be read."""

    def status(self) -> dict[str, Any]:
        """The whole state, fit for JSON."""

    def has_page(self) -> bool:
        """Whether the status page is wanted (admin.page)."""

    def activity(self) -> dict[str, Any]:
        """The whole state with what a view of the last seconds is made from, fit for JSON."""

    def unreadiness(self) -> str | None:
        """Why the server is not ready to serve; None if it is."""

    def metrics(self, accept: str) -> Awaitable[Exposition]:
        """The page of metrics, in the format that the Accept field asks for."""

    def stacks(self, number: int | None) -> Awaitable[list[dict[str, Any]]]:
        """Where the threads and tasks of all workers, or of one, are. Raises NoSuchWorkerError."""


class Operations(Protocol):
    """The orders that the master takes. A refused one raises ControlError, with the reason."""

    def reload(self) -> Awaitable[ReloadOutcome]:
        """Reload; what is returned waits for the outcome."""

    def scale(self, count: int | None, delta: int) -> dict[str, int]:
        """Have `count` workers, or `delta` more; returns how many are wanted now (`count`) and were `before`."""

    def stop(self, *, now: bool) -> None:
        """Stop, gracefully unless `now`."""

    def reopen_logs(self) -> list[Problem]:
        """Open every log file anew; returns those that cannot be opened."""

    def upgrade(self) -> Awaitable[str]:
        """Replace the program in place; returns what came of it."""
