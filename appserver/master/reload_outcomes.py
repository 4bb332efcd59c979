"""The outcomes of reloads, and those who wait for one."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class ReloadOutcome:
    """How one reload ended.

    `result` is "ok", "rolled_back", "incomplete" or "refused"; `generation` is the one it made, None if it made none; `at`
    is in seconds since the epoch.
    """

    result: str
    reason: str
    generation: int | None = None
    at: float = field(default_factory=time.time)


class ReloadOutcomes:
    """Keeps the last outcome, and hands each out to those who have asked for that reload."""

    def __init__(self, last: ReloadOutcome | None = None) -> None:
        self.last = last
        self._waiting: list[tuple[int, asyncio.Future[ReloadOutcome]]] = []

    def refuse(self, reason: str) -> asyncio.Future[ReloadOutcome]:
        """Note a reload that was not begun: its outcome is there at once."""
        self.last = ReloadOutcome("refused", reason)
        future = asyncio.get_running_loop().create_future()
        future.set_result(self.last)
        return future

    def expect(self, *, newer_than: int) -> asyncio.Future[ReloadOutcome]:
        """The outcome on the next generation after `newer_than`: whatever is under way already is somebody else's."""
        future = asyncio.get_running_loop().create_future()
        self._waiting.append((newer_than, future))
        return future

    def give(self, outcome: ReloadOutcome) -> None:
        """Tell those who wait for it; one without a generation is for all."""
        self.last = outcome
        waiting, self._waiting = self._waiting, []
        for newer_than, future in waiting:
            if outcome.generation is not None and outcome.generation <= newer_than:
                self._waiting.append((newer_than, future))
            elif not future.done():  # whoever waited may have gone
                future.set_result(outcome)
