"""The access log as a whole."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from appserver.errors import SettingsError
from appserver.settings import AccessLogSettings, LoggingSettings
from appserver.telemetry import logs
from appserver.telemetry.access_format import CombinedFormat, ConsoleFormat, JSONFormat
from appserver.telemetry.access_log import LIMIT, AccessLog, choose_format
from appserver.telemetry.output import Destination
from tests.support.waiting import eventually
from tests.unit.telemetry.heads import a_head


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "access"


def serve(log: AccessLog, target: bytes = b"/", status: int = 200, outcome: str | None = None) -> None:
    log.request(a_head(target), ("192.0.2.1", 5000), status, 0.001, 0, 100, outcome)


def written(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def statuses(file: Path) -> list[int]:
    return [line["status"] for line in written(file)]


class TestLines:
    def test_lines_wait_for_the_flush(self, file: Path) -> None:
        log = AccessLog(AccessLogSettings(file=file))
        serve(log)
        assert file.read_text() == ""
        log.flush()
        eventually(lambda: written(file), "the line")
        log.flush()
        log.close()
        assert len(written(file)) == 1

    def test_many_lines_do_not(self, file: Path) -> None:
        log = AccessLog(AccessLogSettings(file=file))
        target = b"/" + b"x" * 1000
        for _ in range(LIMIT // 1000):
            serve(log, target)
        eventually(lambda: file.stat().st_size, "the lines")
        log.close()

    def test_the_end_writes_what_waits(self, file: Path) -> None:
        log = AccessLog(AccessLogSettings(file=file))
        serve(log)
        log.close()
        assert written(file)[0]["path"] == "/"
        assert written(file)[0]["pid"] == os.getpid()
        assert log.dropped == 0

    def test_the_default_is_standard_output(self, capfd: pytest.CaptureFixture[str]) -> None:
        log = AccessLog(AccessLogSettings())
        serve(log)
        log.close()
        assert json.loads(capfd.readouterr().out)["status"] == 200

    def test_a_file_that_cannot_be_opened_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(SettingsError, match=r"access_log\.file"):
            AccessLog(AccessLogSettings(file=tmp_path / "missing" / "access"))

    def test_a_rotated_file_keeps_what_was_served_before(self, file: Path) -> None:
        log = AccessLog(AccessLogSettings(file=file))
        for number in range(1, 600):
            serve(log, status=number)
            if number % 100 == 0:
                file.rename(f"{file}.{number}")
                log.reopen()
        log.close()
        parts = [Path(f"{file}.{number}") for number in range(100, 600, 100)] + [file]
        assert [status for part in parts for status in statuses(part)] == list(range(1, 600))

    @pytest.mark.usefixtures("process")
    def test_losses_are_counted_and_reported_in_the_log(self, file: Path, tmp_path: Path) -> None:
        logs.configure(LoggingSettings(file=tmp_path / "log"), process="worker")
        os.mkfifo(file)
        reader = os.open(file, os.O_RDONLY | os.O_NONBLOCK)
        log = AccessLog(AccessLogSettings(file=file))
        os.close(reader)
        serve(log)
        log.flush()
        eventually(lambda: log.dropped, "the loss")
        reader = os.open(file, os.O_RDONLY | os.O_NONBLOCK)
        serve(log)
        log.close()
        assert json.loads(os.read(reader, 10_000))["status"] == 200
        os.close(reader)
        (record,) = written(tmp_path / "log")
        assert (record["event"], record["count"], record["log"]) == ("log lines dropped", 1, "access log")


class TestSelection:
    def test_excluded_paths_are_left_out_whatever_their_query(self, file: Path) -> None:
        log = AccessLog(AccessLogSettings(file=file, exclude_paths=("/healthz",)))
        for target in (b"/healthz", b"/healthz?full", b"/healthz/x", b"/"):
            serve(log, target)
        log.close()
        assert [line["path"] for line in written(file)] == ["/healthz/x", "/"]

    def test_a_sample_of_nothing_keeps_what_went_wrong(self, file: Path) -> None:
        log = AccessLog(AccessLogSettings(file=file, sample=0.0))
        for status in (0, 101, 200, 204, 304, 399, 400, 404, 500):
            serve(log, status=status)
        serve(log, status=200, outcome="aborted")
        log.close()
        assert statuses(file) == [None, 101, 400, 404, 500, 200]

    def test_a_sample_keeps_its_share(self, file: Path) -> None:
        log = AccessLog(AccessLogSettings(file=file, sample=0.5))
        for _ in range(1000):
            serve(log)
        log.close()
        assert 400 < len(written(file)) < 600


class TestFormats:
    @pytest.fixture
    def terminal(self) -> Iterator[Destination]:
        controller, terminal = os.openpty()
        yield Destination(terminal)
        os.close(terminal)
        os.close(controller)

    def test_auto_is_for_people_on_a_terminal(self, file: Path, terminal: Destination) -> None:
        stream = Destination.file(file, "access_log.file")
        assert isinstance(choose_format(AccessLogSettings(), terminal), ConsoleFormat)
        assert isinstance(choose_format(AccessLogSettings(), stream), JSONFormat)
        stream.close()

    def test_each_can_be_chosen(self, terminal: Destination) -> None:
        assert isinstance(choose_format(AccessLogSettings(format="combined"), terminal), CombinedFormat)
        assert isinstance(choose_format(AccessLogSettings(format="json"), terminal), JSONFormat)
