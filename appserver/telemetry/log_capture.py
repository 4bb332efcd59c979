"""Catches what is logged without us: standard logging, structlog, warnings, exceptions that nobody handles.

Each `capture_...` is called once in the life of a program, before the application is imported. The application's
own set-up comes later and stays as it is, also in a worker that is forked afterwards.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import warnings
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, TextIO

from appserver.telemetry.importing import when_imported
from appserver.telemetry.record import Emit, exception_of, safe_repr

if TYPE_CHECKING:
    from structlog.typing import EventDict

_LOGGER = "python"
WRITTEN = "_appserver_written"
"""The attribute of a LogRecord of standard logging that is on standard error already."""

# The members of every LogRecord; others came in through `extra`.
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", WRITTEN}


class StandardHandler(logging.Handler):
    """Hands the records of standard logging on."""

    def __init__(self, emit: Emit) -> None:
        super().__init__()
        self._emit = emit

    def emit(self, record: logging.LogRecord) -> None:
        if WRITTEN in vars(record):
            return
        event, fields, error = contents(record)
        setattr(record, WRITTEN, True)
        self._emit(record.levelname.lower(), event, record.name, fields, error, record.created, record.levelno)


def contents(record: logging.LogRecord) -> tuple[str, dict[str, Any], BaseException | None]:
    """Return the message of a record of standard logging, what came in through `extra`, and its exception."""
    try:
        event = record.getMessage()
    except Exception:  # noqa: BLE001  (the arguments do not fit the message, in whatever way; show both)
        event = f"{safe_repr(record.msg)} {safe_repr(record.args)}"
    fields = {name: value for name, value in vars(record).items() if name not in _STANDARD}
    if record.stack_info:
        fields["stack"] = record.stack_info
    return event, fields, exception_of(record.exc_info)


class StructlogProcessor:
    """Hands the records of structlog on, as the last of its processors."""

    def __init__(self, emit: Emit) -> None:
        self._emit = emit

    def __call__(self, logger: Any, method_name: str, event_dict: EventDict) -> str:
        import structlog  # whoever calls has done so

        event = str(event_dict.pop("event", ""))
        error = exception_of(event_dict.pop("exc_info", None))
        self._emit(method_name, event, str(getattr(logger, "name", "structlog")), event_dict, error)
        raise structlog.DropEvent


def capture_logging(emit: Emit) -> None:
    """Make this the one handler of standard logging."""
    logging.basicConfig(handlers=[StandardHandler(emit)], force=True)


def capture_structlog(emit: Emit) -> None:
    """Make this what structlog does unless the application configures it, from when somebody imports it."""

    def configure(structlog: Any) -> None:
        structlog.configure(
            processors=[structlog.processors.StackInfoRenderer(), StructlogProcessor(emit)],
            # Names a logger after the module that asks for it.
            logger_factory=structlog.stdlib.LoggerFactory(),
        )

    when_imported("structlog", configure)


def capture_warnings(emit: Emit) -> None:
    """Log warnings instead of printing them."""
    show = warnings.showwarning

    def log_warning(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        if file is not None:
            show(message, category, filename, lineno, file, line)
        else:
            fields = {"category": category.__name__, "file": filename, "line": lineno}
            emit("warning", str(message), "py.warnings", fields)

    warnings.showwarning = log_warning


def capture_exceptions(emit: Emit) -> None:
    """Log what the main thread, another thread, or a finaliser does not handle, instead of printing it."""

    def in_program(kind: type[BaseException], error: BaseException, stack: TracebackType | None) -> None:
        if isinstance(error, KeyboardInterrupt):
            sys.__excepthook__(kind, error, stack)
        else:
            emit("critical", "uncaught exception", _LOGGER, {}, error)

    def in_thread(args: threading.ExceptHookArgs) -> None:
        if args.exc_type is not SystemExit:
            name = args.thread.name if args.thread is not None else None
            emit("error", "uncaught exception in a thread", _LOGGER, {"thread": name}, args.exc_value)

    def unraisable(args: sys.UnraisableHookArgs) -> None:
        fields = {"where": args.err_msg or "exception ignored"}
        if (
            args.object is not None
        ):  # from 3.14 on the interpreter names a finaliser in the message, and gives no object
            fields["object"] = safe_repr(args.object)
        emit("error", "exception that cannot be raised", _LOGGER, fields, args.exc_value)

    sys.excepthook = in_program
    threading.excepthook = in_thread
    sys.unraisablehook = unraisable


def capture_loop_exceptions(emit: Emit, loop: asyncio.AbstractEventLoop) -> None:
    """Log what no task and no callback of `loop` handles."""

    def handle(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        fields = {name: safe_repr(value) for name, value in context.items() if name not in ("message", "exception")}
        report = partial(emit, "error", context["message"], "asyncio", fields, context.get("exception"))
        task = context.get("task") or context.get("future")
        if isinstance(task, asyncio.Task) and sys.version_info >= (3, 12):
            # As the task itself would have logged it, with the request that it was started for.
            task.get_context().copy().run(report)
        else:
            report()

    loop.set_exception_handler(handle)
