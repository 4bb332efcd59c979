from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from appserver.http2.priority import UNSAID, Priority
from appserver.http2.schedule import Schedule
from appserver.http2.stream import Stream


def stream(stream_id: int, priority: Priority = UNSAID) -> Stream:
    made = Stream(stream_id, 0, 0)
    made.priority = priority
    return made


def turns(schedule: Schedule, count: int) -> list[int]:
    return [schedule.next().id for _ in range(count)]


def test_clients_that_say_nothing_get_every_response_in_turns() -> None:
    schedule = Schedule()
    for stream_id in (1, 3, 5):
        schedule.add(stream(stream_id))
    assert turns(schedule, 7) == [1, 3, 5, 1, 3, 5, 1]


def test_the_most_urgent_come_first() -> None:
    schedule = Schedule()
    urgent = stream(5, Priority(1))
    schedule.add(stream(1, Priority(3)))
    schedule.add(stream(3, Priority(7)))
    schedule.add(urgent)
    assert turns(schedule, 2) == [5, 5]
    schedule.discard(urgent)
    assert turns(schedule, 2) == [1, 1]


def test_what_is_of_use_as_a_whole_is_sent_one_after_the_other() -> None:
    schedule = Schedule()
    first = stream(3, Priority(3))
    schedule.add(stream(5, Priority(3)))
    schedule.add(first)
    assert turns(schedule, 3) == [3, 3, 3]
    schedule.discard(first)
    assert turns(schedule, 1) == [5]


def test_both_kinds_have_every_second_turn() -> None:
    schedule = Schedule()
    for stream_id, incremental in ((1, False), (3, True), (5, True)):
        schedule.add(stream(stream_id, Priority(3, incremental)))
    assert turns(schedule, 6) == [1, 3, 1, 5, 1, 3]


@given(st.lists(st.tuples(st.integers(0, 9), st.booleans()), max_size=60))
def test_members_are_those_that_were_added_and_not_discarded(steps: list[tuple[int, bool]]) -> None:
    streams = [stream(index, Priority(index % 3, index % 2 == 0)) for index in range(10)]
    schedule, members = Schedule(), set[int]()
    for index, added in steps:
        (schedule.add if added else schedule.discard)(streams[index])
        (members.add if added else members.discard)(index)
        assert bool(schedule) == bool(members)
        assert [index for index in range(10) if streams[index] in schedule] == sorted(members)
        if members:
            most_urgent = min(index % 3 for index in members)
            first_turns = turns(schedule, 2 * len(members))
            assert set(first_turns) <= members
            assert {index % 3 for index in first_turns} == {most_urgent}
            # Nobody who may share the turns is left out.
            assert {index for index in members if index % 3 == most_urgent and index % 2 == 0} <= set(first_turns)
