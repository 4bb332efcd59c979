from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from appserver.master.children import Child, open_descriptors, processor_time, reap_strangers, resident_memory
from appserver.supervision.events import ExitStatus


def fork(body: str) -> int:
    """Start a child of this process that nobody else waits for; returns its pid."""
    return os.posix_spawn(sys.executable, [sys.executable, "-S", "-c", body], os.environ)


async def watch(pid: int, number: signal.Signals | None = None) -> ExitStatus:
    exited: asyncio.Future[ExitStatus] = asyncio.get_running_loop().create_future()
    child = Child(pid, exited.set_result, asyncio.get_running_loop())
    if number is not None:
        child.signal(number)
    status = await exited
    child.signal(signal.SIGKILL)  # to a process that is gone: nothing
    return status


@pytest.mark.parametrize("code", [0, 3, 255])
def test_the_exit_code_of_a_child_is_reported(code: int) -> None:
    assert asyncio.run(watch(fork(f"raise SystemExit({code})"))) == ExitStatus(code=code)


def test_the_signal_that_ended_a_child_is_reported() -> None:
    pid = fork("import time; time.sleep(60)")
    assert asyncio.run(watch(pid, signal.SIGKILL)) == ExitStatus(signal=signal.SIGKILL)


def test_what_it_has_used_of_the_processor_is_known_afterwards() -> None:
    async def scenario() -> float:
        exited: asyncio.Future[ExitStatus] = asyncio.get_running_loop().create_future()
        body = "import time\nwhile time.process_time() < .2: pass"
        child = Child(fork(body), exited.set_result, asyncio.get_running_loop())
        await exited
        return child.cpu_seconds

    assert 0.2 <= asyncio.run(scenario()) < 2


def test_a_child_that_has_exited_before_is_reported_too() -> None:
    pid = fork("")
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    assert asyncio.run(watch(pid)) == ExitStatus(code=0)


class TestStrangers:
    def test_they_are_reaped(self) -> None:
        pids = [fork("") for _ in range(3)]
        for pid in pids:
            os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        assert reap_strangers(lambda pid: pid not in pids) == 3
        for pid in pids:
            with pytest.raises(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)

    def test_who_is_known_is_left_to_those_who_know_it(self) -> None:
        pid = fork("raise SystemExit(7)")
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        assert reap_strangers(lambda candidate: True) == 0
        assert os.waitpid(pid, 0)[1] == 7 << 8


def test_an_orphan_falls_to_the_subreaper() -> None:
    program = (
        "import os, time\n"
        "from appserver.master.children import become_subreaper\n"
        "become_subreaper()\n"
        "reader, writer = os.pipe()\n"
        "if os.fork() == 0:\n"
        "    if os.fork() == 0:\n"
        "        os.close(writer); os.read(reader, 1); os._exit(9)\n"
        "    os._exit(0)\n"
        "os.wait(); os.close(writer)\n"
        "print(os.waitstatus_to_exitcode(os.wait()[1]))\n"
    )
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout == "9\n"


def test_the_resident_memory_of_a_process_is_known_while_it_lives() -> None:
    assert resident_memory(os.getpid()) > 1_000_000
    pid = fork("")
    os.waitpid(pid, 0)
    assert resident_memory(pid) == 0
    assert resident_memory(None) == 0


def test_what_a_process_uses_is_known_while_it_lives() -> None:
    before = os.times()
    assert processor_time(os.getpid()) >= before.user + before.system - 0.02  # in clock ticks, rounded down
    with Path(os.devnull).open() as file:
        found = open_descriptors(os.getpid())
        assert found is not None
        assert found > file.fileno()
    pid = fork("")
    os.waitpid(pid, 0)
    assert (processor_time(pid), open_descriptors(pid)) == (0.0, None)
