"""The heartbeat of a worker: written by its event loop, so that it stops when the loop does."""

from __future__ import annotations

import asyncio

from appserver.telemetry.scoreboard import WorkerSlot

# Seconds between two heartbeats. The master looks about once a second.
INTERVAL = 0.5


class Heartbeat:
    """Beats into a scoreboard slot for as long as the loop runs; measures on the way how late the loop is."""

    def __init__(self, slot: WorkerSlot) -> None:
        self.slot = slot
        self._due = 0.0

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin to beat; there is nothing to stop, the timer ends with the loop."""
        self._loop = loop
        self._due = loop.time()
        self._beat()

    def _beat(self) -> None:
        now = self._loop.time()
        self.slot.heartbeat(now, max(0.0, now - self._due))
        self._due = now + INTERVAL
        self._loop.call_at(self._due, self._beat)
