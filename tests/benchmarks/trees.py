"""Servers as trees of processes: started, waited for, weighed, ended."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.benchmarks.servers import ROOT, environment
from tests.support import processes
from tests.support.address import Address
from tests.support.waiting import eventually


@contextmanager
def running(command: list[str]) -> Iterator[int]:
    """Run a server in a session of its own until the end of the block; yields the session."""
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            pass
        for member in processes.in_session(process.pid):
            os.kill(member.pid, signal.SIGKILL)
        process.wait()


def wait_for_answer(address: Address, name: str) -> None:
    """Wait until a server answers with 200; `name` is what is said about one that does not."""
    wait_until(lambda: address.request("GET", "/").status == 200, name)


def wait_until(served: Callable[[], bool], name: str) -> None:
    """Wait until a server answers as it should; `served` may fail with an OSError before that."""

    def answers() -> bool:
        try:
            return served()
        except OSError:
            return False

    eventually(answers, f"{name} answers", timeout=30)


def memory(session: int) -> int:
    """The memory of a whole tree in bytes: the sum of the proportional set sizes of its processes (proc(5))."""
    return sum(_pss(process.pid) for process in processes.in_session(session))


def _pss(pid: int) -> int:
    """The proportional set size of a process in bytes: what it shares is divided by those who share it."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    return 0
