"""The log of a process: one form of record, whoever wrote it.

    logger call → Emit (level, context) → Record → JSON or text for people → LogOutput → file or standard error

`configure` is called in the master, in the zygote and again in each worker, which is forked from the zygote. The
handler of standard logging and the hooks for exceptions, of which a program has only one, are set the first time, and
refer to the process's present state, so a later call changes nothing that the application may have set up meanwhile.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import time
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Literal, cast

from appserver.settings import LoggingSettings
from appserver.telemetry import log_capture
from appserver.telemetry.console import Console
from appserver.telemetry.journal import leads_to_journal, with_priority
from appserver.telemetry.output import Destination, LogOutput
from appserver.telemetry.record import MEMBERS, Record, to_json

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

__all__ = ["REQUEST_ID", "TRACE_ID", "LogOutput", "configure", "get_logger", "handle_loop_exceptions", "identity"]

ProcessName = Literal["master", "zygote", "worker", "dev", "lambda"]

REQUEST_ID: ContextVar[str | None] = ContextVar("request_id", default=None)
"""The request being served in this context; it is in every record that is made there."""

TRACE_ID: ContextVar[str | None] = ContextVar("trace_id", default=None)
"""The trace that this context belongs to, where something in front keeps one (AWS X-Ray); it is in every record as well."""

_LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40, "critical": 50}


class _Log:
    """The chain that turns a call into a line, in this process as it is set up at present."""

    def __init__(self, settings: LoggingSettings, identity: dict[str, Any]) -> None:
        destination = Destination.file(settings.file, "logging.file") if settings.file else Destination.stream(2)
        self.on_standard_error = settings.file is None
        self.identity = identity
        self.level = _LEVELS[settings.level]
        form = choose_format(settings.format, destination, verbose=settings.level == "debug")
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
        number: int | None = None,
        *,
        own: bool = False,
    ) -> None:
        """Write a record; `own` says that its fields are appserver's, not the application's. Never raises."""
        if (_LEVELS.get(level, self.level) if number is None else number) < self.level:
            return
        created = time.time() if created is None else created
        try:
            fields = _with_context(fields, own=own)
            line = self._format(Record(created, level, event, logger, self.identity, fields, error))
        except Exception as failure:  # noqa: BLE001  (foreign objects are at work, and a log call must not fail)
            fields = {"lost_event": event, "reason": type(failure).__name__}
            line = self._format(
                Record(created, "error", "log record cannot be formatted", logger, self.identity, fields)
            )
        if line:  # the console leaves some out
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
    present = {"process": process, "worker": worker, "generation": generation}
    old_level = None if _log is None else _log.level
    new = _replace(settings, {name: value for name, value in present.items() if value is not None})
    _capture_once()
    if old_level is None or logging.root.level == old_level:  # else the application has chosen one
        logging.root.setLevel(new.level)
    return new.output


def configure_own(settings: LoggingSettings) -> None:
    """Set up what appserver itself logs in a program that is not its own, and nothing that else logs there.

    Raises SettingsError as `configure` does.
    """
    _replace(settings, {})


def _replace(settings: LoggingSettings, present: Mapping[str, Any]) -> _Log:
    global _log
    new = _Log(settings, {"pid": os.getpid(), **present})
    old, _log = _log, new
    if old is not None:
        old.output.close(timeout=0.5)
    return new


class _Logger:
    """A logger of structlog's, which is made for its first record."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, method: str) -> Any:
        if method.startswith("_"):  # asked for by libraries that copy and inspect
            raise AttributeError(method)
        from appserver.telemetry.structured import make_logger

        found = getattr(make_logger(self._name, _emit_own), method)
        setattr(self, method, found)
        return found


def get_logger(name: str) -> FilteringBoundLogger:
    """Make a logger of appserver's own, which does not depend on how the application sets structlog up.

    It can be used before `configure`; records then go to standard error.
    """
    return cast("FilteringBoundLogger", _Logger(name))


def handle_loop_exceptions(loop: asyncio.AbstractEventLoop) -> None:
    """Log what no task and no callback of `loop` handles, in the usual form."""
    log_capture.capture_loop_exceptions(emit, loop)


def standard_handler() -> logging.Handler:
    """Make a handler of standard logging that writes to the log."""
    return log_capture.StandardHandler(emit)


def is_on_standard_error() -> bool:
    """Whether the log goes there, and not to a file of its own."""
    return _current().on_standard_error


def as_json(record: logging.LogRecord) -> str:
    """Write a record of standard logging as the log would, in JSON, without a line break."""
    event, fields, error = log_capture.contents(record)
    fields = _with_context(fields, own=False)
    made = Record(record.created, record.levelname.lower(), event, record.name, identity(), fields, error)
    return to_json(made).decode().rstrip("\n")


def identity() -> Mapping[str, Any]:
    """Say which process this is, with the members of a record: pid, process, worker, generation."""
    return _current().identity


def choose_format(
    name: Literal["auto", "json", "console"], destination: Destination, *, verbose: bool = False
) -> Callable[[Record], bytes]:
    """The format of records for a destination: "auto" is text for people on a terminal, else JSON.

    Text has routine records only if it is `verbose`.
    """
    if name == "json" or (name == "auto" and not destination.is_terminal):
        return to_json
    return Console(colours=understands_colours(destination), verbose=verbose).format


def _for_journal(form: Callable[[Record], bytes]) -> Callable[[Record], bytes]:
    return lambda record: with_priority(record.level, form(record))


def understands_colours(destination: Destination) -> bool:
    """Whether to write in colours there (https://no-color.org)."""
    return understands_sequences(destination) and not os.environ.get("NO_COLOR")


def understands_sequences(destination: Destination) -> bool:
    """Whether it is a terminal that acts on control sequences, and does not show them."""
    return destination.is_terminal and os.environ.get("TERM") != "dumb"


def _current() -> _Log:
    global _log  # noqa: PLW0603  (see configure)
    if _log is None:
        _log = _Log(LoggingSettings(), {"pid": os.getpid()})
    return _log


def emit(
    level: str,
    event: str,
    logger: str,
    fields: Mapping[str, Any],
    error: BaseException | None = None,
    created: float | None = None,
    number: int | None = None,
) -> None:
    _current().emit(level, event, logger, fields, error, created, number)


def _emit_own(
    level: str,
    event: str,
    logger: str,
    fields: Mapping[str, Any],
    error: BaseException | None = None,
    created: float | None = None,
    number: int | None = None,
) -> None:
    """Take what appserver logs itself."""
    _current().emit(level, event, logger, fields, error, created, number, own=True)


def _with_context(fields: Mapping[str, Any], *, own: bool) -> dict[str, Any]:
    """The fields with the request, and with what the application has bound to this context with structlog.

    What the application gives may have the names of members by which a record is found: such a field gets another name, with
    underscores behind it. Fields of appserver's own mean what they say ("worker exited" is about another process).
    """
    request_id = REQUEST_ID.get()
    request = {} if request_id is None else {"request_id": request_id}
    trace_id = TRACE_ID.get()
    if trace_id is not None:
        request["trace_id"] = trace_id
    structlog = sys.modules.get("structlog")
    bound = {} if structlog is None else structlog.contextvars.get_contextvars()
    if own:
        return {**request, **_renamed(bound, request), **fields}
    return {**request, **_renamed({**bound, **fields}, request)}


def _renamed(fields: Mapping[str, Any], request: Mapping[str, Any]) -> dict[str, Any]:
    """The application's fields under names that are free; a request id that is ours is no field of the application."""
    found = {}
    for name, value in fields.items():
        if name in request and request[name] == value:
            continue
        while name in MEMBERS or name in request or name in found:
            name += "_"
        found[name] = value
    return found


_captured = False


def _capture_once() -> None:
    global _captured  # noqa: PLW0603  (what it sets exists once for each program)
    if not _captured:
        _captured = True
        log_capture.capture_logging(emit)
        log_capture.capture_structlog(emit)
        log_capture.capture_warnings(emit)
        log_capture.capture_exceptions(emit)


def _note_pid() -> None:
    if _log is not None:
        _log.identity["pid"] = os.getpid()


os.register_at_fork(after_in_child=_note_pid)
