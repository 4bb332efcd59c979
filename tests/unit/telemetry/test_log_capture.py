"""What is logged without us."""

from __future__ import annotations

import asyncio
import gc
import logging
import sys
import threading
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import StringIO
from typing import Any

import pytest
import structlog

from appserver.telemetry import log_capture


@dataclass
class Caught:
    level: str
    event: str
    logger: str
    fields: Mapping[str, Any]
    error: BaseException | None
    created: float | None


@dataclass
class Log:
    """Takes what is captured."""

    records: list[Caught] = field(default_factory=list)

    def __call__(
        self,
        level: str,
        event: str,
        logger: str,
        fields: Mapping[str, Any],
        error: BaseException | None = None,
        created: float | None = None,
        number: int | None = None,
    ) -> None:
        self.records.append(Caught(level, event, logger, dict(fields), error, created))

    @property
    def only(self) -> Caught:
        (record,) = self.records
        return record


@pytest.fixture
def log() -> Iterator[Log]:
    """A log; what is set for the whole program meanwhile is put back."""
    hooks = sys.excepthook, threading.excepthook, sys.unraisablehook
    yield Log()
    sys.excepthook, threading.excepthook, sys.unraisablehook = hooks
    structlog.reset_defaults()


@contextmanager
def a_captured_logger(log: Log) -> Iterator[logging.Logger]:
    """Capture standard logging, with the handlers of the test runner set aside."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    root.handlers[:] = [logging.NullHandler()]
    log_capture.capture_logging(log)
    root.setLevel(logging.DEBUG)
    try:
        assert [type(handler) for handler in root.handlers] == [log_capture.StandardHandler]
        yield logging.getLogger("library.part")
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)


class TestStandardLogging:
    def test_a_record_comes_with_its_level_logger_time_and_message(self, log: Log) -> None:
        with a_captured_logger(log) as logger:
            logger.warning("%d of %d", 1, 2)
        assert (log.only.level, log.only.event, log.only.logger) == ("warning", "1 of 2", "library.part")
        assert log.only.fields == {}
        assert log.only.created is not None
        assert log.only.created > 1.6e9

    def test_extra_becomes_fields(self, log: Log) -> None:
        with a_captured_logger(log) as logger:
            logger.info("message", extra={"user": "joe"})
        assert log.only.fields == {"user": "joe"}

    def test_an_exception_comes_along(self, log: Log) -> None:
        error = ValueError()
        with a_captured_logger(log) as logger:
            logger.error("failed", exc_info=error)
        assert log.only.error is error

    def test_a_stack_comes_along(self, log: Log) -> None:
        with a_captured_logger(log) as logger:
            logger.info("here", stack_info=True)
        assert "in test_a_stack_comes_along" in log.only.fields["stack"]

    @pytest.mark.parametrize("arguments", [("%d", "one"), ("%s %s", "one"), ("", "one")])
    def test_arguments_that_do_not_fit_are_shown(self, log: Log, arguments: tuple[str, str]) -> None:
        with a_captured_logger(log) as logger:
            logger.info(*arguments)
        assert log.only.event == f"{arguments[0]!r} ('one',)"

    def test_a_message_may_be_any_object(self, log: Log) -> None:
        with a_captured_logger(log) as logger:
            logger.info(ValueError("as text"))
        assert log.only.event == "as text"


class TestStructlog:
    @pytest.fixture(autouse=True)
    def captured(self, log: Log) -> None:
        structlog.reset_defaults()
        log_capture.capture_structlog(log)

    def test_a_record_comes_with_level_logger_and_fields(self, log: Log) -> None:
        structlog.get_logger("shop").bind(user="joe").warning("sold", price=1)
        assert (log.only.level, log.only.event, log.only.logger) == ("warning", "sold", "shop")
        assert log.only.fields == {"user": "joe", "price": 1}

    def test_a_logger_without_a_name_is_named_after_its_module(self, log: Log) -> None:
        structlog.get_logger().info("event")
        assert log.only.logger == __name__

    def test_an_exception_comes_along(self, log: Log) -> None:
        error = ValueError()
        try:
            raise error
        except ValueError:
            structlog.get_logger().exception("failed")
        assert log.only.error is error
        assert log.only.level == "error"
        assert log.only.fields == {}

    def test_a_stack_comes_along(self, log: Log) -> None:
        structlog.get_logger().info("here", stack_info=True)
        assert "in test_a_stack_comes_along" in log.only.fields["stack"]

    def test_an_event_may_be_any_object(self, log: Log) -> None:
        structlog.get_logger().info({"a": 1})
        assert log.only.event == "{'a': 1}"

    def test_a_logger_of_another_kind_will_do(self, log: Log) -> None:
        structlog.wrap_logger(object()).info("event")
        assert log.only.logger == "structlog"


class TestWarnings:
    def test_a_warning_is_a_record(self, log: Log) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            log_capture.capture_warnings(log)
            warnings.warn("old", DeprecationWarning, stacklevel=1)
        assert (log.only.level, log.only.event, log.only.logger) == ("warning", "old", "py.warnings")
        assert log.only.fields["category"] == "DeprecationWarning"
        assert log.only.fields["file"] == __file__
        assert isinstance(log.only.fields["line"], int)

    def test_one_that_is_meant_for_a_file_goes_there(self, log: Log) -> None:
        shown: list[Any] = []
        file = StringIO()
        with warnings.catch_warnings():
            warnings.showwarning = lambda *arguments: shown.append(arguments)
            log_capture.capture_warnings(log)
            warnings.showwarning("old", UserWarning, "module.py", 1, file)
        assert shown == [("old", UserWarning, "module.py", 1, file, None)]
        assert log.records == []


class TestExceptions:
    @pytest.fixture(autouse=True)
    def captured(self, log: Log) -> None:
        log_capture.capture_exceptions(log)

    def test_one_that_ends_the_program_is_critical(self, log: Log) -> None:
        error = ValueError()
        sys.excepthook(ValueError, error, None)
        assert (log.only.level, log.only.event, log.only.error) == ("critical", "uncaught exception", error)

    def test_an_interruption_by_the_user_is_not_logged(self, log: Log, capsys: pytest.CaptureFixture[str]) -> None:
        sys.excepthook(KeyboardInterrupt, KeyboardInterrupt(), None)
        assert log.records == []
        assert "KeyboardInterrupt" in capsys.readouterr().err

    def test_one_in_a_thread_names_the_thread(self, log: Log) -> None:
        thread = threading.Thread(target=lambda: 1 / 0, name="worker-thread")
        thread.start()
        thread.join()
        assert log.only.event == "uncaught exception in a thread"
        assert log.only.fields == {"thread": "worker-thread"}
        assert isinstance(log.only.error, ZeroDivisionError)

    def test_one_in_a_thread_that_is_gone_has_no_name(self, log: Log) -> None:
        error = ValueError()
        threading.excepthook(threading.ExceptHookArgs((ValueError, error, None, None)))
        assert log.only.fields == {"thread": None}

    def test_a_thread_may_exit(self, log: Log) -> None:
        thread = threading.Thread(target=sys.exit)
        thread.start()
        thread.join()
        assert log.records == []

    def test_one_in_a_finaliser_names_what_was_finalised(self, log: Log) -> None:
        class Fragile:
            def __del__(self) -> None:
                raise ValueError("in a finaliser")

        Fragile()
        gc.collect()
        place = "object" if sys.version_info < (3, 14) else "where"
        assert "Fragile.__del__" in log.only.fields[place]
        assert "None" not in log.only.fields.values()
        assert isinstance(log.only.error, ValueError)


class TestLoop:
    def run(self, log: Log, fail: Any) -> None:
        async def main() -> None:
            loop = asyncio.get_running_loop()
            log_capture.capture_loop_exceptions(log, loop)
            fail(loop)
            await asyncio.sleep(0)
            gc.collect()

        asyncio.run(main())

    def test_one_in_a_callback_is_logged(self, log: Log) -> None:
        self.run(log, lambda loop: loop.call_soon(lambda: 1 / 0))
        assert log.only.logger == "asyncio"
        assert log.only.event.startswith("Exception in callback")
        assert isinstance(log.only.error, ZeroDivisionError)
        assert "handle" in log.only.fields

    def test_one_in_a_task_that_nobody_waits_for_is_logged(self, log: Log) -> None:
        async def fail() -> None:
            raise ValueError("in a task")

        self.run(log, lambda loop: loop.create_task(fail()) and None)
        assert log.only.event == "Task exception was never retrieved"
        assert isinstance(log.only.error, ValueError)
        assert "in a task" in log.only.fields["future"]
