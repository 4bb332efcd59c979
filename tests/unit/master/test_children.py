from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from appserver.master.children import (
    Child,
    is_child,
    kill_child,
    open_descriptors,
    processor_time,
    reap_strangers,
    resident_memory,
)
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


def test_whether_a_child_has_a_handler_for_a_signal_is_known() -> None:
    body = "import signal, sys; signal.signal(signal.SIGUSR1, print); print(flush=True); sys.stdin.read()"

    async def look(process: subprocess.Popen[bytes]) -> tuple[bool, bool, bool]:
        child = Child(process.pid, print, asyncio.get_running_loop())
        found = child.handles(signal.SIGUSR1), child.handles(signal.SIGUSR2)
        process.kill()
        while child.alive:
            await asyncio.sleep(0.01)
        return *found, child.handles(signal.SIGUSR1)

    with subprocess.Popen([sys.executable, "-S", "-c", body], stdin=-1, stdout=-1) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert asyncio.run(look(process)) == (True, False, False)


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

    assert 0.2 <= asyncio.run(scenario()) < 20


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


class TestWhoIsAChild:
    def test_one_that_runs_is_and_one_that_has_exited_until_it_is_reaped(self) -> None:
        pid = fork("import sys; sys.stdin.read()")
        try:
            assert is_child(pid)
        finally:
            os.kill(pid, signal.SIGKILL)
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        assert is_child(pid)
        os.waitpid(pid, 0)
        assert not is_child(pid)

    def test_no_other_number_is(self) -> None:
        for pid in (-(2**63), -(2**31), -os.getpid(), -1, 0, 1, os.getpid(), os.getppid(), 2**31, 2**62):
            assert not is_child(pid)

    def test_only_a_child_is_killed(self) -> None:
        for pid in (-1, 0, 1, os.getppid()):
            kill_child(pid)
        pid = fork("import time; time.sleep(60)")
        kill_child(pid)
        assert os.waitpid(pid, 0)[1] == signal.SIGKILL
        kill_child(pid)
