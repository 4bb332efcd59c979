"""What fails again and again is tried again at growing intervals, costs next to nothing, and recovers by itself."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import StartServer
from tests.support import processes
from tests.support.server import Server
from tests.support.waiting import eventually
from tests.system.faults.scene import either_preload, faulty, files, measured_load


def pass_time(seconds: float) -> None:
    """Let time go by: what is asked is what happens in it, and when there is nothing that could be waited for."""
    end = time.monotonic() + seconds
    eventually(lambda: time.monotonic() >= end, "time has passed", timeout=seconds + 5)


@pytest.mark.long
@either_preload
def test_workers_that_die_right_after_they_became_ready_back_off_and_recover(
    start_server: StartServer, preload: bool
) -> None:
    server = start_server(faulty({"count": 2, "preload": preload}), files=files())
    server.write("crash-late", "")
    mark = len(server.log.records)
    for worker in server.workers():
        os.kill(worker.pid, signal.SIGKILL)
    pass_time(6)
    boots = len(server.log.matching("worker ready", since=mark))
    began = processes.tree_cpu_seconds(server.pid)
    pass_time(3)
    used = (processes.tree_cpu_seconds(server.pid) - began) / 3
    print(f"crash loop of 2 workers: {boots} boots in 6 s, then {100 * used:.0f} % of a processor")
    assert boots <= 16
    assert used < 0.5
    (server.directory / "crash-late").unlink()
    mark = len(server.log.records)
    server.log.wait_for("worker ready", since=mark, count=2, timeout=20)
    eventually(lambda: server.request("/").text == "hello", "it serves again")
    pass_time(1)
    server.wait_for_workers(2)


@pytest.mark.long
@either_preload
def test_a_slot_that_cannot_boot_any_more_leaves_the_others_alone(start_server: StartServer, preload: bool) -> None:
    server = start_server(faulty({"count": 2, "preload": preload}), files=files())
    victim, other = server.workers()
    server.write("crash-early", "")
    os.kill(victim.pid, signal.SIGKILL)
    server.log.wait_for("worker backs off")
    with measured_load(server.address, "one of two workers in a crash loop") as load:
        server.log.wait_for("worker backs off", failures=4, timeout=60)
        (server.directory / "crash-early").unlink()
        server.wait_for_workers(2, without=[victim.pid], timeout=60)
        load.wait_for_requests(100)
    assert load.tally.failed == 0
    assert other.pid in {worker.pid for worker in server.workers()}


@pytest.mark.long
@either_preload
def test_an_import_that_hangs_from_now_on_ends_at_boot_timeout(start_server: StartServer, preload: bool) -> None:
    server = start_server(faulty({"count": 2, "preload": preload, "boot_timeout": 6}), files=files())
    victim, other = server.workers()
    server.write("hang", "")
    [zygote] = server.zygotes()
    os.kill(zygote.pid, signal.SIGKILL)
    eventually(lambda: not processes.is_running(zygote.pid), "the zygote is gone")
    with measured_load(server.address, "an import that hangs", connections=8) as load:
        if preload:
            server.log.wait_for("zygote failed", timeout=40, kind="timeout")
        else:
            os.kill(victim.pid, signal.SIGKILL)
            server.log.wait_for("worker failed", timeout=40, kind="timeout")
        assert other.pid in {worker.pid for worker in server.workers()}
        mark = len(server.log.records)
        (server.directory / "hang").unlink()
        eventually(lambda: _zygote_forks(server, mark if preload else 0), "a zygote that can fork", timeout=60)
        load.wait_for_requests(100)
    assert load.tally.failed <= 8
    os.kill(other.pid, signal.SIGKILL)
    server.wait_for_workers(2, without=[other.pid], timeout=60)


def _zygote_forks(server: Server, since: int) -> bool:
    ready = bool(server.log.matching("zygote ready", since=since))
    return ready and len(server.zygotes()) == 1 and len(server.workers()) == 2


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may change its user, and root has no limit of processes")
class TestNoProcesses:
    @pytest.fixture
    def directory(self) -> Iterator[Path]:
        """A directory that everybody may read: pytest's own are for their owner alone."""
        with tempfile.TemporaryDirectory() as name:
            Path(name).chmod(0o777)
            yield Path(name)

    @either_preload
    def test_a_fork_that_fails_is_tried_again_until_it_succeeds(self, directory: Path, preload: bool) -> None:
        settings = faulty({"count": 2, "user": "nobody", "group": "nogroup", "preload": preload})
        with Server(directory, settings, files=files()) as server:
            [zygote] = server.zygotes()
            victim, other = server.workers()
            before, _ = resource.getrlimit(resource.RLIMIT_NPROC)  # which the server has inherited
            _limit_processes(zygote.pid, "1")
            os.kill(victim.pid, signal.SIGKILL)
            with measured_load(server.address, "no process to be had", connections=8) as load:
                server.log.wait_for("worker backs off", failures=4, timeout=60)
                load.wait_for_requests(100)
                _limit_processes(zygote.pid, str(before) if before >= 0 else "unlimited")
                server.wait_for_workers(2, without=[victim.pid], timeout=60)
            assert load.tally.failed == 0
            assert "cannot fork a worker" in server.log.text
            assert other.pid in {worker.pid for worker in server.workers()}


def _limit_processes(pid: int, number: str) -> None:
    """Set the soft limit of processes for the user of `pid`: as that user, since root itself may lack the right to."""
    subprocess.run(["prlimit", "--pid", str(pid), f"--nproc={number}:"], user="nobody", group="nogroup", check=True)
