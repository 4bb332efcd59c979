"""The scoreboard between real processes, some of which are killed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from appserver.telemetry.scoreboard import Scoreboard, WorkerState
from tests.support.waiting import eventually
from tests.unit.telemetry.workers import begin

BEGIN = """
import os
from appserver.telemetry.scoreboard import Scoreboard, WorkerState

board = Scoreboard.attach({fd})
slot = board.slot(0)
slot.begin(pid=os.getpid(), generation=1)
"""


@contextmanager
def started(board: Scoreboard, program: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program that has got `board` through exec and has begun its first `slot`; kill it at the end."""
    command = [sys.executable, "-c", BEGIN.format(fd=board.fd) + program]
    with subprocess.Popen(command, pass_fds=[board.fd]) as process:
        try:
            yield process
        finally:
            process.kill()


def test_numbers_survive_the_sudden_death_of_the_worker(board: Scoreboard) -> None:
    serve = """
while True:
    slot.request_started(0.0, "GET", b"/")
    slot.request_finished(1, "GET", 200, 0.25, 1, 2)
"""
    slot = board.slot(0)
    with started(board, serve) as worker:
        eventually(lambda: slot.requests > 1000, "a thousand requests")
        assert slot.pid == worker.pid
    requests = slot.requests
    board.retire(0)
    totals = board.totals()
    # It may have died between two cells of one request.
    assert sum(totals.requests.values()) - requests in (0, 1)
    assert totals.duration_sum / 0.25 == pytest.approx(requests, abs=1)
    assert totals.sent_bytes / 2 == pytest.approx(requests, abs=1)


def test_a_forked_worker_counts_for_who_forked_it(board: Scoreboard) -> None:
    fork = """
if os.fork() == 0:
    worker = board.slot(1)
    worker.begin(pid=os.getpid(), generation=1)
    worker.state = WorkerState.READY
    worker.connection_opened()
    os._exit(0)
os.wait()
"""
    with started(board, fork) as zygote:
        assert zygote.wait(30) == 0
    assert (board.slot(1).state, board.slot(1).connections) == (WorkerState.READY, 1)


@pytest.mark.parametrize("attempt", range(5))
def test_a_master_killed_while_it_retires_workers_leaves_numbers_that_are_right(
    board: Scoreboard, attempt: int
) -> None:
    def total() -> int:
        return sum(board.totals().requests.values())

    retire = """
while True:
    slot.request_finished(1, "GET", 200, 0.0, 0, 0)
    board.retire(0)
    slot.begin(pid=os.getpid(), generation=1)
"""
    with started(board, retire):
        eventually(lambda: total() > 20 + 7 * attempt, "some workers retired")
        seen = total()
    left = total()
    assert left >= seen
    begin(board)
    board.retire(0)
    assert total() == left
