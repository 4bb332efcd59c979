"""The instruments of a worker: its scoreboard slot with the heartbeat, its log, its access log."""

from __future__ import annotations

import asyncio
import os
import threading
import time

from appserver.engine.server import Server
from appserver.settings import Settings
from appserver.telemetry.access_log import AccessLog
from appserver.telemetry.logs import configure, handle_loop_exceptions
from appserver.telemetry.scoreboard import WorkerSlot
from appserver.telemetry.serving import MAX_SERVING
from appserver.telemetry.slot import HEARTBEAT_INTERVAL
from appserver.worker.memory import CrowdMemory
from appserver.worker.messages import Fork

# Seconds between two flushes of the access log.
FLUSH_INTERVAL = 0.1


class Instruments:
    """Opened right after the fork, closed as the last thing before the exit."""

    def __init__(self, settings: Settings, order: Fork, generation: int, slot: WorkerSlot) -> None:
        """Take the slot and open the logs. Raises SettingsError when a log file cannot be opened."""
        self.slot = slot
        self.server: Server | None = None
        """The lifecycle whose requests are shown, from the moment on that there is one."""
        slot.begin(pid=os.getpid(), generation=generation)
        self.log_output = configure(settings.logging, process="worker", worker=order.number, generation=generation)
        self.log_output.start_writer()
        self._memory = CrowdMemory()
        self._ended = threading.Event()
        self._reporter = threading.Thread(target=self._report_serving, name="appserver-serving", daemon=True)
        self.access_log: AccessLog | None = None
        if settings.access_log.enabled:
            self.access_log = AccessLog(settings.access_log)

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Beat and flush for as long as the loop runs.

        The heartbeat is the loop's own: it stops when the loop is blocked, and nothing else may beat in its place.
        """
        self._loop = loop
        handle_loop_exceptions(loop)
        self._reporter.start()
        self._beat_due = time.monotonic()
        self._beat()
        if self.access_log is not None:
            self._flush(self.access_log)

    def reopen_logs(self) -> None:
        """Open log files anew."""
        self.log_output.reopen()
        if self.access_log is not None:
            self.access_log.reopen()

    def forget(self) -> None:
        """Count nothing, and write none of the worker's lines: for a process forked from it."""
        self.slot.leave()
        if self.access_log is not None:
            self.access_log.forget()

    def close(self) -> None:
        """Write out what is buffered, for a bounded time."""
        self._ended.set()
        if self.access_log is not None:
            self.access_log.close()
        self.log_output.close()
        self._show_losses()

    def _show_losses(self) -> None:
        self.slot.log_lines_dropped = self.log_output.dropped + (self.access_log.dropped if self.access_log else 0)

    def _beat(self) -> None:
        now = time.monotonic()
        self.slot.heartbeat(now, max(0.0, now - self._beat_due))
        self._show_losses()
        self._memory.look(self.slot.connections, self.slot.take_most_connections(), now)
        self._beat_due = now + HEARTBEAT_INTERVAL
        self._loop.call_later(HEARTBEAT_INTERVAL, self._beat)

    def _report_serving(self) -> None:
        """Show what is being served, so that it is known of a worker that blocks or dies; the body of a thread.

        The heartbeat must be the loop's own, this must not: the request that blocks the loop is the one to be shown.
        """
        while not self._ended.wait(HEARTBEAT_INTERVAL):
            if self.server is not None:
                finished = self.slot.requests
                self.slot.show_serving(self.server.oldest(MAX_SERVING), finished)

    def _flush(self, access_log: AccessLog) -> None:
        access_log.flush()
        self._loop.call_later(FLUSH_INTERVAL, self._flush, access_log)
