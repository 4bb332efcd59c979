"""Suspects: which requests are served again and again when workers die.

A worker that crashes while it serves one request was killed by it; of several at once it may have been any. The request that
kills is the one that is there each time, so deaths are counted by method and path, and what has been there twice within a
while is called deadly.
"""

from __future__ import annotations

from collections.abc import Sequence

from appserver.supervision.events import Request
from appserver.supervision.processes import Processes
from appserver.supervision.records import State, Suspect

# Deaths that are further apart than this, in seconds, are nothing that happens again and again.
MEMORY = 600.0

# So many are kept in mind. Paths are what clients write, so there may be any number of them.
MAX_SUSPECTS = 256

DEADLY = 2
"""With so many deaths it is no coincidence."""


class Suspects:
    """Keeps the books of `State.suspects`."""

    def __init__(self, state: State, processes: Processes) -> None:
        self._state = state
        self._processes = processes

    def accuse(self, serving: Sequence[Request], in_progress: int) -> None:
        """Take note of what a worker was serving when it died, and log what has been there too often.

        `in_progress` is how many requests it was serving; not all of them may be known.
        """
        now = self._processes.now
        kinds = {(request.method, request.path) for request in serving}
        known = {(suspect.method, suspect.path): suspect for suspect in self._recent(now)}
        for kind in sorted(kinds):
            suspect = known.pop(kind, None) or Suspect(*kind)
            suspect.deaths += 1
            suspect.alone += len(kinds) == 1 and in_progress <= len(serving)
            suspect.last_at = now
            known[kind] = suspect
            if suspect.deaths >= DEADLY and _is_power_of_two(suspect.deaths):  # each time would say no more
                self._processes.log(
                    "error",
                    "request kills workers",
                    method=suspect.method,
                    path=suspect.path,
                    deaths=suspect.deaths,
                    alone=suspect.alone,
                    advice="have the proxy in front refuse it until the application is mended",
                )
        self._state.suspects = list(known.values())[-MAX_SUSPECTS:]

    def deadly(self, now: float) -> list[Suspect]:
        """Those that are deadly, the worst first."""
        found = [suspect for suspect in self._recent(now) if suspect.deaths >= DEADLY]
        return sorted(found, key=lambda suspect: (suspect.alone, suspect.deaths, suspect.last_at), reverse=True)

    def _recent(self, now: float) -> list[Suspect]:
        return [suspect for suspect in self._state.suspects if now - suspect.last_at <= MEMORY]


def _is_power_of_two(number: int) -> bool:
    return number & number - 1 == 0
