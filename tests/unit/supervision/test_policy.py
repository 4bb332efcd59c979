"""Policy: taken from the settings, and able to come to an end."""

from __future__ import annotations

import pytest

from appserver.settings import Settings
from appserver.supervision.policy import KILL_MARGIN, MINIMUM_CAPACITY, Policy


def settings(**sections: dict[str, object]) -> Settings:
    return Settings.model_validate({"app": {"target": "example:app"}, **sections})


def test_the_defaults_are_those_of_the_settings() -> None:
    assert Policy.from_settings(settings(workers={"count": 1}), cpus=8) == Policy(count=1)


def test_an_automatic_count_is_the_number_of_cpus() -> None:
    assert Policy.from_settings(settings(), cpus=7).count == 7


def test_the_policy_takes_what_concerns_it() -> None:
    policy = Policy.from_settings(
        settings(
            workers={
                "count": 40,
                "boot_timeout": 1,
                "graceful_timeout": 2,
                "lifespan_timeout": 3,
                "stall_report": 4,
                "stall_timeout": 5,
            },
            reload={"surge": 2, "soak": 6, "linger": 7},
            shutdown={"delay": 8, "linger": 9},
        ),
        cpus=1,
    )
    assert policy == Policy(
        count=40,
        boot_timeout=1,
        graceful_timeout=2,
        lifespan_timeout=3,
        stall_report=4,
        stall_timeout=5,
        surge=2,
        soak=6,
        reload_linger=7,
        shutdown_delay=8,
        shutdown_linger=9,
        capacity=168,
    )


def test_few_workers_have_room_for_more() -> None:
    assert Policy.from_settings(settings(workers={"count": 2}), cpus=1).capacity == MINIMUM_CAPACITY


def test_the_bound_of_a_drain_is_the_sum_of_its_parts() -> None:
    policy = Policy(graceful_timeout=30, lifespan_timeout=10, reload_linger=5, shutdown_linger=1)
    assert policy.drain_bound("stop") == 41 + KILL_MARGIN
    for reason in ("reload", "recycle", "scale_down"):
        assert policy.drain_bound(reason) == 45 + KILL_MARGIN


@pytest.mark.parametrize("wrong", [{"count": 0}, {"surge": 0}, {"boot_timeout": 0.0}, {"count": 64}])
def test_a_policy_that_could_not_end_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"greater than 0|no room"):
        Policy(**wrong)  # type: ignore[arg-type]
