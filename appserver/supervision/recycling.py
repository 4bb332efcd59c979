"""Recycling: when a worker has served long enough."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

from appserver.supervision.events import Sample
from appserver.supervision.policy import Policy

# The share of `max_lifetime` that chance takes off, so that workers which booted together are not all due together.
LIFETIME_JITTER = 0.1


@dataclass(frozen=True, slots=True)
class RecycleLimits:
    """The limits of one worker, with the jitter drawn for it; 0 is no limit."""

    max_requests: int = 0
    max_lifetime: float = 0.0
    max_rss: int = 0

    @classmethod
    def draw(cls, policy: Policy, random: Callable[[], float]) -> Self:
        """Draw the limits of a new worker: up to `max_requests_jitter` requests more, and up to a tenth of lifetime less."""
        requests = policy.max_requests and policy.max_requests + int(random() * (policy.max_requests_jitter + 1))
        return cls(
            max_requests=requests,
            max_lifetime=policy.max_lifetime * (1.0 - LIFETIME_JITTER * random()),
            max_rss=policy.max_rss,
        )

    def reached_by(self, sample: Sample) -> str:
        """Which limit the worker has reached, as its setting is called; empty if none."""
        if 0 < self.max_requests <= sample.requests:
            return "max_requests"
        if 0 < self.max_lifetime <= sample.age:
            return "max_lifetime"
        if 0 < self.max_rss <= sample.rss_bytes:
            return "max_rss"
        return ""
