"""Exits: words and labels for the end of a process."""

from __future__ import annotations

import signal

import pytest

from appserver.supervision.actions import ExitReason, Level
from appserver.supervision.events import ExitStatus
from appserver.supervision.exits import (
    SIGNAL_NAMES,
    describe_status,
    exit_level,
    exit_reason,
    hint,
    signal_name,
    status_fields,
)
from appserver.supervision.records import Worker
from appserver.supervision.recycling import RecycleLimits
from appserver.supervision.states import WorkerState

CLEAN, FAILED, SEGFAULT, KILLED = ExitStatus(code=0), ExitStatus(code=3), ExitStatus(signal=11), ExitStatus(signal=9)


def worker(state: WorkerState, *, leaving: ExitReason | None = None, was_ready: bool = True) -> Worker:
    return Worker(1, 1, 1, RecycleLimits(), 0.0, state=state, leaving=leaving, ready_at=1.0 if was_ready else None)


def test_the_signals_are_called_as_the_system_calls_them() -> None:
    assert {number: signal.Signals(number).name for number in SIGNAL_NAMES} == SIGNAL_NAMES
    assert signal_name(64) == "signal 64"


@pytest.mark.parametrize(
    ("status", "words", "fields"),
    [
        (CLEAN, "exited with code 0", {"exit_code": 0}),
        (FAILED, "exited with code 3", {"exit_code": 3}),
        (SEGFAULT, "was killed by SIGSEGV", {"signal": "SIGSEGV"}),
        (ExitStatus(), "ended", {}),
    ],
)
def test_a_status_is_told_in_words_and_in_fields(status: ExitStatus, words: str, fields: dict[str, object]) -> None:
    assert describe_status(status) == words
    assert status_fields(status) == fields


def test_some_ends_deserve_a_hint() -> None:
    ready = worker(WorkerState.READY)
    assert "memory" in str(hint(ready, "crashed", KILLED))
    assert "a SIGTERM to the worker, or the application" in str(hint(ready, "crashed", CLEAN))
    assert hint(ready, "crashed", SEGFAULT) == {}
    assert hint(ready, "stopped", KILLED) == {}


def test_what_the_master_has_killed_itself_is_blamed_on_nobody() -> None:
    assert hint(worker(WorkerState.FAILING, leaving="boot_failed", was_ready=False), "boot_failed", KILLED)
    assert hint(worker(WorkerState.KILLED, leaving="boot_failed", was_ready=False), "boot_failed", KILLED) == {}


@pytest.mark.parametrize(
    ("subject", "status", "oom", "reason", "level"),
    [
        (worker(WorkerState.READY), KILLED, False, "crashed", "error"),
        (worker(WorkerState.READY), CLEAN, False, "crashed", "error"),
        (worker(WorkerState.READY), KILLED, True, "out_of_memory", "error"),
        (worker(WorkerState.BOOTING, was_ready=False), SEGFAULT, False, "boot_failed", "error"),
        (worker(WorkerState.FAILING, leaving="boot_failed", was_ready=False), FAILED, False, "boot_failed", "warning"),
        (worker(WorkerState.DRAINING, leaving="reloaded"), CLEAN, False, "reloaded", "info"),
        (worker(WorkerState.DRAINING, leaving="reloaded"), ExitStatus(), False, "reloaded", "info"),
        (worker(WorkerState.DRAINING, leaving="reloaded"), SEGFAULT, False, "crashed", "error"),
        (worker(WorkerState.DRAINING, leaving="reloaded"), FAILED, False, "crashed", "error"),
        (worker(WorkerState.DRAINING, leaving="stopped", was_ready=False), FAILED, False, "stopped", "info"),
        (worker(WorkerState.KILLED, leaving="scaled_down"), KILLED, False, "scaled_down", "warning"),
        (worker(WorkerState.KILLED, leaving="stalled"), KILLED, True, "stalled", "warning"),
    ],
)
def test_an_exit_is_counted_as_what_led_to_it(
    subject: Worker, status: ExitStatus, oom: bool, reason: ExitReason, level: Level
) -> None:
    assert exit_reason(subject, status, oom=oom) == reason
    assert exit_level(subject, reason) == level
