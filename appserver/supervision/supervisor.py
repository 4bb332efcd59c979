"""The supervisor: events in, actions out."""

from __future__ import annotations

from collections.abc import Callable

from appserver.supervision.actions import Action
from appserver.supervision.events import Event
from appserver.supervision.policy import Policy


class Supervisor:
    """Decides what the master does. Under construction."""

    def __init__(self, policy: Policy, *, random: Callable[[], float]) -> None:
        """Supervise by `policy`; `random` gives numbers in [0, 1)."""

    def start(self, now: float) -> list[Action]:
        """Begin; call it once."""
        raise NotImplementedError

    def handle(self, event: Event, now: float) -> list[Action]:
        """Decide on an event."""
        raise NotImplementedError

    def next_deadline(self) -> float | None:
        """When the next `Tick` is due, by the same clock as `now`."""
        raise NotImplementedError
