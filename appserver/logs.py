"""Parts for a logging configuration of one's own, which keep the form of the server's log and the ids of requests.

    LOGGING = {
        "version": 1,
        "disable_existing_loggers": False,
        "handlers": {
            "appserver": {"class": "appserver.logs.Handler"},
            "audit": {"class": "logging.FileHandler", "filename": "audit.log", "formatter": "json"},
        },
        "formatters": {"json": {"()": "appserver.logs.JSONFormatter"}},
        "filters": {"request_id": {"()": "appserver.logs.RequestIDFilter"}},
        "root": {"handlers": ["appserver"], "level": "INFO"},
    }

They work without a server, too: under another one, and in a management command.
"""

from __future__ import annotations

import logging

from appserver.telemetry import logs
from appserver.telemetry.log_capture import StandardHandler

__all__ = ["Handler", "JSONFormatter", "RequestIDFilter"]


class Handler(StandardHandler):
    """Writes to the server's log, in its format; where there is no server, as JSON to standard error."""

    def __init__(self, level: int | str = logging.NOTSET) -> None:
        super().__init__(logs.emit)
        self.setLevel(level)


class JSONFormatter(logging.Formatter):
    """Makes the JSON of the server's log, for whatever handler: one object on one line."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as JSON."""
        return logs.as_json(record)


class RequestIDFilter(logging.Filter):
    """Gives each record a `request_id` for the formatter: that of the request being served, or "-"."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Let every record pass."""
        if not hasattr(record, "request_id"):
            record.request_id = logs.REQUEST_ID.get() or "-"
        return True
