"""Shutdown: a stop always ends."""

from __future__ import annotations

from appserver.supervision.actions import DrainWorker, KillZygote, StopZygote
from appserver.supervision.events import ScaleRequested
from appserver.supervision.shutdown import UNKILLABLE
from tests.unit.supervision.driver import Driver, drained, exit_codes, killed, only, spawned


def test_a_stop_drains_all_workers_and_then_lets_the_zygote_go() -> None:
    driver = Driver().boot()
    assert only(DrainWorker, driver.stop()) == [DrainWorker(1, "stop", 1.0), DrainWorker(2, "stop", 1.0)]
    assert driver.state() == "stopping"
    assert not only(StopZygote, driver.exited(1))
    assert only(StopZygote, driver.exited(2)) == [StopZygote(1)]
    assert exit_codes(driver.zygote_exited(1)) == [0]
    assert [record.fields["reason"] for record in driver.logs("worker exited")] == ["stopped", "stopped"]
    assert driver.logs("stopping")
    assert driver.logs("stopped")


def test_what_dies_during_a_stop_is_not_replaced() -> None:
    driver = Driver().boot()
    driver.stop()
    assert not spawned(driver.exited(1, signal=9))
    assert not spawned(driver.wait(10.0))
    assert driver.logs("worker exited")[0].fields["reason"] == "crashed"


def test_workers_that_do_not_end_are_killed_when_their_time_is_up() -> None:
    driver = Driver(count=1).boot()
    driver.stop()
    assert killed(driver.wait(46.9)) == []
    assert killed(driver.wait(0.2)) == [1]


def test_the_delay_keeps_serving_before_the_drain() -> None:
    driver = Driver(shutdown_delay=10.0).boot()
    assert drained(driver.stop()) == []
    assert driver.state() == "stopping"
    assert drained(driver.wait(9.9)) == []
    assert drained(driver.wait(0.2)) == [1, 2]


def test_the_delay_is_not_waited_for_when_nobody_serves_any_more() -> None:
    driver = Driver(count=2, shutdown_delay=10.0).boot()
    driver.stop()
    driver.exited(1, signal=9)
    assert only(StopZygote, driver.exited(2, signal=9)) == [StopZygote(1)]


def test_what_still_boots_is_not_waited_for_during_the_delay() -> None:
    driver = Driver(count=2, shutdown_delay=10.0).boot()
    driver.exited(1, signal=9)
    driver.forked(3)
    assert drained(driver.stop()) == [3]
    assert driver.states()[2] == "ready"


def test_what_still_boots_when_its_time_is_up_is_not_said_to_drain() -> None:
    driver = Driver(count=1)
    driver.start()
    driver.zygote_ready(1)
    driver.forked(1)
    driver.stop()
    assert killed(driver.wait(2.5)) == [1]
    assert driver.logs("worker killed")[0].fields["reason"] == "still booting 2.0 s after it was asked to leave"


def test_a_stop_at_once_kills_everything() -> None:
    driver = Driver(shutdown_delay=10.0).boot()
    actions = driver.stop(now=True)
    assert killed(actions) == [1, 2]
    assert KillZygote(1) in actions
    driver.exited(1, signal=9)
    driver.exited(2, signal=9)
    assert exit_codes(driver.zygote_exited(1, signal=9)) == [0]


def test_a_second_stop_is_one_at_once() -> None:
    driver = Driver().boot()
    driver.stop()
    assert killed(driver.stop()) == [1, 2]
    assert driver.logs("stopping at once")[0].fields["reason"] == "asked a second time"


def test_a_stop_at_once_overtakes_a_graceful_one() -> None:
    driver = Driver().boot()
    driver.stop()
    assert killed(driver.stop(now=True)) == [1, 2]


def test_what_cannot_be_killed_is_left_behind() -> None:
    driver = Driver(count=1).boot()
    driver.stop(now=True)
    assert exit_codes(driver.wait(UNKILLABLE - 0.1)) == []
    assert exit_codes(driver.wait(1.2)) == [0]
    assert driver.logs("worker left behind")[0].level == "error"
    assert driver.logs("zygote left behind")[0].level == "error"


def test_a_worker_that_waits_for_its_replacement_drains_like_the_others() -> None:
    driver = Driver(count=1, stall_timeout=30.0).boot()
    driver.wait(40.0)
    driver.observe(w1=31.0)
    assert driver.states()[1] == "stalled"
    assert 1 in drained(driver.stop())


def test_scaling_is_refused_during_a_stop() -> None:
    driver = Driver().boot()
    driver.stop()
    assert not spawned(driver.send(ScaleRequested(8)))
    assert driver.supervisor.count == 2
    assert driver.logs("scaling refused")


def test_a_zygote_that_dies_during_a_stop_is_not_replaced() -> None:
    driver = Driver(count=1).boot()
    driver.stop()
    driver.zygote_exited(1, signal=9)
    driver.wait(1.0)
    assert exit_codes(driver.exited(1)) == [0]


def test_samples_are_taken_in_during_a_stop() -> None:
    driver = Driver(count=1, stall_report=5.0, stall_timeout=30.0, max_requests=5).boot()
    driver.stop()
    driver.wait(20.0)
    assert not spawned(driver.observe(requests=10, w1=15.0))
    assert driver.states()[1] == "draining"
