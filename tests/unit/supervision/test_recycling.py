"""Recycling: which limit a worker has reached."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appserver.supervision.events import Sample
from appserver.supervision.policy import Policy
from appserver.supervision.recycling import RecycleLimits

YOUNG = Sample(worker=1, heartbeat_age=0.1, requests=0, rss_bytes=0, age=0.0)


def test_without_limits_no_worker_is_ever_due() -> None:
    old = Sample(worker=1, heartbeat_age=0.1, requests=10**12, rss_bytes=10**12, age=1e9)
    assert RecycleLimits.draw(Policy(), lambda: 0.5).reached_by(old) == ""


@pytest.mark.parametrize(
    ("limits", "due", "setting"),
    [
        (RecycleLimits(max_requests=100), replace(YOUNG, requests=100), "max_requests"),
        (RecycleLimits(max_lifetime=60.0), replace(YOUNG, age=60.0), "max_lifetime"),
        (RecycleLimits(max_rss=2**20), replace(YOUNG, rss_bytes=2**20), "max_rss"),
    ],
)
def test_a_worker_is_due_when_it_has_reached_a_limit(limits: RecycleLimits, due: Sample, setting: str) -> None:
    assert limits.reached_by(YOUNG) == ""
    assert limits.reached_by(due) == setting


@given(chance=st.floats(0.0, 1.0, exclude_max=True))
def test_jitter_adds_requests_and_shortens_lifetimes(chance: float) -> None:
    policy = Policy(max_requests=1000, max_requests_jitter=100, max_lifetime=3600.0, max_rss=5)
    limits = RecycleLimits.draw(policy, lambda: chance)
    assert 1000 <= limits.max_requests <= 1100
    assert 3240.0 <= limits.max_lifetime <= 3600.0
    assert limits.max_rss == 5
