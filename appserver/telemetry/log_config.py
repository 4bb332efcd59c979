"""Python's logging where the application is imported: the operator's configuration, then whatever the application sets up.

The server's handler is at the root of all loggers. All else that the application configures stands, with two rules:

- a plain `StreamHandler` to standard output or error without a formatter has no form of its own, so what it gets is a
  record of the server's log (JSON, the request's id);
- what a handler has written to standard output or error in a form of its own is not written there again by the server.
"""

from __future__ import annotations

import copy
import logging
import re
import sys
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

from appserver.errors import Problem, SettingsError
from appserver.settings import LoggingSettings
from appserver.telemetry import logs
from appserver.telemetry.importing import when_imported
from appserver.telemetry.log_capture import WRITTEN, StandardHandler

_SUBJECT = r"Unable to configure (?P<kind>formatter|filter|handler|logger) '(?P<name>.*)'"


class LogConfig(NamedTuple):
    """The logging configuration of the operator: a table for dictConfig, the text of a file for fileConfig, or nothing."""

    key: str
    where: str
    content: Mapping[str, Any] | str

    @classmethod
    def read(cls, settings: LoggingSettings) -> LogConfig:
        """Read it. Raises SettingsError if there is a file and it cannot be used."""
        if settings.config_file is not None:
            path = settings.config_file
            from appserver.settings import read_logging_config

            return cls("logging.config_file", str(path), read_logging_config(path))
        return cls("logging.config", "", settings.config)

    def apply(self) -> None:
        """Configure logging. Raises SettingsError with the key and the reason."""
        if not self.content:
            return
        import logging.config  # and what it imports

        try:
            if isinstance(self.content, str):
                import configparser  # few configurations need it

                parser = configparser.ConfigParser()
                parser.read_string(self.content)
                logging.config.fileConfig(parser, disable_existing_loggers=False)
            else:
                logging.config.dictConfig(copy.deepcopy(dict(self.content)))
        except Exception as error:  # what the classes raise that it names
            reasons = list(_reasons(error))
            raise SettingsError([Problem(self.where, self.key, "", ": ".join(reasons))]) from error


def _reasons(error: BaseException) -> Iterator[str]:
    """Yield the key, if the error names one, and what has led to the error, without repetitions."""
    from appserver.settings import mask_text

    seen = set()
    present: BaseException | None = error
    while present is not None:
        text = str(present).strip()
        subject = re.fullmatch(_SUBJECT, text)
        if subject:
            text = f"{subject['kind']}s.{subject['name']}"
        elif not isinstance(present, ValueError):
            text = f"{type(present).__name__}: {text}"
        if text not in seen:
            seen.add(text)
            yield mask_text(text)  # a class says what it was given: a DSN, a URL
        present = present.__cause__ or (None if present.__suppress_context__ else present.__context__)


@contextmanager
def application_logging(config: LogConfig) -> Iterator[None]:
    """Around the import of the application: configure logging before it, and look at what it has set up after it.

    Raises SettingsError if `config` cannot be applied.
    """
    when_imported("logging.config", _follow)
    config.apply()
    yield
    adopt_handlers()


def configure_embedded(settings: LoggingSettings, given: Collection[str]) -> None:
    """Set up logging in a program that is not appserver's own, of which these keys are given. Raises SettingsError.

    `config` and `config_file` are for the whole program, the others for what appserver itself logs.
    """
    config = LogConfig.read(settings)
    if set(given) - {"config", "config_file"}:
        logs.configure_own(settings)
    config.apply()


def _follow(config: Any) -> None:
    """Have the rules hold for whatever is configured from now on with dictConfig; `config` is the module logging.config."""

    class Configurator(config.DictConfigurator):  # type: ignore[misc]
        def configure(self) -> None:
            super().configure()
            adopt_handlers()

    config.dictConfigClass = Configurator


def adopt_handlers() -> None:
    """Hold the rules above for every handler that a logger has now; may be called again."""
    known = list(logging.root.manager.loggerDict.values())
    replaced: dict[logging.Handler, logging.Handler] = {}
    for logger in (logging.root, *(one for one in known if isinstance(one, logging.Logger))):
        for index, handler in enumerate(logger.handlers):
            if not _writes_to_standard_streams(handler):
                continue
            if handler.formatter is None and type(handler) is logging.StreamHandler:
                if handler not in replaced:
                    replaced[handler] = _in_place_of(handler)
                logger.handlers[index] = replaced[handler]
            elif _note_written not in handler.filters:
                handler.addFilter(_note_written)
        # Behind the others, so that it knows what they have written.
        logger.handlers.sort(key=lambda handler: isinstance(handler, StandardHandler))


def _writes_to_standard_streams(handler: logging.Handler) -> bool:
    if not isinstance(handler, logging.StreamHandler) or isinstance(handler, logging.FileHandler):
        return False
    return any(handler.stream is stream for stream in (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__))


def _in_place_of(handler: logging.Handler) -> logging.Handler:
    ours = logs.standard_handler()
    ours.setLevel(handler.level)
    ours.filters = handler.filters
    return ours


def _note_written(record: logging.LogRecord) -> bool:
    """The last filter of a handler: whatever gets here is written to a standard stream."""
    if logs.is_on_standard_error():
        setattr(record, WRITTEN, True)
    return True
