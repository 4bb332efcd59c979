"""The first boot: it works, or it is over at once."""

from __future__ import annotations

import pytest

from appserver.supervision.actions import KillWorker, KillZygote, Log, SpawnWorker, SpawnZygote, StopZygote
from appserver.supervision.events import Failure, ForkRefused, WorkerReady, ZygoteReady
from tests.unit.supervision.driver import (
    IMPORT_FAILURE,
    STARTUP_FAILURE,
    Driver,
    drained,
    exit_codes,
    killed,
    only,
    spawned,
    verdicts,
    zygotes_spawned,
)


def test_the_zygote_comes_first() -> None:
    driver = Driver()
    assert driver.start() == [SpawnZygote(1), Log("debug", "zygote booting", {"generation": 1})]
    assert driver.state() == "booting"


def test_a_ready_zygote_forks_all_wanted_workers() -> None:
    driver = Driver(count=3)
    driver.start()
    actions = driver.send(ZygoteReady(1, preloaded=True))
    assert only(SpawnWorker, actions) == [SpawnWorker(number, number, 1) for number in (1, 2, 3)]
    assert driver.supervisor.generations()[0].preloaded


def test_it_serves_when_all_wanted_workers_are_ready() -> None:
    driver = Driver()
    driver.start()
    driver.zygote_ready(1)
    driver.ready(2)
    assert driver.state() == "booting"
    assert not driver.logs("serving")
    driver.ready(1)
    assert driver.state() == "serving"
    assert driver.logs("serving") == [Log("info", "serving", {"generation": 1, "workers": 2})]


def test_it_says_once_that_it_serves() -> None:
    driver = Driver().boot()
    driver.exited(1, signal=9)
    driver.ready(3)
    assert len(driver.logs("serving")) == 1


def test_a_worker_may_speak_before_its_zygote_reports_it() -> None:
    driver = Driver()
    driver.start()
    driver.zygote_ready(1)
    driver.send(WorkerReady(1))
    assert driver.worker(1).pid is None
    driver.forked(1)
    assert driver.worker(1).pid == 101
    assert driver.states()[1] == "ready"


def test_an_application_that_does_not_import_ends_it_with_code_4() -> None:
    driver = Driver()
    driver.start()
    driver.zygote_failed(1, IMPORT_FAILURE)
    assert exit_codes(driver.zygote_exited(1, code=4)) == [4]
    assert driver.state() == "stopped"
    assert driver.supervisor.next_deadline() is None


def test_a_start_up_that_fails_ends_it_with_code_5() -> None:
    driver = Driver(count=1)
    driver.start()
    driver.zygote_ready(1)
    driver.forked(1)
    driver.failed(1, STARTUP_FAILURE)
    driver.exited(1, code=5)
    assert exit_codes(driver.zygote_exited(1)) == [5]


def test_the_traceback_of_a_failed_boot_is_logged_once() -> None:
    driver = Driver(count=4)
    driver.start()
    driver.zygote_ready(1)
    for worker in (1, 2, 3, 4):
        driver.forked(worker)
        driver.failed(worker)
    errors = [action for action in driver.history if isinstance(action, Log) and action.level == "error"]
    assert [error.event for error in errors] == ["boot failed"]
    assert errors[0].fields["exception"] == "Traceback: start-up"
    assert errors[0].fields["exit_code"] == 5


def test_a_failed_boot_takes_everything_down_at_once() -> None:
    driver = Driver(count=2)
    driver.start()
    driver.zygote_ready(1)
    driver.forked(1)
    driver.forked(2)
    actions = driver.failed(1)
    assert killed(actions) == [1, 2]
    assert KillZygote(1) in actions
    assert not drained(actions)
    driver.exited(1, code=5)
    driver.exited(2, signal=9)
    assert exit_codes(driver.zygote_exited(1, signal=9)) == [5]


@pytest.mark.parametrize("signal", [9, 11])
def test_a_crash_before_anything_has_served_is_a_failed_boot(signal: int) -> None:
    driver = Driver(count=1)
    driver.start()
    driver.zygote_ready(1)
    driver.forked(1)
    driver.exited(1, signal=signal)
    assert exit_codes(driver.zygote_exited(1)) == [5]
    assert "was killed by SIG" in str(driver.logs("boot failed")[0].fields["reason"])


def test_a_zygote_that_crashes_before_anything_has_served_is_a_failed_boot() -> None:
    driver = Driver()
    driver.start()
    assert exit_codes(driver.zygote_exited(1, signal=11)) == [5]


def test_a_zygote_that_cannot_be_started_is_a_failed_boot() -> None:
    driver = Driver()
    driver.start()
    assert exit_codes(driver.zygote_failed(1, Failure("spawn", "out of memory"))) == [5]


def test_a_bug_of_ours_keeps_its_exit_code() -> None:
    driver = Driver()
    driver.start()
    driver.zygote_failed(1, Failure("bug", "oh", exit_code=70))
    assert exit_codes(driver.zygote_exited(1, code=70)) == [70]


def test_a_fork_that_fails_before_anything_has_served_is_a_failed_boot() -> None:
    driver = Driver(count=1)
    driver.start()
    driver.zygote_ready(1)
    driver.send(ForkRefused(1, "resource temporarily unavailable"))
    assert exit_codes(driver.zygote_exited(1)) == [5]


def test_an_import_that_hangs_in_the_zygote_ends_at_boot_timeout() -> None:
    driver = Driver()
    driver.start()
    assert killed(driver.wait(59.9)) == []
    assert KillZygote(1) in driver.wait(0.2)
    assert exit_codes(driver.zygote_exited(1, signal=9)) == [5]
    assert "boot_timeout" in str(driver.logs("boot failed")[0].fields["reason"])


def test_an_import_that_hangs_in_a_worker_ends_at_boot_timeout() -> None:
    driver = Driver(count=1)
    driver.start()
    driver.wait(30.0)
    driver.zygote_ready(1)
    driver.forked(1)
    assert not killed(driver.wait(59.9))
    assert killed(driver.wait(0.2)) == [1]
    driver.exited(1, signal=9)
    assert exit_codes(driver.zygote_exited(1)) == [5]
    assert driver.logs("worker exited")[0].fields["reason"] == "boot_failed"


def test_once_a_worker_has_served_the_others_are_tried_for_ever() -> None:
    driver = Driver(count=2)
    driver.start()
    driver.zygote_ready(1)
    driver.ready(1)
    for worker in range(2, 22):
        driver.forked(worker)
        driver.failed(worker)
        driver.exited(worker, code=5)
        driver.wait(31.0)
    assert driver.state() == "booting"
    assert driver.states()[22] == "forking"
    assert driver.states()[1] == "ready"
    assert driver.logs("worker failed")[0].fields["exception"] == "Traceback: start-up"


def test_a_reload_asked_for_while_it_boots_waits_until_something_serves() -> None:
    driver = Driver(count=1)
    driver.start()
    assert zygotes_spawned(driver.reload()) == []
    driver.zygote_ready(1)
    assert zygotes_spawned(driver.ready(1)) == [2]


def test_a_boot_that_fails_answers_the_reload_that_waits_for_it() -> None:
    driver = Driver(count=1)
    driver.start()
    driver.reload()
    assert verdicts(driver.zygote_failed(1)) == [("refused", None)]


def test_a_stop_during_the_boot_ends_it_with_code_0() -> None:
    driver = Driver(count=2)
    driver.start()
    driver.zygote_ready(1)
    driver.forked(1)
    actions = driver.stop()
    assert drained(actions) == [1]  # its start-up can be given up in an orderly way
    assert killed(actions) == [2]  # there is nobody yet who could be asked
    driver.exited(1)
    driver.forked(2)
    assert StopZygote(1) in driver.exited(2, signal=9)
    assert exit_codes(driver.zygote_exited(1)) == [0]


def test_a_stop_while_the_zygote_imports_does_not_wait_for_it() -> None:
    driver = Driver()
    driver.start()
    assert KillZygote(1) in driver.stop()
    assert exit_codes(driver.zygote_exited(1, signal=9)) == [0]


def test_a_worker_that_does_not_give_up_booting_is_killed_soon() -> None:
    driver = Driver(count=1)
    driver.start()
    driver.zygote_ready(1)
    driver.forked(1)
    driver.stop()
    assert killed(driver.wait(2.5)) == [1]


def test_a_worker_killed_before_it_was_reported_is_killed_again_when_it_is() -> None:
    driver = Driver(count=1)
    driver.start()
    driver.zygote_ready(1)
    driver.stop()
    assert only(KillWorker, driver.forked(1)) == [KillWorker(1, "killed before its pid was known")]


def test_nothing_is_said_or_done_after_the_end() -> None:
    driver = Driver()
    driver.start()
    driver.stop()
    driver.zygote_exited(1, signal=9)
    assert driver.zygote_ready(1) == []
    assert driver.wait(100.0) == []
    assert spawned(driver.history) == []
