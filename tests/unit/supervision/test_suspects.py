"""Which request kills: counted by method and path, named when it is there again, forgotten after a while."""

from __future__ import annotations

from appserver.supervision.events import ExitStatus, Request, WorkerExited
from appserver.supervision.suspects import MAX_SUSPECTS, MEMORY
from tests.unit.supervision.driver import Driver

SEGMENTATION_FAULT = ExitStatus(signal=11)


def die(driver: Driver, *paths: str, in_progress: int | None = None) -> None:
    """Have the first worker die while it serves these, and its successor come up."""
    worker = min(driver.ids())
    serving = tuple(Request("GET", path, 0.1) for path in paths)
    count = len(paths) if in_progress is None else in_progress
    driver.send(WorkerExited(worker, SEGMENTATION_FAULT, serving=serving, in_progress=count))
    driver.bring_up()


def deadly(driver: Driver) -> list[tuple[str, int, int]]:
    return [(found.path, found.deaths, found.alone) for found in driver.supervisor.deadly_requests(driver.now)]


def test_one_death_is_no_pattern() -> None:
    driver = Driver().boot()
    die(driver, "/poison")
    assert deadly(driver) == []
    assert driver.logs("request kills workers") == []


def test_what_is_there_each_time_is_named_before_those_who_happened_to_be() -> None:
    driver = Driver().boot()
    die(driver, "/poison", "/slow")
    die(driver, "/poison", "/other")
    die(driver, "/slow", "/poison")
    assert deadly(driver) == [("/poison", 3, 0), ("/slow", 2, 0)]


def test_what_was_served_alone_is_guilty_for_certain() -> None:
    driver = Driver().boot()
    for _ in range(3):
        die(driver, "/slow", "/poison")
    die(driver, "/poison")
    assert deadly(driver)[0] == ("/poison", 4, 1)


def test_it_is_not_alone_if_others_are_unknown() -> None:
    driver = Driver().boot()
    die(driver, "/", in_progress=5)
    die(driver, "/", in_progress=5)
    assert deadly(driver) == [("/", 2, 0)]


def test_two_of_a_kind_are_one_death() -> None:
    driver = Driver().boot()
    die(driver, "/a", "/a")
    assert deadly(driver) == []


def test_it_is_logged_at_the_second_death_and_then_ever_more_rarely() -> None:
    driver = Driver().boot()
    for _ in range(20):
        die(driver, "/poison")
    records = driver.logs("request kills workers")
    assert [record.fields["deaths"] for record in records] == [2, 4, 8, 16]
    assert {(record.level, record.fields["method"], record.fields["path"]) for record in records} == {
        ("error", "GET", "/poison")
    }


def test_it_is_forgotten_after_a_while() -> None:
    driver = Driver().boot()
    die(driver, "/poison")
    die(driver, "/poison")
    driver.wait(MEMORY + 1)
    assert deadly(driver) == []
    die(driver, "/poison")
    assert deadly(driver) == []


def test_paths_without_end_take_no_memory_without_end() -> None:
    driver = Driver().boot()
    for number in range(MAX_SUSPECTS + 20):
        die(driver, f"/{number}")
    die(driver, f"/{MAX_SUSPECTS + 19}")
    assert deadly(driver) == [(f"/{MAX_SUSPECTS + 19}", 2, 2)]
    assert len(driver.supervisor._state.suspects) == MAX_SUSPECTS


def test_ends_that_somebody_has_asked_for_accuse_nobody() -> None:
    driver = Driver().boot()
    driver.stop(now=True)
    for worker in driver.ids():
        driver.send(WorkerExited(worker, ExitStatus(signal=9), serving=(Request("GET", "/", 1.0),), in_progress=1))
    assert driver.supervisor._state.suspects == []


def test_they_survive_a_re_exec() -> None:
    driver = Driver().boot()
    die(driver, "/poison")
    die(driver, "/poison")
    successor = type(driver.supervisor).restore(driver.supervisor.dump(), random=lambda: 0.0)
    assert [found.path for found in successor.deadly_requests(driver.now)] == ["/poison"]
