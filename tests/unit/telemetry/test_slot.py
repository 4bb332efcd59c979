"""Counting in a slot, and what everybody can read there."""

from __future__ import annotations

import math

import pytest

from appserver.telemetry.scoreboard import Scoreboard, WorkerSlot, WorkerState
from tests.unit.telemetry.workers import begin, serve


class TestCounting:
    def test_an_empty_scoreboard_has_nothing_but_zeros(self, board: Scoreboard) -> None:
        totals = board.totals()
        assert totals.requests == {}
        assert totals.duration_buckets == ((0.1, 0), (1.0, 0), (math.inf, 0))
        assert totals.duration_sum == totals.in_progress == totals.connections == totals.sessions_open == 0
        assert set(totals.rejected.values()) == set(totals.worker_exits.values()) == set(totals.reloads.values()) == {0}

    def test_requests_are_counted_by_method_and_status(self, board: Scoreboard) -> None:
        slot = begin(board)
        serve(slot, "GET", 200)
        serve(slot, "GET", 200)
        serve(slot, "POST", 503)
        serve(slot, "GET", 100)
        serve(slot, "TRACE", 599)
        assert board.totals().requests == {
            ("GET", "100"): 1,
            ("GET", "200"): 2,
            ("POST", "503"): 1,
            ("TRACE", "599"): 1,
        }

    @pytest.mark.parametrize(
        ("method", "status", "label"),
        [
            ("BREW", 200, ("other", "200")),
            ("get", 200, ("other", "200")),
            ("GET", 0, ("GET", "other")),
            ("GET", 99, ("GET", "other")),
            ("GET", 600, ("GET", "other")),
            ("BREW", -1, ("other", "other")),
        ],
    )
    def test_what_no_table_could_hold_is_counted_as_other(
        self, board: Scoreboard, method: str, status: int, label: tuple[str, str]
    ) -> None:
        serve(begin(board), method, status)
        assert board.totals().requests == {label: 1}

    @pytest.mark.parametrize(("seconds", "bucket"), [(0.0, 0), (0.1, 0), (0.11, 1), (1.0, 1), (1.1, 2), (1e9, 2)])
    def test_a_bound_belongs_to_its_bucket(self, board: Scoreboard, seconds: float, bucket: int) -> None:
        serve(begin(board), seconds=seconds)
        totals = board.totals()
        assert [count for _, count in totals.duration_buckets] == [int(number == bucket) for number in range(3)]
        assert totals.duration_sum == seconds

    def test_octets_are_counted_with_requests_and_without(self, board: Scoreboard) -> None:
        slot = begin(board)
        serve(slot)
        slot.traffic(1, 2)
        assert (board.totals().received_bytes, board.totals().sent_bytes) == (101, 202)

    def test_what_has_begun_and_not_ended_is_in_progress(self, board: Scoreboard) -> None:
        slot = begin(board)
        for _ in range(3):
            slot.request_started(0.0, "GET", b"/")
            slot.connection_opened()
            slot.session_opened(slot.in_progress)
        slot.request_finished(1, "GET", 200, 0.0, 0, 0)
        slot.connection_closed()
        slot.session_closed(-1)
        totals = board.totals()
        assert slot.in_progress == slot.connections == slot.sessions == 2
        assert totals.in_progress == totals.connections_open == totals.sessions_open == 2
        assert totals.connections == totals.sessions == 3
        assert slot.requests == 1

    def test_messages_errors_and_refusals_are_counted(self, board: Scoreboard) -> None:
        slot = begin(board)
        slot.messages_received(1)
        slot.message_sent()
        slot.message_sent()
        slot.application_error()
        slot.rejected("overload")
        slot.rejected("a reason of the next version")
        totals = board.totals()
        assert totals.messages == {"received": 1, "sent": 2}
        assert totals.application_errors == 1
        assert {reason: count for reason, count in totals.rejected.items() if count} == {"overload": 1, "other": 1}

    def test_lost_log_lines_of_workers_and_master_add_up(self, board: Scoreboard) -> None:
        begin(board).log_lines_dropped = 3
        board.set_log_lines_dropped(4)
        assert board.slot(0).log_lines_dropped == 3
        assert board.totals().log_lines_dropped == 7

    def test_a_loop_that_does_not_turn_is_later_and_later(self, board: Scoreboard) -> None:
        slot = begin(board)
        assert slot.lag(50.0) == 0.0, "there has been no heartbeat yet"
        slot.heartbeat(100.0, 0.02)
        assert [slot.lag(now) for now in (100.1, 100.5, 107.5)] == [0.02, 0.02, 7.0]

    def test_the_master_counts_exits_and_reloads(self, board: Scoreboard) -> None:
        board.worker_exited("crashed")
        board.worker_exited("a reason of the next version")
        board.reload_finished("ok")
        totals = board.totals()
        assert {reason: count for reason, count in totals.worker_exits.items() if count} == {"crashed": 1, "other": 1}
        assert {result: count for result, count in totals.reloads.items() if count} == {"ok": 1}

    def test_slots_do_not_touch_each_other(self, board: Scoreboard) -> None:
        for index in range(board.capacity):
            slot = begin(board, index)
            for _ in range(index + 1):
                serve(slot, "other", 599, 10)
                slot.connection_opened()
        assert [board.slot(index).requests for index in range(4)] == [1, 2, 3, 4]
        assert [board.slot(index).connections for index in range(4)] == [1, 2, 3, 4]
        assert board.totals().requests == {("other", "599"): 10}


class TestState:
    def test_a_worker_says_who_it_is(self, board: Scoreboard) -> None:
        slot = board.slot(1)
        assert slot.state is WorkerState.FREE
        slot.begin(pid=4711, generation=3, started_at=1e9)
        assert (slot.pid, slot.generation, slot.started_at, slot.state) == (4711, 3, 1e9, WorkerState.BOOTING)
        slot.state = WorkerState.READY
        assert slot.state is WorkerState.READY

    def test_the_heartbeat_begins_with_none(self, board: Scoreboard) -> None:
        slot = begin(board)
        assert slot.heartbeat_at == 0.0
        slot.heartbeat(12.5, 0.25)
        assert (slot.heartbeat_at, slot.loop_lag) == (12.5, 0.25)

    def test_the_start_is_now_unless_said_otherwise(self, board: Scoreboard) -> None:
        assert begin(board).started_at > 1.6e9

    def test_an_index_outside_is_refused(self, board: Scoreboard) -> None:
        for index in (-1, 4):
            with pytest.raises(IndexError, match="4 slots"):
                board.slot(index)

    def test_a_state_that_does_not_exist_is_taken_for_the_first(self, board: Scoreboard) -> None:
        slot = begin(board)
        slot.state = 77  # type: ignore[assignment]  # only a worker in other hands writes this
        assert slot.state is WorkerState.BOOTING


class TestLoad:
    def ready(self, board: Scoreboard, *connections: int) -> list[WorkerSlot]:
        slots = [begin(board, index) for index in range(len(connections))]
        for slot, count in zip(slots, connections, strict=True):
            slot.state = WorkerState.READY
            for _ in range(count):
                slot.connection_opened()
        return slots

    def test_a_worker_compares_itself_with_the_least_loaded(self, board: Scoreboard) -> None:
        assert [slot.connections_ahead() for slot in self.ready(board, 5, 2, 3)] == [3, 0, 1]

    def test_a_worker_alone_is_not_ahead(self, board: Scoreboard) -> None:
        assert [slot.connections_ahead() for slot in self.ready(board, 5)] == [0]

    def test_requests_that_share_a_connection_weigh_as_connections(self, board: Scoreboard) -> None:
        first, second = self.ready(board, 1, 3)
        first.weigh(9)
        assert (first.connections_ahead(), second.connections_ahead()) == (7, 0)
        assert first.connections == 1
        first.weigh(0)
        assert (first.connections_ahead(), second.connections_ahead()) == (0, 2)

    def test_one_that_takes_no_connections_does_not_count(self, board: Scoreboard) -> None:
        first, second, third = self.ready(board, 5, 0, 4)
        second.state = WorkerState.DRAINING
        assert (first.connections_ahead(), second.connections_ahead()) == (1, 0)
        second.connection_closed()  # whatever it does meanwhile
        assert first.connections_ahead() == 1
        board.retire(third.index)
        assert first.connections_ahead() == 0


class TestThreads:
    def test_with_an_asgi_application_there_are_none(self, board: Scoreboard) -> None:
        assert begin(board).threads == (0, 0, 0)

    def test_their_use_is_summed_over_the_workers_that_live(self, board: Scoreboard) -> None:
        first, second = begin(board, 0), begin(board, 1)
        first.show_threads(8, 8, 3)
        second.show_threads(8, 2, 0)
        assert (first.threads, board.totals().threads) == ((8, 8, 3), (16, 10, 3))
        board.retire(0)
        assert board.totals().threads == (8, 2, 0)

    def test_waits_for_one_are_counted_and_kept(self, board: Scoreboard) -> None:
        slot = begin(board)
        for seconds in (0.0, 0.1, 0.5, 3.0):
            slot.thread_waited(seconds)
        for _ in range(2):
            totals = board.totals()
            assert totals.thread_wait_buckets == ((0.1, 2), (1.0, 1), (math.inf, 1))
            assert totals.thread_wait_sum == 3.6
            board.retire(slot.index)


def test_the_most_connections_at_a_time_are_counted_from_one_look_to_the_next(board: Scoreboard) -> None:
    slot = begin(board)
    for _ in range(3):
        slot.connection_opened()
    slot.connection_closed()
    assert slot.take_most_connections() == 3
    assert slot.take_most_connections() == 2
