"""Python's logging as operators and applications configure it, over what the server has set up."""

from __future__ import annotations

import io
import json
import logging
import logging.config
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from appserver.errors import SettingsError
from appserver.logs import Handler, JSONFormatter, RequestIDFilter
from appserver.settings import LoggingSettings
from appserver.telemetry import logs
from appserver.telemetry.log_config import LogConfig, application_logging

PLAIN: dict[str, Any] = {"class": "logging.StreamHandler", "stream": "ext://sys.stderr"}
NOTHING = LogConfig("logging.config", "", {})


@pytest.fixture(autouse=True)
def logging_of_a_worker(process: None) -> Iterator[None]:
    """The logging that an application finds; what it changes is put back."""
    loggers = logging.root.manager.loggerDict
    before, configurator = dict(loggers), logging.config.dictConfigClass
    loggers.clear()  # a configuration disables those that exist
    yield
    loggers.clear()
    loggers.update(before)
    logging.config.dictConfigClass = configurator


def start(**settings: Any) -> None:
    logs.configure(LoggingSettings(**settings), process="worker", worker=1, generation=1)


def configure(**content: Any) -> None:
    """Do as an application that is being imported."""
    with application_logging(NOTHING):
        logging.config.dictConfig({"version": 1, "disable_existing_loggers": False, **content})


def lines(capfd: pytest.CaptureFixture[str]) -> list[Any]:
    return [json.loads(line) if line.startswith("{") else line for line in capfd.readouterr().err.splitlines()]


class TestOfTheApplication:
    def test_a_handler_without_a_format_of_its_own_writes_records_of_the_server(
        self, capfd: pytest.CaptureFixture[str]
    ) -> None:
        start()
        configure(handlers={"console": PLAIN}, root={"handlers": ["console"], "level": "INFO"})
        token = logs.REQUEST_ID.set("r-1")
        logging.getLogger("shop").info("sold", extra={"article": 7})
        logs.REQUEST_ID.reset(token)
        (record,) = lines(capfd)
        assert (record["event"], record["article"], record["request_id"]) == ("sold", 7, "r-1")

    def test_such_a_handler_keeps_its_level_and_its_filters(self, capfd: pytest.CaptureFixture[str]) -> None:
        start()
        handlers = {"console": {**PLAIN, "level": "ERROR", "filters": ["shop"]}}
        configure(filters={"shop": {"name": "shop"}}, handlers=handlers, root={"handlers": ["console"]})
        logging.getLogger("shop").warning("below")
        logging.getLogger("other").error("filtered")
        logging.getLogger("shop").error("written")
        assert [record["event"] for record in lines(capfd)] == ["written"]

    def test_a_record_that_comes_by_two_loggers_is_written_once(self, capfd: pytest.CaptureFixture[str]) -> None:
        start()
        configure(handlers={"console": PLAIN}, loggers={"django": {"handlers": ["console"], "level": "INFO"}})
        logging.getLogger("django.request").info("Not Found: /")
        assert [record["event"] for record in lines(capfd)] == ["Not Found: /"]

    def test_what_it_formats_itself_stays_so_and_is_not_written_again(self, capfd: pytest.CaptureFixture[str]) -> None:
        start()
        configure(
            formatters={"mine": {"format": "mine: %(message)s"}},
            handlers={"console": {**PLAIN, "formatter": "mine"}},
            loggers={"shop": {"handlers": ["console"]}},
        )
        logging.getLogger("shop").warning("sold")
        logging.getLogger("other").warning("bought")
        mine, other = lines(capfd)
        assert (mine, other["event"]) == ("mine: sold", "bought")

    def test_beside_the_handler_of_the_server(self, capfd: pytest.CaptureFixture[str]) -> None:
        start()
        with application_logging(NOTHING):
            handler = logging.StreamHandler(sys.stderr)
            handler.setFormatter(logging.Formatter("mine: %(message)s"))
            logging.getLogger().addHandler(handler)
        logging.getLogger().warning("sold")
        assert lines(capfd) == ["mine: sold"]

    def test_a_log_in_a_file_has_everything(self, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
        start(file=tmp_path / "log")
        configure(
            formatters={"mine": {"format": "mine: %(message)s"}},
            handlers={"console": {**PLAIN, "formatter": "mine"}},
            loggers={"shop": {"handlers": ["console"]}},
        )
        logging.getLogger("shop").warning("sold")
        assert lines(capfd) == ["mine: sold"]
        assert json.loads((tmp_path / "log").read_text())["event"] == "sold"

    def test_its_files_and_other_streams_are_its_own(self, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
        start()
        other = io.StringIO()
        with application_logging(NOTHING):
            logging.getLogger("shop").addHandler(logging.FileHandler(tmp_path / "shop"))
            logging.getLogger("shop").addHandler(logging.StreamHandler(other))
        logging.getLogger("shop").warning("sold")
        for handler in logging.getLogger("shop").handlers:
            handler.close()
        assert ((tmp_path / "shop").read_text(), other.getvalue()) == ("sold\n", "sold\n")
        assert [record["event"] for record in lines(capfd)] == ["sold"]

    def test_loggers_that_nobody_has_asked_for_are_not_made(self) -> None:
        start()
        with application_logging(NOTHING):
            logging.getLogger("shop.orders")
        assert not isinstance(logging.root.manager.loggerDict["shop"], logging.Logger)

    def test_basic_config_changes_nothing(self, capfd: pytest.CaptureFixture[str]) -> None:
        start()
        with application_logging(NOTHING):
            logging.basicConfig(level=logging.DEBUG, format="%(message)s")
        logging.getLogger("shop").info("sold")
        assert [record["event"] for record in lines(capfd)] == ["sold"]

    def test_its_level_survives_the_fork_of_a_worker(self) -> None:
        start()
        configure(root={"level": "ERROR"})
        start()
        assert logging.getLogger().level == logging.ERROR


class TestOfTheOperator:
    def test_it_is_set_up_before_the_application_is_imported(self, capfd: pytest.CaptureFixture[str]) -> None:
        start()
        content = {"version": 1, "loggers": {"shop": {"level": "ERROR"}}}
        with application_logging(LogConfig.read(LoggingSettings(config=content))):
            logging.getLogger("shop").warning("while it is imported")
        logging.getLogger("other").warning("later")
        assert [record["event"] for record in lines(capfd)] == ["later"]

    def test_an_ini_file(self, tmp_path: Path) -> None:
        path = tmp_path / "log.ini"
        path.write_text(
            "[loggers]\nkeys=root,shop\n[handlers]\nkeys=file\n[formatters]\nkeys=json\n"
            "[logger_root]\nhandlers=\n[logger_shop]\nqualname=shop\nhandlers=file\n"
            f"[handler_file]\nclass=FileHandler\nargs=({str(tmp_path / 'shop')!r},)\nformatter=json\n"
            "[formatter_json]\nclass=appserver.logs.JSONFormatter\n"
        )
        start()
        with application_logging(LogConfig.read(LoggingSettings(config_file=path))):
            logging.getLogger("shop").warning("sold")
        logging.getLogger("shop").handlers[0].close()
        assert json.loads((tmp_path / "shop").read_text())["event"] == "sold"

    @pytest.mark.parametrize(
        ("content", "reason"),
        [
            (
                {"handlers": {"file": {"class": "logging.FileHandler", "filename": "/nowhere/log"}}},
                "handlers.file: FileNotFoundError: [Errno 2] No such file or directory: '/nowhere/log'",
            ),
            (
                {"handlers": {"mine": {"class": "nowhere.Handler"}}},
                "handlers.mine: Cannot resolve 'nowhere.Handler': No module named 'nowhere'",
            ),
            (
                {"formatters": {"mine": {"()": "nowhere.Formatter"}}},
                "formatters.mine: Cannot resolve 'nowhere.Formatter': No module named 'nowhere'",
            ),
        ],
    )
    def test_what_cannot_be_set_up_is_named_with_the_reason(self, content: dict[str, Any], reason: str) -> None:
        config = LogConfig("logging.config", "", {"version": 1, **content})
        with pytest.raises(SettingsError) as caught:
            config.apply()
        assert str(caught.value).startswith(f"logging.config: {reason}")

    def test_an_ini_file_that_names_what_is_not_there(self, tmp_path: Path) -> None:
        path = tmp_path / "log.ini"
        path.write_text(
            "[loggers]\nkeys=root\n[handlers]\nkeys=file\n[formatters]\nkeys=\n[logger_root]\nhandlers=file\n"
        )
        with pytest.raises(SettingsError, match=r"log.ini: logging.config_file: KeyError: 'handler_file'"):
            LogConfig.read(LoggingSettings(config_file=path)).apply()


class TestParts:
    def test_the_handler_writes_to_the_log(self, capfd: pytest.CaptureFixture[str]) -> None:
        start()
        configure(handlers={"log": {"class": "appserver.logs.Handler", "level": "ERROR"}}, root={"handlers": ["log"]})
        logging.getLogger("shop").warning("below")
        logging.getLogger("shop").error("sold")
        assert [record["event"] for record in lines(capfd)] == ["sold"]

    def test_the_handler_works_without_a_server(self, capfd: pytest.CaptureFixture[str]) -> None:
        record = logging.LogRecord("shop", logging.INFO, "", 0, "sold", None, None)
        Handler().handle(record)
        assert [record["event"] for record in lines(capfd)] == ["sold"]

    def test_the_formatter_makes_the_records_of_the_log(self) -> None:
        start()
        token = logs.REQUEST_ID.set("r-1")
        record = logging.LogRecord("shop", logging.INFO, "", 0, "sold %s", (7,), None)
        made = json.loads(JSONFormatter().format(record))
        logs.REQUEST_ID.reset(token)
        assert (made["event"], made["request_id"], made["worker"], made["level"]) == ("sold 7", "r-1", 1, "info")

    def test_the_filter_gives_formatters_the_id(self) -> None:
        formatter = logging.Formatter("%(request_id)s %(message)s")
        record = logging.LogRecord("shop", logging.INFO, "", 0, "sold", None, None)
        token = logs.REQUEST_ID.set("r-1")
        assert RequestIDFilter().filter(record)
        logs.REQUEST_ID.reset(token)
        assert formatter.format(record) == "r-1 sold"
        assert RequestIDFilter().filter(record)  # as behind a queue, where no request is being served
        assert formatter.format(record) == "r-1 sold"
        other = logging.LogRecord("shop", logging.INFO, "", 0, "idle", None, None)
        assert RequestIDFilter().filter(other)
        assert formatter.format(other) == "- idle"
