"""What is read from /proc about processes."""

from __future__ import annotations

import os
import subprocess
import sys

from tests.support import processes
from tests.support.processes import Process
from tests.support.waiting import eventually


def test_the_titles_say_who_is_a_worker_and_who_a_zygote() -> None:
    def titled(title: str) -> Process:
        return Process(pid=2, parent=1, session=1, state="S", title=title, cpu_seconds=0.0)

    assert titled("appserver: worker 12 g3").worker == (12, 3)
    assert titled("appserver: zygote g3").zygote == 3
    assert titled("appserver: master [server.toml]").worker is None
    assert titled("appserver: master [server.toml]").zygote is None


def test_a_session_holds_the_orphans_too() -> None:
    # The shell starts a sleeper and goes: the sleeper is nobody's child that we know, but it stays in the session.
    shell = subprocess.Popen(["/bin/sh", "-c", "sleep 60 & echo $!"], stdout=subprocess.PIPE, start_new_session=True)
    assert shell.stdout is not None
    with shell.stdout:
        orphan = int(shell.stdout.readline())
    shell.wait()
    assert [member.pid for member in processes.in_session(shell.pid)] == [orphan]
    os.kill(orphan, 9)
    eventually(lambda: not processes.in_session(shell.pid), "the orphan is gone")


def test_the_cpu_time_of_a_tree_has_that_of_children_that_were_reaped() -> None:
    code = (
        "import subprocess, sys; subprocess.run([sys.executable, '-c', 'while __import__(\"time\").process_time() < .3:"
        " pass']); print(flush=True); input()"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        # The kernel rounds to its ticks, of user and of system time.
        assert processes.tree_cpu_seconds(process.pid) >= 0.25


def test_an_ended_process_is_not_running() -> None:
    process = subprocess.Popen(["/bin/true"])
    eventually(lambda: not processes.is_running(process.pid), "it has ended, and is not reaped")
    process.wait()
    assert not processes.is_running(process.pid)
