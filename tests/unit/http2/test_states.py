"""RFC 9113 section 5.1: the tables are complete, and say what the RFC says."""

from __future__ import annotations

import pytest

from appserver.http2.errors import Code
from appserver.http2.states import RECEIVED, SENT, Event, Ignore, State, Wrong


@pytest.mark.parametrize("table", [RECEIVED, SENT], ids=["received", "sent"])
def test_there_is_an_answer_to_everything(table: dict[State, dict[Event, object]]) -> None:
    assert set(table) == set(State)
    assert all(set(row) == set(Event) for row in table.values())


@pytest.mark.parametrize("table", [RECEIVED, SENT], ids=["received", "sent"])
def test_nothing_leads_back(table: dict[State, dict[Event, object]]) -> None:
    for state, row in table.items():
        for answer in row.values():
            if isinstance(answer, State):
                assert answer >= state


def test_what_has_ended_stays_ended() -> None:
    for table in (RECEIVED, SENT):
        for state in (State.CLOSED, State.RESET):
            assert not any(isinstance(answer, State) for answer in table[state].values())


@pytest.mark.parametrize("event", [Event.DATA, Event.RST_STREAM, Event.WINDOW_UPDATE])
def test_only_headers_begin_a_stream(event: Event) -> None:
    answer = RECEIVED[State.IDLE][event]
    assert isinstance(answer, Wrong)
    assert (answer.code, answer.of_connection) == (Code.PROTOCOL_ERROR, True)


@pytest.mark.parametrize("event", [Event.HEADERS, Event.DATA])
def test_nothing_but_windows_and_resets_follows_the_end_of_a_request(event: Event) -> None:
    answer = RECEIVED[State.HALF_CLOSED_REMOTE][event]
    assert isinstance(answer, Wrong)
    assert (answer.code, answer.of_connection) == (Code.STREAM_CLOSED, False)
    answer = RECEIVED[State.CLOSED][event]
    assert isinstance(answer, Wrong)
    assert (answer.code, answer.of_connection) == (Code.STREAM_CLOSED, True)


def test_whatever_arrives_behind_a_reset_of_ours_is_ignored() -> None:
    assert all(isinstance(answer, Ignore) for answer in RECEIVED[State.RESET].values())


@pytest.mark.parametrize("state", State)
def test_a_priority_may_come_at_any_time(state: State) -> None:
    assert isinstance(RECEIVED[state][Event.PRIORITY], Ignore)
