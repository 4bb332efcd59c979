"""The log of a process: one form of record, whoever wrote it."""

from __future__ import annotations

import asyncio
from typing import Any, Literal

import structlog

from appserver.settings import LoggingSettings

ProcessName = Literal["master", "zygote", "worker"]


class LogOutput:
    """Where a process's log lines go; never blocks and never raises into the caller (unless on_full is "block")."""

    dropped: int  # lines lost so far

    def start_writer(self) -> None:
        """Write from a thread of its own from now on. Not in a process that forks."""

    def flush(self, timeout: float = 1.0) -> bool:
        """Wait until everything written so far is out; False if it is not within `timeout` seconds."""
        raise NotImplementedError

    def reopen(self) -> None:
        """Open the file again under its name (after a rotation); keeps the old one, and logs, if that fails."""

    def close(self, timeout: float = 2.0) -> None:
        """Flush for at most `timeout` seconds, end the thread, close the file."""


def configure(
    logging: LoggingSettings, *, process: ProcessName, worker: int | None = None, generation: int | None = None
) -> LogOutput:
    """Set up everything that logs in this process; call it again after a fork. Raises SettingsError (file)."""
    raise NotImplementedError


def get_logger(name: str) -> structlog.typing.FilteringBoundLogger:
    """A logger of appserver's own; usable before `configure` (then: plain lines on standard error)."""
    raise NotImplementedError


def handle_loop_exceptions(loop: asyncio.AbstractEventLoop) -> None:
    """Log what no task or callback of `loop` has handled as a record."""


_ = Any
