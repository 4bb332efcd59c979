"""A worker and a zygote in wrong hands, in every way that their messages allow: what it costs the master, and everybody else.

An attack ends the process that carries it out and is in the log once. The master keeps no descriptor, hardly uses the
processor, hears of every exit, and kills nobody who is not its child.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import StartServer
from tests.support.load import Load
from tests.support.server import Server
from tests.support.waiting import eventually
from tests.system.attacks.hostile import ON_WORKERS, REPORTS

# What the master may use of the processor for an attack, in seconds: to see it, to end it, and to start another process.
MASTER_CPU = 1.0

CHILDREN = 3
"""A zygote and two workers."""

SILENT = {"scribble-nan", "scribble-largest", "scribble-negative"}
"""These attacks say nothing that could be noticed: the worker has but died."""


def some_now_and_the_others_when_there_is_time(attacks: Iterable[str]) -> list[Any]:
    """Every third attack is part of every run; all of them are, where the tests that take long are asked for."""
    return [
        pytest.param(attack, marks=[pytest.mark.long] if number % 3 else []) for number, attack in enumerate(attacks)
    ]


class Cost:
    """What the master holds and has used, and how much more that is than when this was made."""

    def __init__(self, server: Server) -> None:
        self._server = server
        eventually(lambda: self._children() >= CHILDREN, "the master has heard the pids of its children")
        self._descriptors, self._cpu = self._look()

    def _children(self) -> int:
        """How many children the master watches."""
        found = 0
        for descriptor in Path(f"/proc/{self._server.pid}/fd").iterdir():
            with suppress(FileNotFoundError):
                found += str(descriptor.readlink()) == "anon_inode:[pidfd]"
        return found

    def _look(self) -> tuple[int, float]:
        stat = Path(f"/proc/{self._server.pid}/stat").read_text().rpartition(")")[2].split()
        # Fields 14 and 15 of proc(5); those of its children, which it has waited for, are none of its own.
        return len(os.listdir(f"/proc/{self._server.pid}/fd")), sum(map(int, stat[11:13])) / os.sysconf("SC_CLK_TCK")

    def settle(self, what: str) -> None:
        """Print what it has cost, and hold it against the bounds."""
        eventually(
            lambda: self._look()[0] <= self._descriptors, f"{what}: the master's descriptors are as many as before"
        )
        descriptors, cpu = self._look()
        print(
            f"{what}: descriptors {self._descriptors} → {descriptors}, {cpu - self._cpu:.2f} s of the master's processor"
        )
        assert cpu - self._cpu < MASTER_CPU


@pytest.fixture
def victim(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that is none of the server's business, and the leader of a group."""
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True) as process:
        (tmp_path / "victim").write_text(str(process.pid))
        yield process
        assert process.poll() is None, "a process was killed that is no child of the master"
        process.kill()


def start(start_server: StartServer, *, preload: bool = False) -> Server:
    source = Path(__file__).with_name("hostile.py").read_text()
    files = {"hostile.py": source.replace("from tests.support.application import", "from application import")}
    return start_server({"app": {"target": "hostile:app"}, "workers": {"count": 2, "preload": preload}}, files=files)


@pytest.mark.parametrize("attack", some_now_and_the_others_when_there_is_time(ON_WORKERS))
def test_a_hostile_worker_is_ended_and_costs_next_to_nothing(
    start_server: StartServer, victim: subprocess.Popen[bytes], attack: str
) -> None:
    server = start(start_server)
    before = server.workers()
    cost = Cost(server)
    with server.address.connect() as connection:
        connection.sendall(b"GET /attack/%s HTTP/1.1\r\nHost: test\r\n\r\n" % attack.encode())
        record = server.log.wait_for("worker exited", timeout=40, reason="crashed")
    after = server.wait_for_workers(2, without=[record["worker_pid"]], timeout=40)
    assert len({worker.pid for worker in after} & {worker.pid for worker in before}) == 1, "the other one serves on"
    assert len(server.log.matching("worker misbehaved")) == (attack not in SILENT)
    with Load(server.address, connections=4) as load:
        load.wait_for_requests(50)
    assert load.tally.failed == 0
    cost.settle(attack)
    assert server.reload()["result"] == "ok"


@pytest.mark.parametrize("attack", some_now_and_the_others_when_there_is_time(REPORTS))
def test_a_hostile_zygote_is_ended_and_its_workers_serve_on(
    start_server: StartServer, victim: subprocess.Popen[bytes], attack: str
) -> None:
    server = start(start_server, preload=True)
    if attack == "says-nothing":
        server.configure(
            {"app": {"target": "hostile:app"}, "workers": {"count": 2, "preload": True, "boot_timeout": 8}}
        )
        assert server.reload()["result"] == "ok"
        server.wait_for_workers(2)
    eventually(lambda: len(server.zygotes()) == 1, "the zygote of the first generation has gone", timeout=40)
    [zygote] = server.zygotes()
    dying, other = server.workers()
    server.write("attack", attack)
    cost = Cost(server)
    with Load(server.address, connections=4) as load:
        os.kill(dying.pid, signal.SIGKILL)
        eventually(lambda: zygote.pid not in {found.pid for found in server.zygotes()}, "it is ended", timeout=40)
        server.wait_for_workers(2, without=[dying.pid], timeout=40)
        load.wait_for_requests(50)
    assert load.tally.failed <= 4, "those that were at the worker which was killed"
    assert other.pid in {worker.pid for worker in server.workers()}
    assert len(server.log.matching("zygote misbehaved")) == (attack != "says-nothing")
    cost.settle(attack)
    assert server.reload()["result"] == "ok"


@pytest.mark.long
def test_a_worker_that_is_told_of_falsely_does_not_stay(start_server: StartServer) -> None:
    """A row of lies, one zygote after the other: each time a worker comes up in the end, and nothing is left behind."""
    server = start(start_server, preload=True)
    cost = Cost(server)
    for number, attack in enumerate(("unknown-worker", "no-json", "names-itself"), 1):
        server.write("attack", attack)
        dying = server.workers()[0]
        os.kill(dying.pid, signal.SIGKILL)
        server.log.wait_for("zygote misbehaved", count=number, timeout=40)
        server.wait_for_workers(2, without=[dying.pid], timeout=40)
        eventually(lambda: len(server.zygotes()) == 1, "one zygote")
    cost.settle("three zygotes in a row")
