"""Processes that outlive those who started them: which are found, and how they are ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from appserver import leftovers
from appserver.leftovers import Leftover
from tests.support import processes
from tests.support.waiting import eventually

Start = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts shells that run a script and say a line when they have begun; they are killed at the end."""
    started: list[subprocess.Popen[bytes]] = []

    def begin(script: str, **options: Any) -> subprocess.Popen[bytes]:
        process: subprocess.Popen[bytes] = subprocess.Popen(
            ["/bin/sh", "-c", f"{script}\nwhile :; do sleep 0.05; done"], stdout=subprocess.PIPE, **options
        )
        started.append(process)
        assert process.stdout is not None
        process.stdout.readline()
        return process

    yield begin
    for process in started:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def finding(*wanted: subprocess.Popen[bytes]) -> Callable[[], list[Leftover]]:
    """Looks for these processes alone, which the tests' own are not among."""
    pids = {process.pid for process in wanted}
    return lambda: [found for found in leftovers.of_this_process() if found.pid in pids]


def test_children_of_another_process_group_are_found(start: Start) -> None:
    child = start("echo", process_group=0)
    found = [one for one in leftovers.of_this_process() if one.pid == child.pid]
    assert len(found) == 1
    assert str(found[0]).startswith("/bin/sh -c echo")
    assert str(found[0]).endswith(f"(pid {child.pid})")


def test_those_of_the_same_group_or_of_another_session_are_not(start: Start) -> None:
    same, daemon = start("echo"), start("echo", start_new_session=True)
    assert not {same.pid, daemon.pid} & {one.pid for one in leftovers.of_this_process()}
    assert same.pid in {one.pid for one in leftovers.of_this_group()}


def test_a_process_that_listens_ends_by_itself(start: Start) -> None:
    child = start("echo", process_group=0)
    found, killed = leftovers.end(finding(child), grace=30)
    assert [one.pid for one in found] == [child.pid]
    assert not killed
    assert child.wait() == -signal.SIGTERM


@pytest.mark.parametrize("stopped", [False, True])
def test_a_process_that_does_not_is_killed(start: Start, stopped: bool) -> None:
    child = start("trap '' TERM; echo", process_group=0)
    if stopped:
        child.send_signal(signal.SIGSTOP)
    found, killed = leftovers.end(finding(child), grace=0.2)
    assert [one.pid for one in found] == [one.pid for one in killed] == [child.pid]
    assert child.wait() == -signal.SIGKILL


def test_the_children_of_those_who_end_are_ended_after_them() -> None:
    # In a process of its own, which is the subreaper for what its child leaves behind.
    script = (
        "import subprocess; from appserver import leftovers; from appserver.master.children import become_subreaper;"
        "become_subreaper();"
        "child = subprocess.Popen(['/bin/sh', '-c', 'sleep 60 & sleep 60 & echo $!; wait'], process_group=0, stdout=-1);"
        "last = int(child.stdout.readline()); found, killed = leftovers.end(leftovers.of_this_process, 30);"
        "print(last, len(found), len(killed), len(leftovers.of_this_process()))"
    )
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", script], capture_output=True, text=True, check=True)
    last, *counts = map(int, done.stdout.split())
    assert counts == [3, 0, 0]
    eventually(lambda: not processes.is_running(last), "the grandchild has ended")


def test_nothing_to_end_takes_no_time_to_wait() -> None:
    assert leftovers.end(list) == ([], [])


def test_a_process_that_has_ended_and_is_not_reaped_counts_no_more() -> None:
    pid = os.posix_spawn("/bin/true", ["true"], {}, setpgroup=0)
    eventually(lambda: pid not in {one.pid for one in leftovers.of_this_process()}, "it has ended")
    os.waitpid(pid, 0)
