"""What the master makes of a worker that has exited."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from appserver.master.conversation import WorkerConversation
from appserver.master.observation import Observer
from appserver.master.oom import OutOfMemoryKills
from appserver.master.stacks import StacksFile
from appserver.master.workers import WorkerHandle
from appserver.supervision.events import ExitStatus, WorkerExited
from appserver.telemetry.output import Destination, LogOutput
from appserver.telemetry.scoreboard import Scoreboard
from appserver.telemetry.serving import Serving
from appserver.worker.messages import Channel

SIGKILL, SIGSEGV = ExitStatus(signal=signal.SIGKILL), ExitStatus(signal=signal.SIGSEGV)


@pytest.fixture
def board() -> Iterator[Scoreboard]:
    board = Scoreboard.create(2)
    yield board
    board.close()


@pytest.fixture
def counter(tmp_path: Path) -> Path:
    (tmp_path / "membership").write_text("0::/\n")
    (tmp_path / "memory.events").write_text("oom_kill 0\n")
    return tmp_path / "memory.events"


def observe(board: Scoreboard, counter: Path, act: Callable[[Observer, WorkerHandle], WorkerExited]) -> WorkerExited:
    """Let `act` have an observer, and worker 1, which has counted a request and is serving another."""

    async def scenario() -> WorkerExited:
        ours, theirs = Channel.pair()
        loop = asyncio.get_running_loop()
        conversation = WorkerConversation(1)
        worker = WorkerHandle(1, 1, 1, ours, StacksFile.create(), loop, lambda event: None, 0.0, conversation)
        output = LogOutput(Destination.file(Path(os.devnull), "logging.file"))
        slot = board.slot(0)
        slot.begin(pid=1, generation=1)
        slot.request_started(0.0, "GET", b"/")
        slot.request_finished(1, "GET", 200, 0.01, 10, 20)
        slot.show_serving([Serving("GET", "/report", 1.0, None, 2)], slot.requests)
        try:
            return act(Observer(board, output, OutOfMemoryKills(counter.parent, counter.parent / "membership")), worker)
        finally:
            worker.close()
            theirs.close()
            output.close()

    return asyncio.run(scenario())


@pytest.mark.parametrize(
    ("status", "grown", "killed", "oom"),
    [
        (SIGKILL, True, False, True),
        (SIGKILL, False, False, False),
        (SIGKILL, True, True, False),
        (SIGSEGV, True, False, False),
    ],
    ids=["by the kernel", "by somebody else", "by ourselves", "by a fault"],
)
def test_a_kill_is_the_kernels_if_its_counter_grew_and_it_was_not_ours(
    board: Scoreboard, counter: Path, status: ExitStatus, grown: bool, killed: bool, oom: bool
) -> None:
    def die(observer: Observer, worker: WorkerHandle) -> WorkerExited:
        if killed:
            worker.kill()
        if grown:
            counter.write_text("oom_kill 1\n")
        return observer.examine(WorkerExited(1, status), worker)

    assert observe(board, counter, die).oom is oom


def test_what_it_was_serving_is_told_and_its_numbers_are_kept(board: Scoreboard, counter: Path) -> None:
    event = observe(
        board, counter, lambda observer, worker: observer.examine(WorkerExited(1, ExitStatus(code=3)), worker)
    )
    assert [(request.method, request.path) for request in event.serving] == [("GET", "/report")]
    assert event.serving[0].age > 0
    assert board.totals().requests == {("GET", "200"): 1}
    assert board.slot(0).serving == []


def test_the_losses_of_the_log_of_the_master_are_counted(board: Scoreboard) -> None:
    output = LogOutput(Destination.file(Path("/dev/full"), "logging.file"))
    output.write(b"one\ntwo\n")
    assert Observer(board, output).look([]) == ()
    assert board.totals().log_lines_dropped == 2
    output.close()
