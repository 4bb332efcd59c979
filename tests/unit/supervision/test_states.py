"""The tables of transitions: complete, and sound as graphs."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

import pytest

from appserver.supervision.states import (
    PRESENT,
    UNBORN,
    WORKER_TRANSITIONS,
    ZYGOTE_TRANSITIONS,
    Impossible,
    Stay,
    WorkerCause,
    WorkerState,
    ZygoteCause,
    ZygoteState,
)

WORKER_CELLS = [(state, cause) for state in WorkerState for cause in WorkerCause]
ZYGOTE_CELLS = [(state, cause) for state in ZygoteState for cause in ZygoteCause]


@pytest.mark.parametrize(("state", "cause"), WORKER_CELLS)
def test_every_cell_of_the_worker_table_is_answered(state: WorkerState, cause: WorkerCause) -> None:
    cell = WORKER_TRANSITIONS[state][cause]
    assert isinstance(cell, WorkerState) or cell.why


@pytest.mark.parametrize(("state", "cause"), ZYGOTE_CELLS)
def test_every_cell_of_the_zygote_table_is_answered(state: ZygoteState, cause: ZygoteCause) -> None:
    cell = ZYGOTE_TRANSITIONS[state][cause]
    assert isinstance(cell, ZygoteState) or cell.why


def test_the_tables_hold_nothing_else() -> None:
    assert {(state, cause) for state, row in WORKER_TRANSITIONS.items() for cause in row} == set(WORKER_CELLS)
    assert {(state, cause) for state, row in ZYGOTE_TRANSITIONS.items() for cause in row} == set(ZYGOTE_CELLS)


def reachable(table: Mapping[StrEnum, Mapping[StrEnum, object]], start: StrEnum) -> set[object]:
    found: set[object] = {start}
    open_states: list[object] = [start]
    while open_states:
        row = table[open_states.pop()]  # type: ignore[index]
        for cell in row.values():
            if not isinstance(cell, (Stay, Impossible)) and cell not in found:
                found.add(cell)
                open_states.append(cell)
    return found


def test_every_state_can_be_reached_from_the_first() -> None:
    assert reachable(WORKER_TRANSITIONS, WorkerState.FORKING) == set(WorkerState)  # type: ignore[arg-type]
    assert reachable(ZYGOTE_TRANSITIONS, ZygoteState.WAITING) == set(ZygoteState)  # type: ignore[arg-type]


@pytest.mark.parametrize("state", [state for state in WorkerState if state is not WorkerState.GONE])
def test_a_worker_that_exits_is_gone_whatever_it_was(state: WorkerState) -> None:
    assert WORKER_TRANSITIONS[state][WorkerCause.EXITED] is WorkerState.GONE


@pytest.mark.parametrize("state", [state for state in WorkerState if state is not WorkerState.GONE])
def test_a_condemned_worker_is_killed_whatever_it_was(state: WorkerState) -> None:
    cell = WORKER_TRANSITIONS[state][WorkerCause.CONDEMNED]
    assert cell is WorkerState.KILLED or (state is WorkerState.KILLED and isinstance(cell, Stay))


@pytest.mark.parametrize("state", [state for state in WorkerState if state not in PRESENT])
def test_a_worker_that_has_left_its_slot_never_comes_back(state: WorkerState) -> None:
    assert not PRESENT & {cell for cell in WORKER_TRANSITIONS[state].values() if isinstance(cell, WorkerState)}


def test_what_is_unborn_is_present() -> None:
    assert UNBORN < PRESENT


@pytest.mark.parametrize(
    "state", [state for state in WorkerState if state not in (WorkerState.READY, WorkerState.GONE)]
)
def test_every_state_but_ready_ends_by_itself(state: WorkerState) -> None:
    """Time leads on: after its deadline a worker is killed, or killed again."""
    assert WORKER_TRANSITIONS[state][WorkerCause.OVERDUE] is WorkerState.KILLED
