"""Reload: all of it, or nothing."""

from __future__ import annotations

import pytest

from appserver.supervision.actions import DrainWorker, FinishReload, KillZygote, SpawnWorker, SpawnZygote, StopZygote
from appserver.supervision.events import (
    Failure,
    ForkRefused,
    ScaleRequested,
    StopRequested,
    WorkerStoppedAccepting,
)
from tests.unit.supervision.driver import (
    IMPORT_FAILURE,
    Driver,
    drained,
    killed,
    only,
    spawned,
    verdicts,
    zygotes_spawned,
)


def reloading(driver: Driver) -> Driver:
    """Begin a reload, up to the order for the canary."""
    driver.reload()
    driver.zygote_ready(2)
    return driver


# ---- the good way ---------------------------------------------------------------------------------------------------


def test_a_reload_begins_with_a_new_zygote_and_touches_nothing() -> None:
    driver = Driver().boot()
    actions = driver.reload()
    assert only(SpawnZygote, actions) == [SpawnZygote(2)]
    assert not spawned(actions)
    assert not drained(actions)
    assert driver.state() == "reloading"
    assert driver.supervisor.generation == 1


def test_the_canary_boots_beside_the_old_workers() -> None:
    driver = Driver().boot()
    driver.reload()
    assert only(SpawnWorker, driver.zygote_ready(2)) == [SpawnWorker(3, 3, 2)]
    assert driver.states() == {1: "ready", 2: "ready", 3: "forking"}


def test_each_new_worker_that_is_ready_lets_one_old_one_go() -> None:
    driver = reloading(Driver(count=3).boot())
    actions = driver.ready(4)
    assert only(DrainWorker, actions) == [DrainWorker(1, "reload", 5.0)]
    assert spawned(actions) == [5]
    assert driver.supervisor.generation == 2
    actions = driver.ready(5)
    assert drained(actions) == [2]
    assert spawned(actions) == [6]
    actions = driver.ready(6)
    assert drained(actions) == [3]
    assert verdicts(actions) == [("ok", 2)]
    assert driver.state() == "serving"


def rolled_over() -> Driver:
    """A reload of which the new workers serve, and of the two old ones none has said yet that it has stopped accepting."""
    driver = reloading(Driver().boot())
    driver.prompt = False
    driver.bring_up()
    return driver


def test_the_verdict_waits_until_the_old_workers_accept_no_more() -> None:
    driver = rolled_over()
    assert driver.state() == "reloading"
    assert not verdicts(driver.send(WorkerStoppedAccepting(1)))
    assert verdicts(driver.send(WorkerStoppedAccepting(2))) == [("ok", 2)]


def test_an_old_worker_that_is_gone_or_killed_accepts_no_more() -> None:
    driver = rolled_over()
    assert not verdicts(driver.exited(1))
    assert verdicts(driver.exited(2, signal=9)) == [("ok", 2)]


def test_the_verdict_does_not_wait_long_for_one_that_says_nothing() -> None:
    driver = rolled_over()
    driver.send(WorkerStoppedAccepting(1))
    assert not verdicts(driver.wait(0.9))
    assert verdicts(driver.wait(0.2)) == [("ok", 2)]


def test_surge_is_how_many_boot_at_once_after_the_canary() -> None:
    driver = reloading(Driver(count=4, surge=3).boot())
    assert spawned(driver.ready(5)) == [6, 7, 8]


def test_slow_old_workers_hold_nothing_up() -> None:
    driver = reloading(Driver().boot())
    driver.ready(3)
    assert verdicts(driver.ready(4)) == [("ok", 2)]
    assert driver.states() == {1: "draining", 2: "draining", 3: "ready", 4: "ready"}


def test_an_old_worker_that_does_not_end_is_killed_when_its_time_is_up() -> None:
    driver = reloading(Driver(count=1).boot())
    driver.ready(2)
    assert killed(driver.wait(50.9)) == []
    assert killed(driver.wait(0.2)) == [1]
    driver.exited(1, signal=9)
    assert driver.logs("worker exited")[0].fields["reason"] == "reloaded"
    assert driver.logs("worker exited")[0].level == "warning"


def test_the_time_to_drain_is_that_of_the_settings_a_worker_was_made_from() -> None:
    driver = reloading(Driver(count=1, graceful_timeout=5.0).boot())
    driver.ready(2)
    driver.reload(graceful_timeout=100.0)
    driver.zygote_ready(3)
    assert killed(driver.wait(25.9)) == []
    assert killed(driver.wait(0.2)) == [1]


def test_the_old_zygote_goes_when_the_last_of_its_workers_has() -> None:
    driver = reloading(Driver().boot())
    driver.ready(3)
    driver.ready(4)
    assert not only(StopZygote, driver.exited(1))
    assert only(StopZygote, driver.exited(2)) == [StopZygote(1)]
    driver.zygote_exited(1)
    assert [generation.number for generation in driver.supervisor.generations()] == [2]


def test_an_old_zygote_that_does_not_go_is_killed() -> None:
    driver = reloading(Driver(count=1).boot())
    driver.ready(2)
    driver.exited(1)
    assert KillZygote(1) in driver.wait(3.0)
    driver.zygote_exited(1, signal=9)
    assert [generation.number for generation in driver.supervisor.generations()] == [2]


def test_an_old_zygote_that_dies_is_not_missed() -> None:
    driver = reloading(Driver(count=1).boot())
    driver.ready(2)
    assert zygotes_spawned(driver.zygote_exited(1, signal=9)) == []
    assert zygotes_spawned(driver.wait(5.0)) == []
    driver.exited(1)
    assert [generation.number for generation in driver.supervisor.generations()] == [2]


def test_old_workers_that_still_boot_are_given_up_when_the_new_generation_takes_over() -> None:
    driver = reloading(Driver(count=3).boot())
    driver.exited(2, signal=9)
    assert driver.states()[5] == "forking"
    driver.forked(5)
    actions = driver.ready(4)
    assert 5 in drained(actions)
    assert 1 not in drained(actions)  # the canary has taken the vacant place
    assert driver.worker(spawned(actions)[0]).generation == 2


# ---- the canary -----------------------------------------------------------------------------------------------------


def test_the_canary_has_to_stay_healthy_for_the_soak() -> None:
    driver = Driver(soak=5.0).boot()
    driver.reload()
    driver.zygote_ready(2)
    assert not drained(driver.ready(3))
    assert not drained(driver.wait(4.9))
    assert driver.supervisor.generation == 1
    assert drained(driver.wait(0.2)) == [1]
    assert driver.supervisor.generation == 2


def test_a_canary_that_dies_in_the_soak_rolls_back() -> None:
    driver = Driver(soak=5.0).boot()
    driver.reload()
    driver.zygote_ready(2)
    driver.ready(3)
    driver.wait(3.0)
    assert verdicts(driver.exited(3, signal=11)) == [("rolled_back", 2)]
    assert driver.states() == {1: "ready", 2: "ready"}


def test_a_canary_whose_loop_is_blocked_when_the_soak_is_over_rolls_back() -> None:
    driver = Driver(count=1, soak=20.0, stall_report=5.0, stall_timeout=60.0).boot()
    driver.reload()
    driver.zygote_ready(2)
    driver.ready(2)
    driver.wait(15.0)
    driver.observe(w2=8.0)
    actions = driver.wait(6.0)
    assert verdicts(actions) == [("rolled_back", 2)]
    assert drained(actions) == [2]  # it may be serving somebody yet


def test_a_canary_that_stalls_rolls_back_without_waiting_for_the_end_of_the_soak() -> None:
    driver = Driver(count=1, soak=600.0, stall_timeout=30.0).boot()
    driver.reload()
    driver.zygote_ready(2)
    driver.ready(2)
    driver.wait(40.0)
    assert verdicts(driver.observe(w2=31.0)) == [("rolled_back", 2)]


def test_a_place_where_nobody_serves_is_the_canarys_first() -> None:
    driver = Driver(count=2, soak=5.0).boot()
    driver.reload()
    driver.zygote_ready(2)
    driver.ready(3)
    driver.exited(2, signal=9)  # its replacement, 4, still boots when the soak is over
    actions = driver.wait(5.5)
    assert drained(actions) == []
    assert killed(actions) == [4]
    assert driver.states()[1] == "ready"
    assert driver.states()[3] == "ready"


def test_the_old_generation_fills_vacant_slots_as_long_as_there_is_a_way_back() -> None:
    driver = reloading(Driver(count=2).boot())
    actions = driver.exited(1, signal=9)
    assert only(SpawnWorker, actions) == [SpawnWorker(4, 1, 1)]


# ---- the way back ---------------------------------------------------------------------------------------------------


def test_an_application_that_does_not_import_rolls_back() -> None:
    driver = Driver().boot()
    driver.reload()
    actions = driver.zygote_failed(2, IMPORT_FAILURE)
    assert only(FinishReload, actions) == [FinishReload("rolled_back", "no module named 'app'", 2)]
    driver.zygote_exited(2, code=4)
    assert driver.states() == {1: "ready", 2: "ready"}
    assert driver.state() == "serving"
    assert [generation.number for generation in driver.supervisor.generations()] == [1]


def test_the_reason_of_a_roll_back_is_recorded_once_with_the_traceback() -> None:
    driver = Driver().boot()
    driver.reload()
    driver.zygote_failed(2, IMPORT_FAILURE)
    driver.zygote_exited(2, code=4)
    records = driver.logs("reload finished")
    assert [(record.level, record.fields["exception"]) for record in records] == [("error", "Traceback: import")]
    assert not driver.logs("zygote failed")


def test_a_start_up_that_fails_rolls_back() -> None:
    driver = reloading(Driver().boot())
    driver.forked(3)
    assert verdicts(driver.failed(3)) == [("rolled_back", 2)]
    actions = driver.exited(3, code=5)
    assert only(StopZygote, actions) == [StopZygote(2)]
    driver.zygote_exited(2)
    assert driver.states() == {1: "ready", 2: "ready"}


@pytest.mark.parametrize("signal", [9, 11])
def test_a_new_zygote_that_dies_rolls_back(signal: int) -> None:
    driver = reloading(Driver().boot())
    driver.forked(3)
    actions = driver.zygote_exited(2, signal=signal)
    assert verdicts(actions) == [("rolled_back", 2)]
    assert drained(actions) == [3]


def test_a_new_zygote_that_dies_before_it_has_forked_the_canary_rolls_back() -> None:
    driver = reloading(Driver().boot())
    assert verdicts(driver.zygote_exited(2, signal=9)) == [("rolled_back", 2)]
    assert driver.states() == {1: "ready", 2: "ready"}


def test_canaries_that_fail_do_not_slow_down_the_slot_that_they_stood_beside() -> None:
    driver = Driver(count=1).boot()
    for generation in (2, 3, 4):
        driver.reload()
        driver.zygote_ready(generation)
        canary = driver.ids()[-1]
        driver.forked(canary)
        driver.failed(canary)
        driver.exited(canary, code=5)
        driver.zygote_exited(generation)
    assert driver.logs("worker backs off") == []
    assert len(spawned(driver.exited(1, signal=11))) == 1


def test_a_new_zygote_that_hangs_rolls_back_at_boot_timeout() -> None:
    driver = Driver().boot()
    driver.reload()
    actions = driver.wait(60.5)
    assert verdicts(actions) == [("rolled_back", 2)]
    assert KillZygote(2) in actions


def test_a_canary_that_hangs_rolls_back_at_boot_timeout() -> None:
    driver = reloading(Driver().boot())
    driver.forked(3)
    actions = driver.wait(60.5)
    assert verdicts(actions) == [("rolled_back", 2)]
    assert killed(actions) == [3]


def test_a_canary_that_cannot_be_forked_rolls_back() -> None:
    driver = reloading(Driver().boot())
    assert verdicts(driver.send(ForkRefused(3, "no more processes"))) == [("rolled_back", 2)]


def test_a_new_zygote_that_cannot_be_started_rolls_back() -> None:
    driver = Driver().boot()
    driver.reload()
    assert verdicts(driver.zygote_failed(2, Failure("spawn", "no memory"))) == [("rolled_back", 2)]
    assert [generation.number for generation in driver.supervisor.generations()] == [1]


def test_the_next_good_reload_works_and_gets_a_number_of_its_own() -> None:
    driver = Driver(count=1).boot()
    driver.reload()
    driver.zygote_failed(2)
    driver.zygote_exited(2, code=4)
    assert zygotes_spawned(driver.reload()) == [3]
    driver.zygote_ready(3)
    assert verdicts(driver.ready(2)) == [("ok", 3)]


def test_a_zygote_that_still_imports_is_killed_by_a_roll_back() -> None:
    driver = Driver().boot()
    driver.reload()
    assert KillZygote(2) in driver.stop()


# ---- beyond the point of no return ----------------------------------------------------------------------------------


def test_failures_after_the_first_old_worker_has_left_do_not_roll_back() -> None:
    driver = reloading(Driver().boot())
    driver.ready(3)
    driver.forked(4)
    assert verdicts(driver.failed(4)) == []
    driver.exited(4, code=5)
    assert driver.state() == "reloading"
    assert driver.states()[2] == "ready"  # it serves until there is another one in its place
    driver.ready(5)
    assert driver.state() == "serving"


def fail(driver: Driver, worker: int) -> int:
    """Have a booting worker fail, and wait for the next one; returns its id."""
    driver.forked(worker)
    driver.failed(worker)
    driver.exited(worker, code=5)
    driver.wait(31.0)
    return driver.ids()[-1]


def test_a_reload_that_does_not_get_on_gets_its_verdict_and_is_tried_on_for_ever() -> None:
    driver = reloading(Driver().boot())
    driver.ready(3)
    driver.exited(1)
    worker = 4
    for _ in range(8):
        worker = fail(driver, worker)
    assert verdicts(driver.history) == [("incomplete", 2)]
    assert driver.states()[2] == "ready"
    driver.ready(worker)
    driver.exited(2)
    assert driver.states() == {3: "ready", worker: "ready"}
    assert verdicts(driver.history) == [("incomplete", 2)]


def test_a_failure_beyond_the_point_of_no_return_makes_room_for_the_reload_that_waits() -> None:
    driver = reloading(Driver().boot())
    driver.ready(3)
    driver.reload()
    driver.forked(4)
    actions = driver.failed(4)
    assert verdicts(actions) == [("incomplete", 2)]
    assert zygotes_spawned(actions) == [3]


def test_a_zygote_that_keeps_dying_beyond_the_point_of_no_return_is_no_reason_to_wait_for_ever() -> None:
    driver = reloading(Driver().boot())
    driver.ready(3)
    driver.zygote_exited(2, signal=9)
    for _ in range(3):
        driver.zygote_failed(2)
        driver.zygote_exited(2, code=4)
        driver.wait(1.0)
    assert verdicts(driver.history) == [("incomplete", 2)]


def test_what_failed_before_a_reload_does_not_slow_it_down() -> None:
    driver = Driver(count=2).boot()
    worker = 1
    for _ in range(10):  # the old generation is in a crash loop
        driver.exited(worker, signal=11)
        driver.wait(31.0)
        worker = driver.ids()[-1]
        driver.ready(worker)
    driver.exited(worker, signal=11)
    driver.reload()
    driver.zygote_ready(2)
    canary = driver.ids()[-1]
    assert spawned(driver.ready(canary)) == [canary + 1]


# ---- one reload on top of another -----------------------------------------------------------------------------------


def test_a_second_reload_is_remembered_and_runs_afterwards() -> None:
    driver = reloading(Driver(count=1).boot())
    assert zygotes_spawned(driver.reload()) == []
    assert driver.logs("reload remembered")
    actions = driver.ready(2)
    assert verdicts(actions) == [("ok", 2)]
    assert zygotes_spawned(actions) == [3]


def test_of_several_reloads_that_wait_only_the_last_is_run() -> None:
    driver = reloading(Driver(count=1).boot())
    for count in (2, 3, 4):
        driver.reload(count=count)
    driver.ready(2)
    driver.zygote_ready(3)
    driver.ready(3)
    assert driver.supervisor.count == 4
    assert zygotes_spawned(driver.history) == [1, 2, 3]


def test_a_reload_that_waits_runs_after_a_roll_back_too() -> None:
    driver = Driver().boot()
    driver.reload()
    driver.reload()
    actions = driver.zygote_failed(2)
    assert verdicts(actions) == [("rolled_back", 2)]
    assert zygotes_spawned(actions) == [3]


def test_a_second_reload_rolls_over_what_the_first_has_left() -> None:
    driver = reloading(Driver(count=2).boot())
    driver.ready(3)
    driver.reload()
    driver.forked(4)
    driver.failed(4)  # incomplete: worker 2 is of generation 1 still
    driver.zygote_ready(3)
    driver.bring_up()
    assert verdicts(driver.history) == [("incomplete", 2), ("ok", 3)]
    assert {worker.generation for worker in driver.supervisor.workers() if worker.state == "ready"} == {3}


# ---- the number of workers ------------------------------------------------------------------------------------------


def test_a_new_count_comes_with_the_new_generation() -> None:
    driver = Driver(count=1).boot()
    driver.reload(count=3)
    driver.zygote_ready(2)
    assert driver.supervisor.count == 1
    actions = driver.ready(2)
    assert driver.supervisor.count == 3
    assert drained(actions) == []  # the canary fills one of the new places first
    driver.ready(3)
    driver.ready(4)
    assert drained(driver.history) == [1]
    assert driver.state() == "serving"


def test_a_smaller_count_lets_the_others_go_with_the_new_generation() -> None:
    driver = Driver(count=3).boot()
    driver.reload(count=1)
    driver.zygote_ready(2)
    actions = driver.ready(4)
    assert sorted(drained(actions)) == [1, 2, 3]
    assert verdicts(actions) == [("ok", 2)]


def test_a_new_count_is_not_taken_when_the_reload_rolls_back() -> None:
    driver = Driver(count=1).boot()
    driver.reload(count=3)
    driver.zygote_failed(2)
    assert driver.supervisor.count == 1


def test_what_was_scaled_to_stays_when_the_settings_say_the_same_as_before() -> None:
    driver = Driver(count=1).boot()
    driver.send(ScaleRequested(2))
    driver.ready(2)
    driver.reload()
    driver.zygote_ready(2)
    driver.ready(3)
    assert driver.supervisor.count == 2


def test_scaling_during_a_reload_is_the_last_word() -> None:
    driver = Driver(count=1).boot()
    driver.reload(count=4)
    driver.send(ScaleRequested(2))
    driver.zygote_ready(2)
    driver.ready(3)
    assert driver.supervisor.count == 2


def test_scaling_is_the_last_word_against_a_reload_that_waits_too() -> None:
    driver = reloading(Driver(count=1).boot())
    driver.reload(count=4)
    driver.send(ScaleRequested(delta=1))
    driver.bring_up()
    driver.zygote_ready(3)
    driver.bring_up()
    assert verdicts(driver.history) == [("ok", 2), ("ok", 3)]
    assert driver.supervisor.count == 2


def test_scaling_down_during_a_reload_does_not_take_the_canary() -> None:
    driver = reloading(Driver(count=2).boot())
    assert drained(driver.send(ScaleRequested(1))) == [2]
    assert verdicts(driver.ready(3)) == [("ok", 2)]


# ---- a stop -----------------------------------------------------------------------------------------------------------


def test_a_stop_ends_a_reload_with_a_verdict() -> None:
    driver = reloading(Driver().boot())
    driver.forked(3)
    actions = driver.stop()
    assert verdicts(actions) == [("rolled_back", 2)]
    assert drained(actions) == [1, 2, 3]


def test_a_stop_beyond_the_point_of_no_return_leaves_it_incomplete() -> None:
    driver = reloading(Driver().boot())
    driver.ready(3)
    assert verdicts(driver.stop()) == [("incomplete", 2)]


def test_a_stop_answers_the_reload_that_waits() -> None:
    driver = reloading(Driver().boot())
    driver.reload()
    assert verdicts(driver.send(StopRequested())) == [("rolled_back", 2), ("refused", None)]


def test_a_reload_is_refused_when_the_server_stops() -> None:
    driver = Driver().boot()
    driver.stop()
    assert only(FinishReload, driver.reload()) == [FinishReload("refused", "the server is stopping", None)]
