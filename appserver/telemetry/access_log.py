"""The access log: one line per request.

It has a path of its own, besides the log, because it is written so often: a line is one format call and one append, and
many lines are handed to the output at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from random import random
from time import time
from typing import Any

from appserver.http.request import Request
from appserver.settings import AccessLogSettings
from appserver.telemetry import logs
from appserver.telemetry.access_format import (
    CombinedFormat,
    ConsoleFormat,
    Format,
    JSONFormat,
    SessionEnd,
    TracedJSONFormat,
)
from appserver.telemetry.access_pattern import PatternFormat
from appserver.telemetry.console import Console
from appserver.telemetry.output import Destination, LogOutput

# Characters that are handed over without waiting for the next `flush`.
LIMIT = 64 * 1024

_logger = logs.get_logger(__name__)


class AccessLog:
    """Writes a line per finished request, through a thread of its own unless it is to do without.

    Its owner calls `flush` every 100 ms, and `close` at the end. Made after `logs.configure`, whose idea of what process
    this is the lines repeat.
    """

    def __init__(self, settings: AccessLogSettings, *, threaded: bool = True, traced: bool = False) -> None:
        """Open the destination; raises SettingsError if that cannot be done. If not `threaded`, `flush` writes by itself.

        If `traced`, the heads of requests say which trace they belong to (`access_format.Traced`), and the lines do, too.
        """
        destination = Destination.file(settings.file, "access_log.file") if settings.file else Destination.stream(1)
        self._output = LogOutput(destination, report=_report)
        self._format = choose_format(settings, destination, traced=traced)
        self._excluded = frozenset(settings.exclude_paths)
        self._sample = settings.sample
        self._selects = bool(self._excluded) or self._sample < 1
        self._lines: list[str] = []
        self._size = 0
        if threaded:
            self._output.start_writer()

    @property
    def dropped(self) -> int:
        """How many lines have been lost so far."""
        return self._output.dropped

    def request(
        self,
        head: Request,
        client: tuple[str, int] | None,
        status: int,
        seconds: float,
        received: int,
        sent: int,
        outcome: str | None = None,
        request_id: str | None = None,
    ) -> None:
        """Note a request whose response has ended.

        `status` is 0 if no response was begun; `seconds` is how long it took; `received` and `sent` are octets;
        `outcome` is None, or for a request that did not end well "aborted", "timed_out" or "error".
        """
        if self._selects and not self._is_wanted(head.path, outcome is None and 200 <= status < 400):
            return
        line = self._format.__call__((time(), head, client, status, seconds, received, sent, outcome, request_id))
        self._lines.append(line)
        self._size = size = self._size + len(line)
        if size >= LIMIT:
            self.flush()

    def session(
        self, head: Request, client: tuple[str, int] | None, end: SessionEnd, request_id: str | None = None
    ) -> None:
        """Note a WebSocket session that has ended; `head` is that of the request it began with."""
        if self._selects and not self._is_wanted(head.path, end.outcome is None):
            return
        line = self._format.session(time(), head, client, end, request_id)
        self._lines.append(line)
        self._size += len(line)
        if self._size >= LIMIT:
            self.flush()

    def _is_wanted(self, path: str, went_well: bool) -> bool:
        """Whether a request or a session gets a line: not if its path is excluded, and only by chance if it went well."""
        if path in self._excluded:
            return False
        return self._sample >= 1 or not went_well or random() < self._sample  # noqa: S311

    def flush(self) -> None:
        """Hand the lines over; does not wait."""
        if self._lines:
            self._output.write("".join(self._lines).encode("utf-8", "backslashreplace"))
            self._lines.clear()
            self._size = 0

    def forget(self) -> None:
        """Drop what `flush` has not handed over yet: for a process forked from the one whose lines they are."""
        self._lines.clear()
        self._size = 0

    def reopen(self) -> None:
        """Go on in a new file under the same name, after a rotation; earlier lines go to the old file or to the new."""
        self.flush()
        self._output.reopen()

    def close(self, timeout: float = 2.0) -> None:
        """Write what is there, for at most `timeout` seconds, and close."""
        self.flush()
        self._output.close(timeout)


def choose_format(settings: AccessLogSettings, destination: Destination, *, traced: bool = False) -> Format:
    """The format for a destination: "auto" is a line for people on a terminal, else JSON."""
    if "%" in settings.format:
        return PatternFormat(settings.format)
    if settings.format == "combined":
        return CombinedFormat()
    if settings.format == "json" or (settings.format == "auto" and not destination.is_terminal):
        return (TracedJSONFormat if traced else JSONFormat)(logs.identity())
    return ConsoleFormat(logs.identity(), Console(colours=logs.understands_colours(destination)))


def _report(event: str, fields: Mapping[str, Any]) -> bytes:
    """Say what has happened to the access log where it can be said: in the log."""
    _logger.warning(event, log="access log", **fields)
    return b""
