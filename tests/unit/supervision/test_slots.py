"""Slots: scaling, recycling, and the bound of the scoreboard."""

from __future__ import annotations

from appserver.supervision.actions import DrainWorker, SpawnWorker
from appserver.supervision.events import ScaleRequested
from tests.unit.supervision.driver import Driver, drained, killed, only, spawned, verdicts

# ---- scaling --------------------------------------------------------------------------------------------------------


def test_scaling_up_spawns_what_is_missing_at_once() -> None:
    driver = Driver(count=2).boot()
    assert only(SpawnWorker, driver.send(ScaleRequested(4))) == [SpawnWorker(3, 3, 1), SpawnWorker(4, 4, 1)]
    assert driver.supervisor.count == 4


def test_scaling_down_drains_what_is_too_many() -> None:
    driver = Driver(count=3).boot()
    assert only(DrainWorker, driver.send(ScaleRequested(delta=-1))) == [DrainWorker(3, "scale_down", 5.0)]
    driver.exited(3)
    assert driver.logs("worker exited")[0].fields["reason"] == "scaled_down"
    assert driver.supervisor.count == 2


def test_there_is_never_less_than_one_worker() -> None:
    driver = Driver(count=1).boot()
    assert drained(driver.send(ScaleRequested(delta=-1))) == []
    assert driver.supervisor.count == 1
    assert driver.logs("scaled")[0].level == "warning"


def test_there_are_never_more_workers_than_the_scoreboard_has_slots_for() -> None:
    driver = Driver(count=1, capacity=4).boot()
    driver.send(ScaleRequested(100))
    assert driver.supervisor.count == 3  # one slot is left for a successor


def test_scaling_down_takes_first_what_does_not_serve() -> None:
    driver = Driver(count=3).boot()
    driver.exited(1, signal=9)
    actions = driver.send(ScaleRequested(2))
    assert killed(actions) == [4]  # it has not been forked yet
    assert drained(actions) == []


def test_scaling_up_and_down_again_gives_up_what_still_boots() -> None:
    driver = Driver(count=1).boot()
    driver.send(ScaleRequested(2))
    driver.forked(2)
    assert drained(driver.send(ScaleRequested(1))) == [2]
    assert driver.states()[1] == "ready"


def test_a_worker_that_becomes_ready_just_when_it_is_given_up_gets_the_time_to_drain() -> None:
    driver = Driver(count=1).boot()
    driver.send(ScaleRequested(2))
    driver.forked(2)
    driver.send(ScaleRequested(1))
    assert drained(driver.ready(2)) == [2]
    assert killed(driver.wait(50.9)) == []
    assert killed(driver.wait(0.2)) == [2]


def test_a_slot_that_is_removed_takes_its_successor_with_it() -> None:
    driver = Driver(count=2, max_requests=10).boot()
    driver.observe(requests=10)
    assert driver.states() == {1: "ready", 2: "ready", 3: "forking"}
    driver.forked(3)
    assert set(drained(driver.send(ScaleRequested(1)))) <= {2, 3}
    assert driver.states()[1] == "ready"


def test_a_worker_number_is_used_again_when_its_worker_is_gone() -> None:
    driver = Driver(count=2).boot()
    driver.send(ScaleRequested(1))
    driver.send(ScaleRequested(2))
    assert [worker.number for worker in driver.supervisor.workers()] == [1, 2, 3]
    driver.exited(2)
    driver.send(ScaleRequested(3))
    assert [worker.number for worker in driver.supervisor.workers()] == [1, 2, 3]


# ---- recycling ------------------------------------------------------------------------------------------------------


def test_a_worker_that_is_due_goes_when_its_successor_is_ready() -> None:
    driver = Driver(count=1, max_requests=100).boot()
    assert spawned(driver.observe(requests=100)) == [2]
    assert driver.states()[1] == "ready"
    assert only(DrainWorker, driver.ready(2)) == [DrainWorker(1, "recycle", 5.0)]
    driver.exited(1)
    assert driver.logs("worker due for recycling")[0].fields["reason"] == "max_requests"
    assert driver.logs("worker exited")[0].fields["reason"] == "recycled"


def test_a_worker_is_recycled_for_its_age_and_for_its_memory() -> None:
    assert spawned(Driver(count=1, max_lifetime=3600.0).boot().observe(age=3600.0)) == [2]
    assert spawned(Driver(count=1, max_rss=2**30).boot().observe(rss=2**30)) == [2]


def test_two_slots_are_never_recycled_at_once() -> None:
    driver = Driver(count=3, surge=3, max_requests=100).boot()
    assert spawned(driver.observe(requests=100)) == [4]
    assert spawned(driver.observe(requests=100)) == []
    assert spawned(driver.ready(4)) == []  # the first one still drains
    assert spawned(driver.exited(1)) == [5]


def test_a_worker_whose_successor_fails_serves_on_until_the_next_one_is_ready() -> None:
    driver = Driver(count=1, max_requests=100).boot()
    driver.observe(requests=100)
    driver.forked(2)
    driver.failed(2)
    driver.exited(2, code=5)
    assert driver.states() == {1: "ready", 3: "forking"}
    driver.forked(3)
    driver.failed(3)
    driver.exited(3, code=5)
    driver.wait(11.0)  # the old one's health is not that of its successors
    assert driver.states()[1] == "ready"
    slot_failures = driver.supervisor.dump()["slots"]
    assert slot_failures[0]["backoff"]["failures"] == 2  # type: ignore[index]


def test_a_successor_takes_the_place_of_a_worker_that_dies_before_it_is_ready() -> None:
    driver = Driver(count=1, max_requests=100).boot()
    driver.observe(requests=100)
    assert spawned(driver.exited(1, signal=9)) == []
    driver.ready(2)
    assert driver.state() == "serving"
    assert driver.states() == {2: "ready"}


def test_a_reload_comes_before_recycling() -> None:
    driver = Driver(count=2, max_requests=100).boot()
    driver.reload()
    assert spawned(driver.observe(requests=100)) == []
    driver.zygote_ready(2)
    driver.ready(3)
    driver.exited(1)
    assert verdicts(driver.ready(4)) == [("ok", 2)]
    driver.exited(2)
    assert [record.fields["reason"] for record in driver.logs("worker exited")] == ["reloaded", "reloaded"]


# ---- the scoreboard -------------------------------------------------------------------------------------------------


def test_a_spawn_waits_for_a_slot_of_the_scoreboard() -> None:
    driver = Driver(count=1, capacity=2).boot()
    driver.reload()
    driver.zygote_ready(2)
    driver.ready(2)  # takes the place of the first, which drains
    driver.reload()
    assert spawned(driver.zygote_ready(3)) == []
    assert spawned(driver.wait(5.0)) == []
    assert len(driver.logs("worker waits")) == 1
    assert spawned(driver.exited(1)) == [3]
