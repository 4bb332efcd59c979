"""The log of a process, from the call to the line."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from appserver.errors import SettingsError
from appserver.settings import LoggingSettings
from appserver.telemetry import logs
from appserver.telemetry.console import Console
from appserver.telemetry.output import Destination, LogOutput
from appserver.telemetry.record import to_json


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "log"


def configure(file: Path, **options: Any) -> LogOutput:
    settings = LoggingSettings(file=file, **options)
    return logs.configure(settings, process="worker", worker=2, generation=3)


def records(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


@pytest.mark.usefixtures("process")
class TestRecords:
    def test_a_record_says_when_what_and_where_in_this_order(self, file: Path) -> None:
        configure(file)
        logs.get_logger("appserver.test").info("tested", answer=42)
        (record,) = records(file)
        assert record.pop("timestamp").endswith("Z")
        assert list(record.items()) == [
            ("level", "info"),
            ("event", "tested"),
            ("logger", "appserver.test"),
            ("pid", os.getpid()),
            ("process", "worker"),
            ("worker", 2),
            ("generation", 3),
            ("answer", 42),
        ]

    def test_the_master_is_no_worker_of_no_generation(self, file: Path) -> None:
        logs.configure(LoggingSettings(file=file), process="master")
        logs.get_logger("appserver").info("tested")
        assert records(file)[0].keys() == {"timestamp", "level", "event", "logger", "pid", "process"}
        assert logs.identity() == {"pid": os.getpid(), "process": "master"}

    def test_everything_comes_out_in_the_same_form(self, file: Path) -> None:
        configure(file)
        logs.get_logger("appserver").warning("a")
        logging.getLogger("library").warning("b")
        structlog.get_logger("shop").warning("c")
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.warn("d", stacklevel=1)
        thread = threading.Thread(target=lambda: 1 / 0)
        thread.start()
        thread.join()
        written = records(file)
        assert [record["event"] for record in written] == ["a", "b", "c", "d", "uncaught exception in a thread"]
        assert {record["worker"] for record in written} == {2}
        assert "ZeroDivisionError" in written[-1]["exception"]

    def test_exceptions_of_a_loop_come_out_too(self, file: Path) -> None:
        configure(file)

        async def main() -> None:
            loop = asyncio.get_running_loop()
            logs.handle_loop_exceptions(loop)
            loop.call_soon(lambda: 1 / 0)
            await asyncio.sleep(0)

        asyncio.run(main())
        assert "ZeroDivisionError" in records(file)[0]["exception"]

    def test_the_request_and_what_the_application_has_bound_are_in_every_record(self, file: Path) -> None:
        configure(file)
        structlog.contextvars.bind_contextvars(user="joe", shop=1)
        token = logs.REQUEST_ID.set("r-1")
        logging.getLogger("library").warning("in the request")
        structlog.get_logger().warning("in the request", shop=2)
        logs.REQUEST_ID.reset(token)
        logging.getLogger("library").warning("outside")
        first, second, third = records(file)
        assert (first["user"], first["shop"], first["request_id"]) == ("joe", 1, "r-1")
        assert (second["shop"], second["request_id"]) == (2, "r-1")
        assert "request_id" not in third

    def test_fields_of_the_application_take_the_place_of_no_member(self, file: Path) -> None:
        configure(file)
        token = logs.REQUEST_ID.set("ours")
        try:
            taken = dict.fromkeys(
                ("pid", "worker", "generation", "timestamp", "level", "logger", "request_id"), "theirs"
            )
            with structlog.contextvars.bound_contextvars(pid="bound", request_id="ours"):
                logging.getLogger("application").warning("of logging", extra={**taken, "process_": "an underscore"})
                structlog.get_logger("application").warning("of structlog", **taken, process="theirs")
                logs.get_logger("appserver.test").warning("our own", pid=1, worker=5)
            of_logging, of_structlog, our_own = records(file)
            for record in (of_logging, of_structlog):
                present = (
                    record["pid"],
                    record["process"],
                    record["worker"],
                    record["generation"],
                    record["request_id"],
                )
                assert present == (os.getpid(), "worker", 2, 3, "ours")
                assert {record[f"{name}_"] for name in taken} == {"theirs"}
            assert of_logging["process_"] == "an underscore"
            assert of_structlog["process_"] == "theirs"
            assert (our_own["pid"], our_own["worker"], our_own["pid_"], our_own["request_id"]) == (
                1,
                5,
                "bound",
                "ours",
            )
            assert "request_id_" not in our_own
        finally:
            logs.REQUEST_ID.reset(token)

    def test_a_record_that_cannot_be_formatted_is_replaced_by_one_that_says_so(self, file: Path) -> None:
        class Treacherous(dict[str, int]):
            def items(self) -> Any:
                raise RuntimeError("no")

        configure(file)
        logs.get_logger("appserver").info("event", value=Treacherous(a=1), key={(): Treacherous(a=1), "\udc80": 1})
        (record,) = records(file)
        assert record["event"] == "log record cannot be formatted"
        assert (record["lost_event"], record["reason"]) == ("event", "RuntimeError")


@pytest.mark.usefixtures("process")
class TestLevels:
    @pytest.mark.parametrize(
        ("level", "written"),
        [
            ("debug", ["debug", "info", "warning", "error", "critical"]),
            ("warning", ["warning", "error", "critical"]),
            ("critical", ["critical"]),
        ],
    )
    def test_what_is_less_important_is_left_out_for_every_kind_of_logger(
        self, file: Path, level: Any, written: list[str]
    ) -> None:
        configure(file, level=level)
        loggers: list[Any] = [logs.get_logger("appserver"), logging.getLogger("library"), structlog.get_logger()]
        for logger in loggers:
            for name in ("debug", "info", "warning", "error", "critical"):
                getattr(logger, name)("event")
        assert [record["level"] for record in records(file)] == written * 3

    @pytest.mark.parametrize(("number", "written"), [(5, False), (15, False), (20, True), (25, True), (60, True)])
    def test_a_level_of_the_applications_own_counts_by_its_number(self, file: Path, number: int, written: bool) -> None:
        configure(file, level="info")
        logger = logging.getLogger("application.verbose")
        logger.setLevel(1)
        try:
            logger.log(number, "of its own level")
        finally:
            logger.setLevel(logging.NOTSET)
        assert bool(file.read_text()) == written

    def test_a_level_that_only_the_application_knows_is_written(self, file: Path) -> None:
        configure(file)
        logging.getLogger("library").log(25, "event")
        assert records(file)[0]["level"] == "level 25"


@pytest.mark.usefixtures("process")
class TestConfiguring:
    def test_a_logger_works_before(self, capfd: pytest.CaptureFixture[str]) -> None:
        logs.get_logger("appserver").info("early")
        assert json.loads(capfd.readouterr().err)["event"] == "early"

    def test_a_logger_that_was_made_before_works_after(self, file: Path) -> None:
        logger = logs.get_logger("appserver")
        configure(file)
        logger.info("event")
        assert records(file)[0]["worker"] == 2

    def test_the_default_is_standard_error(self, capfd: pytest.CaptureFixture[str]) -> None:
        logs.configure(LoggingSettings(), process="master")
        logs.get_logger("appserver").info("event")
        assert json.loads(capfd.readouterr().err)["event"] == "event"

    def test_a_file_that_cannot_be_opened_leaves_everything_as_it_was(self, file: Path) -> None:
        configure(file)
        with pytest.raises(SettingsError, match=r"logging\.file"):
            configure(file / "below")
        logs.get_logger("appserver").info("event")
        assert len(records(file)) == 1

    def test_doing_it_again_moves_the_log(self, file: Path, tmp_path: Path) -> None:
        first = configure(file)
        first.start_writer()
        logs.get_logger("appserver").info("first")
        configure(tmp_path / "other")
        logs.get_logger("appserver").info("second")
        assert records(file)[0]["event"] == "first"
        assert records(tmp_path / "other")[0]["event"] == "second"

    def test_doing_it_again_respects_what_the_application_has_set_up(self, file: Path) -> None:
        configure(file)
        handler = logging.NullHandler()
        logging.getLogger().handlers[:] = [handler]
        structlog.configure(processors=[structlog.processors.JSONRenderer()])
        configure(file)
        assert logging.getLogger().handlers == [handler]
        logs.get_logger("appserver").info("our own do not depend on it")
        assert len(records(file)) == 1

    def test_losses_are_reported_in_the_log_itself(self, capfd: pytest.CaptureFixture[str]) -> None:
        output = logs.configure(LoggingSettings(), process="master")
        reader, writer = os.pipe()
        os.close(reader)
        os.dup2(writer, output.destination.fd)
        logs.get_logger("appserver").info("lost")
        os.dup2(2, output.destination.fd)
        os.close(writer)
        logs.get_logger("appserver").info("next")
        first, second = map(json.loads, capfd.readouterr().err.splitlines())
        assert first["event"] == "next"
        assert (second["event"], second["count"], second["level"]) == ("log lines dropped", 1, "warning")


class TestFormat:
    @pytest.fixture
    def terminal(self) -> Iterator[Destination]:
        controller, terminal = os.openpty()
        yield Destination(terminal)
        os.close(terminal)
        os.close(controller)

    @pytest.fixture
    def stream(self, file: Path) -> Iterator[Destination]:
        destination = Destination.file(file, "logging.file")
        yield destination
        destination.close()

    def test_auto_is_for_people_on_a_terminal(self, terminal: Destination, stream: Destination) -> None:
        assert isinstance(getattr(logs.choose_format("auto", terminal), "__self__", None), Console)
        assert logs.choose_format("auto", stream) is to_json

    def test_each_can_be_chosen_anywhere(self, terminal: Destination, stream: Destination) -> None:
        assert logs.choose_format("json", terminal) is to_json
        assert isinstance(getattr(logs.choose_format("console", stream), "__self__", None), Console)

    @pytest.mark.parametrize(
        ("environment", "expected"),
        [
            ({}, True),
            ({"NO_COLOR": "1"}, False),
            ({"NO_COLOR": ""}, True),
            ({"TERM": "dumb"}, False),
        ],
    )
    def test_colours_are_for_terminals_that_want_them(
        self,
        terminal: Destination,
        stream: Destination,
        monkeypatch: pytest.MonkeyPatch,
        environment: dict[str, str],
        expected: bool,
    ) -> None:
        monkeypatch.delenv("NO_COLOR", raising=False)
        monkeypatch.setenv("TERM", "xterm")
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        assert logs.understands_colours(terminal) is expected
        assert logs.understands_colours(stream) is False


class TestProcesses:
    def test_a_worker_forked_from_a_zygote_logs_as_itself(self, file: Path) -> None:
        program = f"""
import os
from pathlib import Path
from appserver.settings import LoggingSettings
from appserver.telemetry import logs
logger = logs.get_logger("appserver.test")
settings = LoggingSettings(file=Path({str(file)!r}))
zygote = logs.configure(settings, process="zygote", generation=1)
logger.info("zygote")
if os.fork() == 0:
    output = logs.configure(settings, process="worker", worker=1, generation=1)
    output.start_writer()
    logger.info("worker")
    if os.fork() == 0:
        logger.info("what the application forks")
        os._exit(0)
    os.wait()
    output.close()
    os._exit(0)
os.wait()
logger.info("zygote")
"""
        subprocess.run([sys.executable, "-W", "ignore", "-c", program], check=True, timeout=30)
        written = records(file)
        assert [(record["process"], record.get("worker")) for record in written].count(("worker", 1)) == 2
        assert [record["event"] for record in written].count("zygote") == 2
        assert len({record["pid"] for record in written}) == 3

    def test_the_exception_that_ends_a_program_is_its_last_record(self, file: Path) -> None:
        program = f"""
from pathlib import Path
from appserver.settings import LoggingSettings
from appserver.telemetry import logs
logs.configure(LoggingSettings(file=Path({str(file)!r})), process="master").start_writer()
raise ValueError("the end")
"""
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=30, check=False)
        assert (done.returncode, done.stderr) == (1, b"")
        assert records(file)[-1]["exception"].endswith("ValueError: the end")
