"""Random worlds: whatever happens in them, the invariants hold."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.simulation.worlds import make_world

WORLDS = 2000
BATCH = 100
ALWAYS = 300
"""The worlds of every run; the others are for those where there is time."""


@pytest.mark.parametrize(
    "first",
    [
        *range(0, ALWAYS, BATCH),
        *(pytest.param(first, marks=pytest.mark.long) for first in range(ALWAYS, WORLDS, BATCH)),
    ],
)
def test_the_invariants_hold_in_every_world(first: int) -> None:
    for seed in range(first, first + BATCH):
        make_world(seed).play()


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_the_invariants_hold_in_very_many_worlds() -> None:
    for seed in range(WORLDS, 100_000):
        make_world(seed).play()


def test_a_seed_always_makes_the_same_world() -> None:
    def play() -> tuple[object, ...]:
        world = make_world(17)
        world.play()
        return world.steps, world.now, world.spawns, world.verdicts, world.supervisor.dump()

    assert play() == play()


def test_the_worlds_are_worth_living_in() -> None:
    """What the invariants are about does happen, and not only once in a while."""
    worlds = [make_world(seed) for seed in range(200)]
    for world in worlds:
        world.play()
    results = [result for world in worlds for results in world.verdicts.values() for result in results]
    assert {"ok", "rolled_back", "incomplete", "refused"} <= set(results)
    assert results.count("ok") > 50
    assert results.count("rolled_back") > 25
    assert sum(world.exit is not None and world.exit.code == 0 for world in worlds) > 50
    assert sum(world.exit is not None and world.exit.code in (4, 5) for world in worlds) > 10
    assert sum(bool(world.suspensions) for world in worlds) > 20
    assert sum(len(world.spawns) for world in worlds) > 2000
    found_out = sum((world.misbehaved for world in worlds), Counter())
    assert found_out["FakeWorker"] > 20
    assert found_out["FakeZygote"] > 5
