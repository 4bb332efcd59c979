"""The watch: blocked loops are found, and only those."""

from __future__ import annotations

from appserver.supervision.actions import DumpBoot, DumpStacks, DumpZygoteBoot, KillWorker
from tests.unit.supervision.driver import Driver, drained, killed, only, spawned, verdicts


def watching(count: int = 2, **changes: object) -> Driver:
    """A server that has served for a while, and is watched with the times of the defaults."""
    driver = Driver(count=count, **{"stall_report": 5.0, "stall_timeout": 30.0, **changes}).boot()
    driver.wait(60.0)
    return driver


def test_the_stacks_of_a_blocked_worker_are_asked_for_once() -> None:
    driver = watching()
    assert only(DumpStacks, driver.observe(w1=4.9)) == []
    assert only(DumpStacks, driver.observe(w1=5.5)) == [DumpStacks(1, 5.5)]
    assert only(DumpStacks, driver.observe(w1=6.5)) == []
    assert driver.logs("worker blocked")[0].fields["worker"] == 1


def test_they_are_asked_for_again_when_it_is_blocked_another_time() -> None:
    driver = watching()
    driver.observe(w1=5.5)
    driver.observe(w1=0.1)
    assert only(DumpStacks, driver.observe(w1=5.5)) == [DumpStacks(1, 5.5)]


def test_a_stalled_worker_is_killed_when_another_one_is_ready_in_its_place() -> None:
    driver = watching()
    actions = driver.observe(w1=30.5)
    assert spawned(actions) == [3]
    assert killed(actions) == []
    assert driver.states()[1] == "stalled"
    actions = driver.ready(3)
    assert killed(actions) == [1]
    driver.exited(1, signal=9)
    assert driver.logs("worker exited")[0].fields["reason"] == "stalled"
    assert driver.states() == {2: "ready", 3: "ready"}


def test_it_is_killed_at_once_where_there_is_no_room_for_two() -> None:
    driver = watching(count=3)
    actions = driver.observe(w1=31.0, w2=31.0, w3=31.0)
    assert killed(actions) == [2, 3]
    assert len(spawned(actions)) == 3


def test_it_is_killed_when_nobody_becomes_ready_in_its_place() -> None:
    driver = watching(count=1, boot_timeout=20.0)
    driver.observe(w1=31.0)
    driver.forked(2)
    actions = driver.wait(20.5)
    assert set(killed(actions)) == {1, 2}
    assert driver.states()[3] == "forking"


def test_it_is_killed_when_the_zygote_is_gone() -> None:
    driver = watching(count=1)
    driver.zygote_exited(1, signal=9)
    assert killed(driver.observe(w1=31.0)) == [1]


def test_one_that_recovers_serves_until_its_successor_is_ready_and_then_drains() -> None:
    driver = watching(count=1)
    driver.observe(w1=31.0)
    driver.observe(w1=0.1)
    assert driver.states()[1] == "ready"
    assert driver.logs("worker recovered")
    actions = driver.ready(2)
    assert killed(actions) == []
    assert drained(actions) == [1]
    driver.exited(1)
    assert driver.logs("worker exited")[0].fields["reason"] == "stalled"


def test_the_first_failure_of_a_successor_is_followed_by_another() -> None:
    driver = watching(count=1)
    driver.observe(w1=31.0)
    driver.forked(2)
    assert spawned(driver.failed(2)) == [3]
    driver.forked(3)
    assert killed(driver.failed(3)) == [1]  # the slot has to wait now, and the old one serves nobody


def test_during_a_reload_stalled_workers_are_killed_at_once() -> None:
    driver = watching(count=2)
    driver.reload()
    assert only(KillWorker, driver.observe(w1=31.0)) == [KillWorker(1, "its event loop is blocked")]
    driver.zygote_ready(2)
    assert verdicts(driver.history) == []


def test_without_limits_nobody_is_blamed() -> None:
    driver = watching(stall_report=0.0, stall_timeout=0.0)
    assert driver.observe(w1=1000.0) == []


def test_a_worker_that_still_boots_is_not_watched() -> None:
    driver = watching(count=1)
    driver.exited(1, signal=9)
    driver.forked(2)
    driver.wait(50.0)
    assert driver.observe(w2=50.0) == []


def test_the_heartbeat_of_a_worker_that_has_just_booted_may_be_as_old_as_its_import() -> None:
    driver = watching(count=1)
    driver.exited(1, signal=9)
    driver.forked(2)
    driver.wait(50.0)
    driver.ready(2)
    assert driver.observe(w2=50.0) == []


def test_a_worker_without_a_heartbeat_yet_is_not_blamed() -> None:
    assert watching().observe(w1=None) == []


def test_a_sample_of_a_worker_that_is_gone_is_ignored() -> None:
    driver = watching()
    samples = driver.supervisor.workers()
    driver.exited(1, signal=9)
    assert samples
    assert driver.observe(w1=31.0) == []


def test_a_draining_worker_that_is_blocked_is_reported_and_left_to_its_deadline() -> None:
    driver = watching(count=1)
    driver.stop()
    driver.wait(20.0)
    assert only(DumpStacks, driver.observe(w1=20.0)) == [DumpStacks(1, 20.0)]
    driver.wait(15.0)
    assert killed(driver.observe(w1=35.0)) == []


# ---- a master that did not run --------------------------------------------------------------------------------------


def test_a_suspension_of_everything_is_no_stall() -> None:
    driver = watching()
    driver.now += 60.0
    assert killed(driver.observe(w1=60.0, w2=60.0)) == []
    assert driver.states() == {1: "ready", 2: "ready"}
    assert driver.logs("master was suspended")[0].fields["seconds"] == 59.0
    driver.wait(29.0)
    assert killed(driver.observe(w1=89.0, w2=0.5)) == []
    driver.wait(2.0)
    assert driver.observe(w1=91.0, w2=0.5)
    assert driver.states()[1] == "stalled"


def test_a_suspension_moves_every_deadline() -> None:
    driver = Driver(count=2, soak=30.0, shutdown_delay=30.0).boot()
    driver.reload()
    driver.zygote_ready(2)
    driver.ready(3)
    driver.exited(1, signal=9)
    driver.forked(4)
    driver.wait(1.0)
    actions = driver.suspend(600.0)
    assert killed(actions) == []
    assert drained(actions) == []
    assert drained(driver.wait(27.0)) == []
    assert drained(driver.wait(3.0)) != []
    driver.stop()
    driver.suspend(600.0)
    assert drained(driver.wait(28.0)) == []


def test_a_master_that_is_a_little_late_was_not_suspended() -> None:
    driver = watching()
    driver.suspend(2.5)
    assert not driver.logs("master was suspended")


def test_a_clock_that_goes_back_is_taken_to_stand_still() -> None:
    driver = watching()
    before = driver.supervisor.next_deadline()
    driver.now -= 3600.0
    driver.observe()
    assert before is not None
    assert driver.supervisor.next_deadline() is not None
    driver.now += 3600.0
    assert not driver.logs("master was suspended")


class TestBoots:
    """A boot that takes long is looked at twice."""

    def test_of_a_worker(self) -> None:
        driver = Driver(count=1, stall_report=5.0)
        driver.start()
        driver.zygote_ready(1)
        driver.forked(1)
        assert only(DumpBoot, driver.wait(4.5)) == []
        assert only(DumpBoot, driver.wait(1.5)) == [DumpBoot(1, 5.0)]
        assert only(DumpBoot, driver.wait(51.0)) == []
        assert only(DumpBoot, driver.wait(2.5)) == [DumpBoot(1, 58.0)]
        assert driver.states()[1] == "booting"
        assert killed(driver.wait(3.0)) == [1]
        assert len(driver.logs("worker boots slowly")) == 2

    def test_of_a_zygote(self) -> None:
        driver = Driver(stall_report=5.0)
        driver.start()
        assert only(DumpZygoteBoot, driver.wait(57.0)) == [DumpZygoteBoot(1, 5.0)]
        assert only(DumpZygoteBoot, driver.wait(2.5)) == [DumpZygoteBoot(1, 58.0)]

    def test_once_where_the_whole_time_is_shorter_than_a_stall(self) -> None:
        driver = Driver(stall_report=5.0, boot_timeout=2.0)
        driver.start()
        assert only(DumpZygoteBoot, driver.wait(1.9)) == [DumpZygoteBoot(1, 1.0)]

    def test_before_the_end_also_where_stalls_are_not_reported(self) -> None:
        driver = Driver()
        driver.start()
        assert only(DumpZygoteBoot, driver.wait(59.0)) == [DumpZygoteBoot(1, 58.0)]

    def test_not_of_one_that_comes_up_in_time(self) -> None:
        driver = Driver(stall_report=5.0)
        driver.start()
        driver.wait(4.0)
        driver.zygote_ready(1)
        driver.bring_up()
        driver.wait(60.0)
        assert not [action for action in driver.history if isinstance(action, DumpBoot | DumpZygoteBoot)]
