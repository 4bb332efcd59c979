"""The log of a process: one form of record, whoever wrote it.

    logger call → Emit (level, context) → Record → JSON or text for people → LogOutput → file or standard error

`configure` is called in the master, in the zygote and again in each worker, which is forked from the zygote. What the
program as a whole has only one of (the handler of standard logging, the hooks for exceptions) is set the first time, and
refers to the process's present state, so a later call changes nothing that the application may have set up meanwhile.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from typing import Any, Literal, cast

import structlog

from appserver.settings import LoggingSettings
from appserver.telemetry import capture
from appserver.telemetry.console import Console
from appserver.telemetry.journal import leads_to_journal, with_priority
from appserver.telemetry.output import Destination, LogOutput
from appserver.telemetry.record import Record, to_json

__all__ = ["REQUEST_ID", "LogOutput", "configure", "get_logger", "handle_loop_exceptions", "identity"]

ProcessName = Literal["master", "zygote", "worker"]

REQUEST_ID: ContextVar[str | None] = ContextVar("request_id", default=None)
"""The request being served in this context; it is in every record that is made there."""

_LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40, "critical": 50}


class _Log:
    """What turns a call into a line, in this process as it is set up at present."""

    def __init__(self, settings: LoggingSettings, identity: dict[str, Any]) -> None:
        destination = Destination.file(settings.file, "logging.file") if settings.file else Destination.stream(2)
        self.identity = identity
        self.level = _LEVELS[settings.level]
        form = choose_format(settings.format, destination)
        self._format = _for_journal(form) if leads_to_journal(destination.fd, os.environ) else form
        self.output = LogOutput(destination, on_full=settings.on_full, report=self._report)

    def emit(
        self,
        level: str,
        event: str,
        logger: str,
        fields: Mapping[str, Any],
        error: BaseException | None = None,
        created: float | None = None,
    ) -> None:
        """Write a record. Never raises."""
        if _LEVELS.get(level, self.level) < self.level:
            return
        created = time.time() if created is None else created
        try:
            fields = {**_context(), **fields}
            line = self._format(Record(created, level, event, logger, self.identity, fields, error))
        except Exception as failure:  # noqa: BLE001  (foreign objects are at work, and a log call must not fail)
            fields = {"lost_event": event, "reason": type(failure).__name__}
            line = self._format(
                Record(created, "error", "log record cannot be formatted", logger, self.identity, fields)
            )
        self.output.write(line)

    def _report(self, event: str, fields: Mapping[str, Any]) -> bytes:
        return self._format(Record(time.time(), "warning", event, __name__, self.identity, fields))


_log: _Log | None = None


def configure(
    settings: LoggingSettings, *, process: ProcessName, worker: int | None = None, generation: int | None = None
) -> LogOutput:
    """Set up everything that logs in this process; returns what the lines go to.

    The caller then decides about its thread (`start_writer`), and closes it at the end. Calling it again, after a fork
    or with other settings, closes the earlier output. Raises SettingsError if the file cannot be opened; the earlier
    state is then kept.
    """
    global _log
    present = {"process": process, "worker": worker, "generation": generation}
    new = _Log(settings, {"pid": os.getpid(), **{name: value for name, value in present.items() if value is not None}})
    old, _log = _log, new
    _capture_once()
    logging.getLogger().setLevel(new.level)
    if old is not None:
        old.output.close(timeout=0.5)
    return new.output


def get_logger(name: str) -> structlog.typing.FilteringBoundLogger:
    """Make a logger of appserver's own, which does not depend on how the application sets structlog up.

    It can be used before `configure`; records then go to standard error.
    """
    logger = structlog.wrap_logger(
        logging.getLogger(name), processors=_PROCESSORS, wrapper_class=_WRAPPER, context_class=dict
    )
    return cast("structlog.typing.FilteringBoundLogger", logger.bind())


def handle_loop_exceptions(loop: asyncio.AbstractEventLoop) -> None:
    """Log what no task and no callback of `loop` handles, in the usual form."""
    capture.capture_loop_exceptions(_emit, loop)


def identity() -> Mapping[str, Any]:
    """Say which process this is, with the members of a record: pid, process, worker, generation."""
    return _current().identity


def choose_format(name: Literal["auto", "json", "console"], destination: Destination) -> Callable[[Record], bytes]:
    """The format of records for a destination: "auto" is text for people on a terminal, else JSON."""
    if name == "json" or (name == "auto" and not destination.is_terminal):
        return to_json
    return Console(colours=understands_colours(destination)).format


def _for_journal(form: Callable[[Record], bytes]) -> Callable[[Record], bytes]:
    return lambda record: with_priority(record.level, form(record))


def understands_colours(destination: Destination) -> bool:
    """Whether to write in colours there (https://no-color.org)."""
    return destination.is_terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def _current() -> _Log:
    global _log  # noqa: PLW0603  (see configure)
    if _log is None:
        _log = _Log(LoggingSettings(), {"pid": os.getpid()})
    return _log


def _emit(
    level: str,
    event: str,
    logger: str,
    fields: Mapping[str, Any],
    error: BaseException | None = None,
    created: float | None = None,
) -> None:
    _current().emit(level, event, logger, fields, error, created)


def _context() -> dict[str, Any]:
    """What the application has bound to this context with structlog, and the request."""
    context = structlog.contextvars.get_contextvars()
    if (request_id := REQUEST_ID.get()) is not None:
        context["request_id"] = request_id
    return context


_captured = False


def _capture_once() -> None:
    global _captured  # noqa: PLW0603  (what it sets exists once for each program)
    if not _captured:
        _captured = True
        capture.capture_logging(_emit)
        capture.capture_structlog(_emit)
        capture.capture_warnings(_emit)
        capture.capture_exceptions(_emit)


def _note_pid() -> None:
    if _log is not None:
        _log.identity["pid"] = os.getpid()


os.register_at_fork(after_in_child=_note_pid)

_PROCESSORS: list[structlog.typing.Processor] = [
    structlog.processors.StackInfoRenderer(),
    capture.StructlogProcessor(_emit),
]
_WRAPPER = structlog.make_filtering_bound_logger(logging.NOTSET)
