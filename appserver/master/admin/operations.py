"""What can be asked of a master."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any, Protocol

from appserver.errors import ControlError
from appserver.master.verdicts import Verdict
from appserver.telemetry.metrics import Exposition


class NoSuchWorkerError(ControlError):
    """There is no worker of that number."""


class Operations(Protocol):
    """The master, as the admin application sees it. What is refused raises ControlError, with the reason."""

    def status(self) -> dict[str, Any]:
        """The whole state, fit for JSON."""

    def activity(self) -> dict[str, Any]:
        """The whole state with what a view of the last seconds is made from, fit for JSON."""

    def unreadiness(self) -> str | None:
        """Why the server is not ready to serve; None if it is."""

    def metrics(self, accept: str) -> Awaitable[Exposition]:
        """The page of metrics, in the format that the Accept field asks for."""

    def reload(self) -> Awaitable[Verdict]:
        """Reload; what is returned waits for the verdict."""

    def scale(self, count: int | None, delta: int) -> dict[str, int]:
        """Have `count` workers, or `delta` more; returns how many are wanted now (`count`) and were `before`."""

    def stop(self, *, now: bool) -> None:
        """Stop, gracefully unless `now`."""

    def reopen_logs(self) -> None:
        """Open every log file anew."""

    def upgrade(self) -> Awaitable[str]:
        """Replace the program in place; returns what came of it. Raises NotImplementedError."""

    def stacks(self, number: int | None) -> Awaitable[list[dict[str, Any]]]:
        """Where the threads and tasks of all workers, or of one, are. Raises NoSuchWorkerError."""
