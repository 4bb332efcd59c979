"""The processes below the master, with real children and real channels: who is believed, who is watched, what is let go."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from appserver.master import workers, zygotes
from appserver.master.children import is_child
from appserver.master.handover import WorkerRecord, ZygoteRecord
from appserver.master.observation import Observer
from appserver.master.oom import OutOfMemoryKills
from appserver.master.process_table import ProcessTable
from appserver.supervision.events import (
    Event,
    ExitStatus,
    Forked,
    ForkRefused,
    WorkerExited,
    WorkerMisbehaved,
    WorkerReady,
    ZygoteExited,
    ZygoteMisbehaved,
    ZygoteReady,
)
from appserver.telemetry.scoreboard import Scoreboard


class Loss:
    dropped = 0


def sleeper() -> int:
    """A child of this process that nobody else waits for."""
    return os.posix_spawn(sys.executable, [sys.executable, "-S", "-c", "import time; time.sleep(600)"], os.environ)


def pair() -> tuple[socket.socket, int]:
    """Two ends of a channel: that of the process, and the master's as a descriptor."""
    theirs, ours = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    return theirs, ours.detach()


def say(end: socket.socket, kind: str, **content: object) -> None:
    end.send(json.dumps({"type": kind, **content}).encode())


def kill(pid: int) -> None:
    """Kill a child, and return when it has died; without reaping it."""
    os.kill(pid, signal.SIGKILL)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)


def runs(pid: int) -> bool:
    """Whether a child has not exited; without reaping it."""
    return is_child(pid) and os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None


def reap(pid: int) -> None:
    os.waitpid(pid, 0)


class Scene:
    """A table of one zygote, which owes worker 2, and of worker 1, which has been reported; the far ends of their channels."""

    def __init__(self, board: Scoreboard, tmp_path: Path) -> None:
        self.events: list[Event] = []
        self.pids = {name: sleeper() for name in ("zygote", "worker", "new", "other")}
        observer = Observer(board, Loss(), OutOfMemoryKills(tmp_path, tmp_path / "membership"))
        self.table = ProcessTable(observer, self.post, lambda: (self.pids["other"],))
        self.zygote, zygote = pair()
        self.worker, worker = pair()
        self.new, new = pair()
        self.table.start(
            asyncio.get_running_loop(),
            [ZygoteRecord(1, self.pids["zygote"], zygote)],
            [
                WorkerRecord(1, 1, 1, self.pids["worker"], worker, os.memfd_create("stacks"), 0, 0.0),
                WorkerRecord(2, 2, 1, None, new, os.memfd_create("stacks"), 0, 0.0),
            ],
        )

    def post(self, event: Event) -> None:
        self.events.append(self.table.hear(event))

    async def wait_for(self, kind: type[Event]) -> Event:
        async with asyncio.timeout(20):
            while not (found := [event for event in self.events if isinstance(event, kind)]):
                await asyncio.sleep(0.01)
        return found[0]

    def living(self) -> set[str]:
        return {name for name, pid in self.pids.items() if runs(pid)}

    async def close(self) -> None:
        """End everything, and let the table reap what it watches."""
        for pid in filter(runs, self.pids.values()):
            os.kill(pid, signal.SIGKILL)
        async with asyncio.timeout(20):
            while self.table.zygotes() or any(worker.child for worker in self.table.workers()):
                await asyncio.sleep(0.01)
        for worker in self.table.workers():
            worker.close()
        for pid in filter(is_child, self.pids.values()):
            reap(pid)
        for end in (self.zygote, self.worker, self.new):
            end.close()


Act = Callable[[Scene], Awaitable[None]]


@pytest.fixture
def play(tmp_path: Path) -> Iterator[Callable[[Act], None]]:
    """Let something happen in a scene."""
    board = Scoreboard.create(4)

    def play(act: Act) -> None:
        async def scenario() -> None:
            scene = Scene(board, tmp_path)
            try:
                await act(scene)
            finally:
                await scene.close()

        asyncio.run(scenario())

    yield play
    board.close()


Play = Callable[[Act], None]


def test_a_worker_that_its_zygote_reports_is_watched(play: Play) -> None:
    async def act(scene: Scene) -> None:
        say(scene.zygote, "Forked", worker=2, pid=scene.pids["new"])
        assert await scene.wait_for(Forked) == Forked(2, scene.pids["new"])
        say(scene.new, "Ready")
        ready = await scene.wait_for(WorkerReady)
        assert isinstance(ready, WorkerReady)
        assert (ready.worker, ready.cpu_seconds >= 0.0) == (2, True)
        os.kill(scene.pids["new"], signal.SIGTERM)
        exited = await scene.wait_for(WorkerExited)
        assert isinstance(exited, WorkerExited)
        assert (exited.worker, exited.status) == (2, ExitStatus(signal=signal.SIGTERM))

    play(act)


@pytest.mark.parametrize("named", ["zygote", "worker", "other", "master", "init", "group"])
def test_a_pid_that_cannot_be_that_of_a_new_worker_is_the_zygotes_last_word(play: Play, named: str) -> None:
    async def act(scene: Scene) -> None:
        pids = {**scene.pids, "master": os.getpid(), "init": 1, "group": -scene.pids["other"]}
        say(scene.zygote, "Forked", worker=2, pid=pids[named])
        found = await scene.wait_for(ZygoteMisbehaved)
        assert isinstance(found, ZygoteMisbehaved)
        assert str(pids[named]) in found.reason
        assert scene.living() == {"zygote", "worker", "new", "other"}, "the supervisor has it killed, nobody else"
        assert not any(isinstance(event, Forked) for event in scene.events)
        with pytest.raises(BrokenPipeError):
            say(scene.zygote, "Imported", preloaded=True)

    play(act)


def test_a_worker_that_could_not_be_forked_leaves_nothing_behind(play: Play) -> None:
    async def act(scene: Scene) -> None:
        say(scene.zygote, "ForkRefused", worker=2, reason="no more processes")
        assert await scene.wait_for(ForkRefused) == ForkRefused(2, "no more processes")
        assert [worker.worker for worker in scene.table.workers()] == [1]
        assert scene.new.recv(16) == b"", "its channel is closed"

    play(act)


def test_an_exit_is_reported_whatever_was_said_before(play: Play) -> None:
    async def act(scene: Scene) -> None:
        scene.worker.send(b"{")
        os.kill(scene.pids["worker"], signal.SIGKILL)
        await scene.wait_for(WorkerExited)
        assert [type(event) for event in scene.events] == [WorkerMisbehaved, WorkerExited]

    play(act)


def test_who_closes_its_channel_and_lives_on_is_found_out(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zygotes, "EXIT_DELAY", 0.05)
    monkeypatch.setattr(workers, "EXIT_DELAY", 0.05)

    async def act(scene: Scene) -> None:
        scene.zygote.close()
        scene.worker.close()
        for kind in (ZygoteMisbehaved, WorkerMisbehaved):
            found = await scene.wait_for(kind)
            assert isinstance(found, kind)
            assert "lives on" in getattr(found, "reason")  # noqa: B009 - of either

    play(act)


def test_who_exits_closes_its_channel_too_and_is_not_suspected(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zygotes, "EXIT_DELAY", 0.05)

    async def act(scene: Scene) -> None:
        say(scene.zygote, "Imported", preloaded=False)
        await scene.wait_for(ZygoteReady)
        kill(scene.pids["zygote"])
        scene.zygote.close()
        await scene.wait_for(ZygoteExited)
        await asyncio.sleep(0.1)  # what is asked is that nothing happens any more
        assert [type(event) for event in scene.events] == [ZygoteReady, ZygoteExited]
        assert [worker.worker for worker in scene.table.workers()] == [1], "what it had not reported is nobody's"

    play(act)


def test_what_was_said_before_a_re_exec_is_not_to_be_said_again_after_it(play: Play) -> None:
    async def act(scene: Scene) -> None:
        say(scene.zygote, "Imported", preloaded=False)
        say(scene.worker, "Ready")
        say(scene.worker, "StoppedAccepting")
        await scene.wait_for(WorkerReady)
        await scene.wait_for(ZygoteReady)
        [zygote], [worker, new] = scene.table.zygotes(), scene.table.workers()
        assert zygote.record().answered
        assert (worker.record().answered, worker.record().stopped_accepting) == (True, True)
        assert (new.record().answered, new.record().pid) == (False, None)

    play(act)
