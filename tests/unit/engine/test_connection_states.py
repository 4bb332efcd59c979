"""The table of a connection's states: complete, and sound as a graph."""

from __future__ import annotations

import pytest

from appserver.engine import connection_states as states
from appserver.engine.connection_states import EVENTS, STATES, TRANSITIONS, After, Impossible, ImpossibleEvent, Stay

CELLS = [(state, event) for state in STATES for event in EVENTS]


@pytest.mark.parametrize(("state", "event"), CELLS)
def test_every_cell_is_answered(state: str, event: str) -> None:
    cell = TRANSITIONS[state][event]
    assert cell.why if isinstance(cell, Stay | Impossible) else cell in STATES


def test_the_table_holds_nothing_else() -> None:
    assert {(state, event) for state, row in TRANSITIONS.items() for event in row} == set(CELLS)


@pytest.mark.parametrize(("state", "event"), CELLS)
def test_what_comes_after_is_what_the_table_says(state: str, event: str) -> None:
    cell = TRANSITIONS[state][event]
    if isinstance(cell, Impossible):
        with pytest.raises(ImpossibleEvent, match="in the state"):
            After(event)[state]
    else:
        assert After(event)[state] == (state if isinstance(cell, Stay) else cell)


def reachable(start: str) -> set[str]:
    found, waiting = {start}, [start]
    while waiting:
        for cell in TRANSITIONS[waiting.pop()].values():
            if isinstance(cell, str) and cell not in found:
                found.add(cell)
                waiting.append(cell)
    return found


def test_every_state_is_reached_from_the_first_and_all_but_a_session_come_to_an_end() -> None:
    assert reachable(states.HEAD) == set(STATES)
    for state in set(STATES) - {states.SWITCHED}:
        assert states.ENDING in reachable(state)


def test_nothing_leads_out_of_the_end_or_out_of_a_session() -> None:
    assert reachable(states.ENDING) == {states.ENDING}
    assert reachable(states.SWITCHED) == {states.SWITCHED}


def test_the_usual_life_goes_round() -> None:
    state = states.HEAD
    for column in (
        states.AFTER_HEAD_READ,
        states.AFTER_REQUEST_READ,
        states.AFTER_RESPONSE_SENT,
        states.AFTER_NEXT_WANTED,
    ):
        state = column[state]
    assert state == states.IDLE
