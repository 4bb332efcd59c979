"""Snapshot: what the supervisor knows survives a re-exec."""

from __future__ import annotations

import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appserver.supervision.supervisor import Supervisor
from tests.simulation.worlds import make_world
from tests.unit.supervision.driver import Driver, drained, verdicts


def through_json(supervisor: Supervisor) -> Supervisor:
    return Supervisor.restore(json.loads(json.dumps(supervisor.dump())), random=lambda: 0.0)


@given(seed=st.integers(0, 2**32), moment=st.floats(0.1, 1.0))
def test_any_state_survives_being_written_and_read(seed: int, moment: float) -> None:
    world = make_world(seed)
    world.end = world.script.duration * moment
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(world.observer), "ended", lambda self, world: None)  # it is not over, only looked at
        world.play()
    supervisor = world.supervisor
    restored = Supervisor.restore(json.loads(json.dumps(supervisor.dump())), random=random.random)
    assert restored.dump() == supervisor.dump()
    assert restored.workers() == supervisor.workers()
    assert restored.generations() == supervisor.generations()
    assert restored.next_deadline() == supervisor.next_deadline()
    assert (restored.state, restored.count) == (supervisor.state, supervisor.count)


def test_a_restored_supervisor_has_begun_already() -> None:
    driver = Driver().boot()
    restored = through_json(driver.supervisor)
    before = restored.dump()
    assert restored.start(driver.now + 1.0) == []
    assert restored.dump() == before


def test_a_reload_goes_on_after_a_re_exec() -> None:
    driver = Driver(soak=5.0).boot()
    driver.reload()
    driver.reload(count=3)
    driver.zygote_ready(2)
    driver.ready(3)
    driver.supervisor = through_json(driver.supervisor)
    assert drained(driver.wait(6.0)) == [1]
    driver.supervisor = through_json(driver.supervisor)
    assert verdicts(driver.ready(4)) == [("ok", 2)]
    assert driver.state() == "reloading"


def test_the_time_that_a_re_exec_takes_is_held_against_nobody() -> None:
    driver = Driver(count=1, stall_timeout=10.0).boot()
    driver.wait(60.0)
    driver.supervisor = through_json(driver.supervisor)
    driver.now += 30.0
    driver.observe(w1=30.0)
    assert driver.states() == {1: "ready"}


def test_a_snapshot_of_another_version_is_read_as_far_as_it_is_known() -> None:
    snapshot = Driver().boot().supervisor.dump()
    snapshot["invented_later"] = {"by": "somebody"}
    del snapshot["crowded"]
    restored = Supervisor.restore(snapshot, random=lambda: 0.0)
    assert "invented_later" not in restored.dump()
    assert restored.dump()["crowded"] is False


@pytest.mark.parametrize("snapshot", [{}, {"generation": 1, "count": 1, "capacity": 8, "workers": 7}, {"slots": [1]}])
def test_what_is_no_snapshot_is_refused(snapshot: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="no snapshot"):
        Supervisor.restore(snapshot, random=lambda: 0.0)
