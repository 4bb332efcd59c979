"""appserver.master.strays: which processes that a worker has left are named, and when."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from appserver import leftovers
from appserver.leftovers import Leftover
from appserver.master.strays import MAX_NAMED, Strays
from tests.unit.engine.world import Log


class Scene:
    """Strays over processes that a test makes up, and what is logged of them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.running: list[Leftover] = []
        self.known: set[int] = set()
        self.log: Any = Log()
        self.strays = Strays(lambda: self.known, self.log)
        monkeypatch.setattr(leftovers, "of_this_process", self.find)

    def find(self) -> list[Leftover]:
        return list(self.running)

    def leave(self, *pids: int, title: str = "sleep 300") -> None:
        """A worker goes, and leaves these processes."""
        self.running += [Leftover(pid, title) for pid in pids]
        self.strays.worker_gone()

    def look(self, times: int = 1) -> list[list[str]]:
        """The processes named in so many looks."""
        before = len(self.log.of("processes left"))
        for _ in range(times):
            self.strays.look()
        return [record["processes"] for record in self.log.of("processes left")[before:]]


@pytest.fixture
def scene(monkeypatch: pytest.MonkeyPatch) -> Scene:
    return Scene(monkeypatch)


def test_what_still_runs_at_the_second_look_is_named_once(scene: Scene) -> None:
    scene.leave(7, 8)
    assert scene.look() == []
    del scene.running[0]  # it has ended by itself
    assert scene.look(5) == [["sleep 300 (pid 8)"]]
    scene.leave(9)
    assert scene.look(5) == [["sleep 300 (pid 9)"]]


def test_workers_that_go_all_the_time_keep_nothing_from_being_named(scene: Scene) -> None:
    named = []
    for pid in range(7, 12):
        scene.leave(pid)
        named += scene.look()
    assert named == [[f"sleep 300 (pid {pid})"] for pid in range(7, 11)]


def test_a_pid_that_is_used_again_is_named_again(scene: Scene) -> None:
    scene.leave(7)
    assert len(scene.look(2)) == 1
    scene.running.clear()
    scene.strays.worker_gone()
    assert scene.look(2) == []
    scene.leave(7, title="cat")
    assert scene.look(2) == [["cat (pid 7)"]]


def test_nobody_looks_while_no_worker_goes(scene: Scene) -> None:
    scene.running.append(Leftover(7, "sleep 300"))
    assert scene.look(5) == []


def test_processes_of_the_server_are_not_named(scene: Scene) -> None:
    scene.known = {7}
    scene.leave(7)
    scene.leave(8, title="appserver: worker 1 g1")
    scene.leave(9, title="")  # it is just ending
    assert scene.look(5) == []


def test_nothing_is_named_in_a_stop(scene: Scene) -> None:
    scene.leave(7)
    scene.strays.stopping()
    scene.leave(8)
    assert scene.look(5) == []


def test_of_many_some_are_named_and_all_counted(scene: Scene) -> None:
    scene.leave(*range(1000, 2000))
    scene.look(2)
    (record,) = scene.log.of("processes left")
    assert (len(record["processes"]), record["count"]) == (MAX_NAMED, 1000)


def test_without_a_free_descriptor_it_looks_later(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> list[Leftover]:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    scene.leave(7)
    with monkeypatch.context() as patched:
        patched.setattr(leftovers, "of_this_process", fail)
        assert scene.look(5) == []
    assert scene.look(5) == [["sleep 300 (pid 7)"]]


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    """A child of this process, in a process group of another one, as what a worker has started."""
    child = subprocess.Popen(["/bin/sleep", "600"], process_group=0)
    yield child
    child.kill()
    child.wait()


def test_real_processes_are_found(child: subprocess.Popen[bytes]) -> None:
    log: Any = Log()
    strays = Strays(lambda: [found.pid for found in leftovers.of_this_process() if found.pid != child.pid], log)
    strays.worker_gone()
    strays.look()
    strays.look()
    (record,) = log.of("processes left")
    assert record["processes"] == [f"/bin/sleep 600 (pid {child.pid})"]
