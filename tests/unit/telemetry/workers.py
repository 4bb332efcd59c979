"""What a worker does with its slot, in short."""

from __future__ import annotations

import os

from appserver.telemetry.scoreboard import Scoreboard, WorkerSlot


def begin(board: Scoreboard, index: int = 0) -> WorkerSlot:
    slot = board.slot(index)
    slot.begin(pid=os.getpid(), generation=1)
    return slot


def serve(slot: WorkerSlot, method: str = "GET", status: int = 200, seconds: float = 0.05) -> None:
    number = slot.request_started(0.0, method, b"/")
    slot.request_finished(number, method, status, seconds, 100, 200)
