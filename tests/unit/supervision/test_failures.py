"""What fails while it serves: it is tried again, with back-off, for ever."""

from __future__ import annotations

import pytest

from appserver.supervision.actions import Action, CountExit, KillZygote, SpawnWorker, SpawnZygote
from appserver.supervision.backoff import LONGEST_DEBT
from appserver.supervision.events import (
    ExitStatus,
    Failure,
    ForkRefused,
    Request,
    StopRequested,
    WorkerExited,
    WorkerMisbehaved,
    WorkerReady,
    ZygoteMisbehaved,
    ZygoteReady,
)
from appserver.supervision.processes import EXIT_GRACE, KILL_INTERVAL
from tests.unit.supervision.driver import Driver, drained, exit_codes, killed, only, spawned, zygotes_spawned


@pytest.mark.parametrize("code", [0, 1, 3, 7])
def test_a_worker_that_ends_by_itself_is_replaced_at_once_whatever_its_exit_code(code: int) -> None:
    driver = Driver().boot()
    assert only(SpawnWorker, driver.exited(1, code=code)) == [SpawnWorker(3, 1, 1)]
    assert driver.logs("worker exited")[0].level == "error"
    assert driver.logs("worker exited")[0].fields["reason"] == "crashed"
    assert driver.state() == "serving"


def test_the_record_of_a_kill_names_the_signal_and_what_it_may_mean() -> None:
    driver = Driver().boot()
    driver.exited(1, signal=9)
    fields = driver.logs("worker exited")[0].fields
    assert fields["signal"] == "SIGKILL"
    assert "memory" in str(fields["hint"])
    assert fields["worker"] == 1
    assert fields["worker_pid"] == 101


def test_a_kill_for_want_of_memory_is_counted_as_such() -> None:
    driver = Driver().boot()
    driver.exited(1, signal=9, oom=True)
    assert driver.logs("worker exited")[0].fields["reason"] == "out_of_memory"


def test_what_a_dead_worker_was_serving_is_in_its_record_and_its_exit_is_counted() -> None:
    driver = Driver().boot()
    serving = (Request("GET", "/report", 12.34),)
    actions = driver.send(WorkerExited(1, ExitStatus(signal=11), serving=serving))
    [record] = driver.logs("worker exited")
    assert record.fields["serving"] == [{"method": "GET", "path": "/report", "age_seconds": 12.3}]
    assert only(CountExit, actions) == [CountExit("crashed")]


def test_what_may_have_finished_before_a_death_is_not_called_its_victim() -> None:
    driver = Driver().boot()
    innocent = (Request("GET", "/innocent", 1.0),)
    driver.send(WorkerExited(1, ExitStatus(code=9), served_shortly_before=innocent, in_progress=1))
    driver.send(WorkerExited(2, ExitStatus(code=9), serving=innocent, in_progress=3))
    uncertain, certain = (record.fields for record in driver.logs("worker exited"))
    assert "serving" not in uncertain
    assert uncertain["served_shortly_before"] == [{"method": "GET", "path": "/innocent", "age_seconds": 1.0}]
    assert uncertain["in_progress"] == 1
    assert certain["serving"] == uncertain["served_shortly_before"]
    assert certain["in_progress"] == 3


def test_a_worker_that_has_drained_has_nothing_to_answer_for() -> None:
    driver = Driver().boot()
    driver.send(StopRequested())
    actions = driver.send(WorkerExited(1, ExitStatus(code=0), serving=(Request("GET", "/", 1.0),)))
    assert "serving" not in driver.logs("worker exited")[0].fields
    assert only(CountExit, actions) == [CountExit("stopped")]


def crash_loop(driver: Driver, worker: int, times: int) -> list[float]:
    """Have a slot's worker crash as soon as it is ready, again and again; returns the delays before each next one."""
    delays = []
    for _ in range(times):
        died = driver.now
        [worker] = spawned(driver.exited(worker, signal=11)) or spawned(driver.wait(30.5))
        delays.append(driver.worker(worker).spawned_at - died)
        driver.ready(worker)
    return delays


def test_a_crash_loop_is_slowed_down_to_one_boot_in_half_a_minute() -> None:
    driver = Driver(count=1).boot()
    delays = crash_loop(driver, 1, 12)
    assert delays[:5] == pytest.approx([0.0, 0.1, 0.2, 0.4, 0.8])
    assert delays[-1] == pytest.approx(30.0)
    assert [record.fields["failures"] for record in driver.logs("worker backs off")] == list(range(2, 13))


def test_the_record_of_a_back_off_names_the_worker() -> None:
    driver = Driver(count=2).boot()
    driver.exited(2, signal=11)
    driver.ready(3)
    driver.exited(3, signal=11)
    [record] = driver.logs("worker backs off")
    assert (record.fields["worker"], record.fields["generation"], record.fields["failures"]) == (2, 1, 2)


def test_a_healthy_spell_ends_the_back_off() -> None:
    driver = Driver(count=1).boot()
    for worker in (1, 2, 3, 4):
        driver.exited(worker, signal=11)
        driver.wait(1.0)
        driver.ready(worker + 1)
    driver.wait(11.0)
    assert spawned(driver.exited(5, signal=11)) == [6]


def test_a_crash_loop_of_one_slot_does_not_slow_down_the_others() -> None:
    driver = Driver(count=2).boot()
    for worker in (1, 3, 4, 5):
        driver.exited(worker, signal=11)
        driver.wait(0.3)
        driver.ready(worker + 2 if worker == 1 else worker + 1)
    assert driver.states()[2] == "ready"
    assert len(spawned(driver.exited(2, signal=11))) == 1


def test_a_worker_that_fails_to_boot_later_is_tried_again() -> None:
    driver = Driver(count=1).boot()
    driver.exited(1, signal=11)
    driver.forked(2)
    assert spawned(driver.failed(2)) == []  # the second failure in a row
    driver.exited(2, code=5)
    assert spawned(driver.wait(0.2)) == [3]
    record = driver.logs("worker failed")[0]
    assert record.fields["reason"] == "the database is down"
    assert driver.logs("worker exited")[-1].level == "warning"  # the failure has been told already


def test_a_worker_that_cannot_boot_and_does_not_exit_is_killed() -> None:
    driver = Driver(count=1).boot()
    driver.exited(1, signal=11)
    driver.forked(2)
    driver.failed(2)
    assert killed(driver.wait(EXIT_GRACE + 0.1)) == [2]


def test_a_fork_that_fails_is_tried_again_and_the_rest_serves() -> None:
    driver = Driver(count=2).boot()
    driver.exited(1, signal=9)
    driver.send(ForkRefused(3, "resource temporarily unavailable"))
    assert spawned(driver.wait(0.2)) == [4]
    assert driver.states() == {2: "ready", 4: "forking"}
    assert driver.logs("worker failed")[0].fields["kind"] == "spawn"


def test_a_killed_worker_that_is_not_reaped_is_killed_again() -> None:
    driver = Driver(count=1).boot()
    driver.exited(1, signal=11)
    driver.forked(2)
    driver.failed(2)
    driver.wait(EXIT_GRACE + 0.1)
    assert killed(driver.wait(2 * KILL_INTERVAL)) == [2, 2]


def test_a_worker_that_hangs_in_its_boot_is_replaced_while_it_is_not_reaped_yet() -> None:
    driver = Driver(count=1).boot()
    driver.exited(1, signal=11)
    driver.forked(2)
    driver.wait(60.5)
    assert driver.states()[2] == "killed"
    assert driver.states()[3] == "forking"
    assert driver.worker(3).number == 2


def test_news_that_was_under_way_when_a_worker_was_killed_changes_nothing() -> None:
    driver = Driver(count=1).boot()
    driver.exited(1, signal=11)
    driver.forked(2)
    driver.wait(60.0)
    driver.send(WorkerReady(2))
    driver.failed(2)
    assert driver.states()[2] == "killed"
    assert not driver.logs("impossible event")


def test_events_about_those_that_are_gone_are_ignored() -> None:
    driver = Driver().boot()
    driver.exited(1, signal=9)
    assert driver.exited(1, signal=9) == []
    assert driver.send(WorkerReady(77)) == []
    assert driver.zygote_ready(77) == []


def test_an_impossible_event_is_recorded_and_changes_nothing() -> None:
    driver = Driver().boot()
    driver.send(WorkerReady(1))
    driver.send(ZygoteReady(1, preloaded=False))
    assert [record.fields["cause"] for record in driver.logs("impossible event")] == ["ready", "ready"]
    assert driver.states() == {1: "ready", 2: "ready"}


# ---- zygotes ----------------------------------------------------------------------------------------------------------


def test_the_workers_of_a_dead_zygote_serve_on() -> None:
    driver = Driver().boot()
    actions = driver.zygote_exited(1, signal=9)
    assert only(SpawnZygote, actions) == [SpawnZygote(1)]
    assert not drained(actions)
    assert driver.states() == {1: "ready", 2: "ready"}
    assert driver.logs("zygote exited")[0].level == "error"


def test_a_worker_that_dies_while_there_is_no_zygote_waits_for_the_next() -> None:
    driver = Driver().boot()
    driver.zygote_exited(1, signal=9)
    assert spawned(driver.exited(1, signal=9)) == []
    assert spawned(driver.zygote_ready(1)) == [3]


def test_a_zygote_that_keeps_failing_is_tried_again_with_back_off_for_ever() -> None:
    driver = Driver().boot()
    assert zygotes_spawned(driver.zygote_exited(1, signal=9)) == [1]
    for _ in range(12):
        driver.zygote_failed(1)
        assert zygotes_spawned(driver.zygote_exited(1, code=4)) == []
        assert zygotes_spawned(driver.wait(31.0)) == [1]
    assert driver.states() == {1: "ready", 2: "ready"}
    assert driver.logs("zygote failed")[0].fields["exception"] == "Traceback: import"


def test_a_zygote_that_is_refused_is_tried_again() -> None:
    driver = Driver().boot()
    driver.zygote_exited(1, signal=9)
    assert zygotes_spawned(driver.zygote_failed(1, Failure("spawn", "no memory"))) == []
    assert zygotes_spawned(driver.wait(0.2)) == [1]


def test_a_zygote_that_cannot_boot_and_does_not_exit_is_killed() -> None:
    driver = Driver().boot()
    driver.zygote_exited(1, signal=9)
    driver.zygote_failed(1)
    assert KillZygote(1) in driver.wait(EXIT_GRACE + 0.1)


def test_a_zygote_that_is_not_reaped_is_killed_again() -> None:
    driver = Driver().boot()
    driver.zygote_exited(1, signal=9)
    driver.zygote_failed(1)
    driver.wait(EXIT_GRACE + 0.1)
    assert only(KillZygote, driver.wait(2 * KILL_INTERVAL)) == [KillZygote(1)] * 2


def test_news_that_was_under_way_when_a_zygote_was_killed_changes_nothing() -> None:
    driver = Driver().boot()
    driver.zygote_exited(1, signal=9)
    driver.wait(60.5)
    driver.zygote_ready(1)
    driver.zygote_failed(1)
    assert [str(generation.zygote) for generation in driver.supervisor.generations()] == ["killed"]


def test_the_forks_that_a_dead_zygote_owes_are_asked_of_the_next() -> None:
    driver = Driver(count=2).boot()
    driver.exited(1, signal=9)
    driver.zygote_exited(1, signal=9)
    assert driver.ids() == [2]
    driver.wait(0.2)
    assert spawned(driver.zygote_ready(1)) == [4]


def test_a_zygote_that_does_not_answer_is_replaced() -> None:
    driver = Driver(count=1).boot()
    driver.exited(1, signal=9)
    actions = driver.wait(60.5)
    assert KillZygote(1) in actions
    assert killed(actions) == [2]
    assert zygotes_spawned(driver.zygote_exited(1, signal=9)) == [1]
    assert driver.ids() == []
    assert spawned(driver.wait(1.0) + driver.zygote_ready(1)) == [3]


def test_a_zygote_is_blamed_once_for_all_that_it_leaves_unanswered() -> None:
    driver = Driver(count=2).boot()
    driver.exited(1, signal=9)
    driver.exited(2, signal=9)
    driver.wait(60.5)
    assert len(driver.logs("zygote failed")) == 1
    assert driver.supervisor.generations()[0].backoff.failures == 1


def test_a_healthy_zygote_ends_its_back_off() -> None:
    driver = Driver().boot()
    for _ in range(4):
        driver.zygote_exited(1, signal=9)
        driver.wait(1.0)
        driver.zygote_ready(1)
    driver.wait(11.0)
    assert zygotes_spawned(driver.zygote_exited(1, signal=9)) == [1]


def test_an_exit_whose_status_is_not_known_is_a_crash_like_any_other() -> None:
    driver = Driver().boot()
    assert spawned(driver.send(WorkerExited(1, ExitStatus()))) == [3]
    assert exit_codes(driver.history) == []


class TestMisbehaviour:
    def test_a_worker_that_misbehaves_is_killed_replaced_and_named_once(self) -> None:
        driver = Driver().boot()
        actions = driver.send(WorkerMisbehaved(1, "it says Forked"))
        assert killed(actions) == [1]
        assert spawned(actions) == [3]
        [record] = driver.logs("worker misbehaved")
        assert (record.level, record.fields["worker"], record.fields["reason"]) == ("error", 1, "it says Forked")
        assert only(CountExit, driver.exited(1, signal=9)) == [CountExit("crashed")]
        assert "hint" not in driver.logs("worker exited")[0].fields

    def test_a_worker_that_misbehaves_before_its_pid_is_known_is_killed_when_it_is(self) -> None:
        driver = Driver()
        driver.start()
        driver.zygote_ready(1)
        driver.send(WorkerMisbehaved(1, "it sends what is no message"))
        assert killed(driver.forked(1)) == [1]

    def test_a_zygote_that_misbehaves_is_killed_and_its_workers_serve_on(self) -> None:
        driver = Driver().boot()
        actions = driver.send(ZygoteMisbehaved(1, "it names process 1"))
        assert only(KillZygote, actions) == [KillZygote(1)]
        assert killed(actions) == []
        assert [record.level for record in driver.logs("zygote misbehaved")] == ["error"]
        assert zygotes_spawned(driver.zygote_exited(1, signal=9)) == [1]
        assert driver.states() == {1: "ready", 2: "ready"}

    def test_a_worker_whose_pid_the_zygote_keeps_to_itself_is_not_ready_for_ever(self) -> None:
        driver = Driver().boot()
        driver.exited(1, signal=9)
        driver.send(WorkerReady(3))
        assert driver.states()[3] == "ready"
        driver.wait(61)
        assert driver.states()[3] == "killed"
        driver.zygote_exited(1, signal=9)
        assert 3 not in driver.states()

    def test_a_pid_that_comes_late_is_in_time(self) -> None:
        driver = Driver().boot()
        driver.exited(1, signal=9)
        driver.send(WorkerReady(3))
        driver.forked(3)
        driver.wait(120)
        assert driver.states()[3] == "ready"
        assert len([record for record in driver.logs("worker ready") if record.fields["worker"] == 1]) == 2

    def test_a_zygote_that_denies_a_worker_which_has_spoken_is_ended(self) -> None:
        driver = Driver().boot()
        driver.exited(1, signal=9)
        driver.send(WorkerReady(3))
        actions = driver.send(ForkRefused(3, "there is none"))
        assert only(KillZygote, actions) == [KillZygote(1)]
        assert 3 not in driver.states()


class TestDeathWhileServing:
    def die(self, driver: Driver, worker: int, cpu_seconds: float = 0.5) -> list[Action]:
        driver.forked(worker)
        driver.send(WorkerReady(worker, cpu_seconds))
        return driver.send(WorkerExited(worker, ExitStatus(signal=11), requests=3))

    def test_it_is_replaced_at_once_however_often(self) -> None:
        driver = Driver().boot()
        for _ in range(30):
            driver.wait(1.0)
            victim = min(driver.ids())
            assert spawned(self.die(driver, victim)), "at once"
            driver.bring_up()
        assert driver.logs("worker backs off") == []

    def test_one_that_dies_with_its_first_request_has_served(self) -> None:
        driver = Driver().boot()
        for _ in range(5):
            victim = min(driver.ids())
            request = Request("GET", "/poison", 0.0)
            actions = driver.send(WorkerExited(victim, ExitStatus(signal=11), serving=(request,), in_progress=1))
            assert spawned(actions)
            driver.bring_up()

    def test_one_that_dies_before_it_has_served_backs_off(self) -> None:
        driver = Driver().boot()
        for _ in range(3):
            driver.exited(max(driver.ids()), signal=11)
            driver.wait(1.0)
            driver.bring_up()
        assert [record.fields["failures"] for record in driver.logs("worker backs off")] == [2, 3]

    def test_too_much_of_the_processors_leaves_one_that_serves_or_boots(self) -> None:
        driver = Driver().boot()
        for _ in range(100):
            for victim in driver.ids():
                self.die(driver, victim, cpu_seconds=1.0)
            assert driver.ids(), "the house is never empty"
        assert len(driver.ids()) == 1
        records = driver.logs("worker waits")
        assert 1 <= len(records) <= 2, "once for each slot"
        assert {record.level for record in records} == {"warning"}
        driver.wait(LONGEST_DEBT)
        assert len(driver.ids()) == 2

    def test_what_has_served_ends_the_row_of_failed_boots(self) -> None:
        driver = Driver().boot()
        for _ in range(4):
            driver.exited(max(driver.ids()), signal=11)
            driver.wait(2.0)
            driver.bring_up()
        self.die(driver, max(driver.ids()))
        driver.bring_up()
        assert spawned(driver.exited(max(driver.ids()), signal=11)), "the first failure again"
