"""The scoreboard as a whole: workers that come and go, the mapping, its versions."""

from __future__ import annotations

import fcntl
import json
import math
import mmap
import os
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appserver.telemetry import layout
from appserver.telemetry.layout import CELL, COMMIT_CELL, DESCRIPTION, Layout
from appserver.telemetry.scoreboard import Scoreboard, ScoreboardMismatch, WorkerState, read_description
from tests.unit.telemetry.workers import begin, serve


class TestRetiring:
    def test_counters_stay_and_gauges_go(self, board: Scoreboard) -> None:
        slot = begin(board)
        slot.state = WorkerState.READY
        serve(slot)
        slot.request_started(0.0, "GET", b"/")
        slot.connection_opened()
        board.retire(0, cpu_seconds=1.5)
        totals = board.totals()
        assert totals.requests == {("GET", "200"): 1}
        assert (totals.duration_sum, totals.connections) == (0.05, 1)
        assert totals.in_progress == totals.connections_open == 0
        assert (slot.state, slot.pid, slot.requests, slot.heartbeat_at) == (WorkerState.FREE, 0, 0, 0.0)

    def test_the_next_worker_in_the_slot_counts_on(self, board: Scoreboard) -> None:
        for _ in range(5):
            serve(begin(board))
            board.retire(0, cpu_seconds=0.5)
        serve(begin(board))
        assert board.totals().requests == {("GET", "200"): 6}
        assert board.slot(0).past_cpu_seconds == 2.5

    def test_a_slot_that_was_never_used_can_be_retired(self, board: Scoreboard) -> None:
        board.retire(3)
        assert board.totals().requests == {}

    @given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from(["serve", "retire", "reject"])), max_size=60))
    def test_nothing_is_lost_whatever_the_order(self, steps: list[tuple[int, str]]) -> None:
        board = Scoreboard.create(4, (0.1, 1.0))
        try:
            for index, step in steps:
                if board.slot(index).state is WorkerState.FREE:
                    begin(board, index)
                if step == "serve":
                    serve(board.slot(index))
                elif step == "reject":
                    board.slot(index).rejected("overload")
                else:
                    board.retire(index)
            totals = board.totals()
            assert sum(totals.requests.values()) == sum(step == "serve" for _, step in steps)
            assert totals.rejected["overload"] == sum(step == "reject" for _, step in steps)
        finally:
            board.close()

    def test_no_counter_goes_back_for_somebody_who_looks_meanwhile(self, board: Scoreboard) -> None:
        reader = Scoreboard.attach(os.dup(board.fd))
        seen: list[int] = []
        ended = threading.Event()

        def read() -> None:
            while not ended.is_set():
                seen.append(sum(reader.totals().requests.values()))

        thread = threading.Thread(target=read)
        thread.start()
        for number in range(1, 301):
            serve(begin(board, number % 4))
            board.retire(number % 4)
        ended.set()
        thread.join()
        assert seen == sorted(seen)
        assert sum(reader.totals().requests.values()) == 300
        reader.close()

    def test_an_accident_in_the_middle_neither_loses_nor_doubles_a_worker(self, board: Scoreboard) -> None:
        class Accident(float):
            """Ends the step between the new totals and the clearing of the slot."""

            def __radd__(self, other: float) -> float:
                raise KeyboardInterrupt

        serve(begin(board))
        with pytest.raises(KeyboardInterrupt):
            board.retire(0, cpu_seconds=Accident())
        successor = Scoreboard.attach(os.dup(board.fd))
        assert successor.totals().requests == {("GET", "200"): 1}
        for index in (1, 0):
            successor.retire(index)
            assert successor.totals().requests == {("GET", "200"): 1}
        successor.close()

    @pytest.mark.parametrize("forged", [-1, (1 << 63) - 1])
    def test_a_slot_with_impossible_numbers_adds_nothing(self, board: Scoreboard, forged: int) -> None:
        serve(begin(board, 1))
        board.retire(1)
        slot = begin(board)
        serve(slot)
        slot.log_lines_dropped = forged
        board.totals()
        board.retire(0)
        assert board.totals().requests == {("GET", "200"): 1}
        assert board.totals().log_lines_dropped == 0

    @given(st.binary(min_size=8, max_size=8))
    def test_a_commit_word_that_makes_no_sense_stops_nobody(self, word: bytes) -> None:
        board = Scoreboard.create(2, (0.1, 1.0))
        try:
            os.pwrite(board.fd, word, COMMIT_CELL * CELL)
            for index in (0, 1, 0):
                serve(begin(board, index))
                board.totals()
                board.retire(index)
            assert board.totals().requests[("GET", "200")] >= 1
        finally:
            board.close()

    @pytest.mark.parametrize("forged", [-1, (1 << 63) - 1])
    def test_counting_goes_on_from_a_count_that_is_none(self, board: Scoreboard, forged: int) -> None:
        layout = Layout(board.capacity, board.buckets)
        os.pwrite(board.fd, struct.pack("q", forged), layout.server("reloads") * CELL)
        for result in layout.fields["reloads"].axes[0][1]:
            board.reload_finished(result)
        assert set(board.totals().reloads.values()) == {1}

    def test_a_sum_of_times_that_is_no_number_adds_nothing(self, board: Scoreboard) -> None:
        serve(begin(board), seconds=math.nan)
        board.retire(0)
        assert board.totals().duration_sum == 0.0


class TestForgery:
    """Any worker can write anywhere in the mapping but into its header."""

    @given(
        st.one_of(
            st.binary(min_size=1, max_size=64),
            st.sampled_from([math.nan, math.inf, -math.inf, 1e308]).map(struct.Struct("d").pack),
            st.sampled_from([-(2**63), 2**63 - 1, -1]).map(struct.Struct("q").pack),
            st.sampled_from([b'["x", []]', b"[NaN, []]", b'[1, [["\\ud800", "/", 1, null, 1]]]']).map(
                lambda text: struct.pack("q", len(text)) + text
            ),
        ),
        st.integers(0, 8),
    )
    def test_the_master_reads_what_somebody_has_put_there(self, forged: bytes, shift: int) -> None:
        board = Scoreboard.create(2)
        try:
            slot = begin(board)
            serving = slot._serving_length * CELL
            for start, end in ((DESCRIPTION + len(board._layout.description), len(board._bytes)), (serving, serving)):
                room = max(end - start - shift, len(forged))
                board._bytes[start + shift : start + shift + room] = (forged * (room // len(forged) + 1))[:room]
            for number in (slot.lag(1.0), slot.heartbeat_at, slot.started_at, slot.loop_lag, slot.past_cpu_seconds):
                assert math.isfinite(number)
            totals = board.totals()
            assert totals.in_progress >= 0
            assert len(slot.serving) <= 32
            board.worker_exited("crashed")
            board.reload_finished("ok")
            board.set_log_lines_dropped(3)
            slot.last_seen()
            board.retire(0, 1.0)
            assert slot.state is WorkerState.FREE
        finally:
            board.close()

    def test_its_description_is_not_needed_where_its_maker_can_be_asked(self, board: Scoreboard) -> None:
        serve(begin(board))
        board._bytes[: DESCRIPTION + len(board._layout.description)] = bytes(
            DESCRIPTION + len(board._layout.description)
        )
        fd = os.dup(board.fd)
        with pytest.raises(ScoreboardMismatch):
            Scoreboard.attach(fd)
        other = Scoreboard.attach(fd, board.described)
        assert other.totals().requests == {("GET", "200"): 1}
        other.close()


class TestMapping:
    def test_who_attaches_sees_the_same(self, board: Scoreboard) -> None:
        serve(begin(board))
        other = Scoreboard.attach(os.dup(board.fd))
        assert other.totals() == board.totals()
        assert (other.capacity, other.buckets) == (4, (0.1, 1.0))
        serve(other.slot(0))
        assert board.slot(0).requests == 2
        other.close()

    def test_nobody_can_make_it_smaller(self, board: Scoreboard) -> None:
        with pytest.raises(PermissionError):
            os.ftruncate(board.fd, 0)
        assert fcntl.fcntl(board.fd, fcntl.F_GET_SEALS) & fcntl.F_SEAL_SHRINK

    def test_slots_begin_on_pages_of_their_own(self) -> None:
        layout = Layout(8, (0.1,))
        page = mmap.PAGESIZE // 8
        assert [layout.slot(index) % page for index in range(8)] == [0] * 8

    def test_no_two_fields_overlap(self) -> None:
        layout = Layout(8, (0.1, 1.0))
        for places in (("counter", "gauge"), ("server",), ("column",)):
            fields = [field for field in layout.fields.values() if field.place in places]
            cells = [
                cell
                for field in fields
                for cell in range(
                    layout.offsets[field.name],
                    layout.offsets[field.name] + (layout.capacity if field.place == "column" else field.size),
                )
            ]
            assert sorted(cells) == list(range(len(cells)))

    @pytest.mark.parametrize("capacity", [0, -1, 1 << 16])
    def test_an_impossible_capacity_is_refused(self, capacity: int) -> None:
        with pytest.raises(ValueError, match="capacity"):
            Scoreboard.create(capacity)

    @pytest.mark.parametrize("buckets", [(), (1.0, 0.1), (1.0, 1.0)])
    def test_impossible_buckets_are_refused(self, buckets: tuple[float, ...]) -> None:
        with pytest.raises(ValueError, match="buckets"):
            Scoreboard.create(1, buckets)


class TestVersions:
    @contextmanager
    def forged(self, change: Callable[[mmap.mmap], object]) -> Iterator[int]:
        board = Scoreboard.create(1, (0.1,))
        with mmap.mmap(board.fd, 0) as memory:
            change(memory)
        yield board.fd
        board.close()

    def test_the_description_tells_what_is_there(self, board: Scoreboard) -> None:
        version, description = read_description(board.fd)
        assert version == 1
        assert (description["capacity"], description["buckets"]) == (4, [0.1, 1.0])
        requests = next(field for field in description["fields"] if field["name"] == "requests")
        assert "GET" in requests["axes"]["method"]
        assert "404" in requests["axes"]["status"]

    def test_other_memory_is_refused(self) -> None:
        with (
            self.forged(lambda memory: memory.write(b"something")) as fd,
            pytest.raises(ScoreboardMismatch, match="no score"),
        ):
            Scoreboard.attach(fd)

    def test_an_empty_file_is_refused(self) -> None:
        fd = os.memfd_create("empty")
        with pytest.raises(ScoreboardMismatch):
            Scoreboard.attach(fd)
        os.close(fd)

    def test_another_version_is_refused(self) -> None:
        with (
            self.forged(lambda memory: struct.pack_into("q", memory, 8, 2)) as fd,
            pytest.raises(ScoreboardMismatch, match="another version"),
        ):
            Scoreboard.attach(fd)

    def test_another_table_is_refused(self) -> None:
        def rename_a_field(memory: mmap.mmap) -> None:
            memory.seek(memory.find(b"sent_bytes"))
            memory.write(b"lost_bytes")

        with self.forged(rename_a_field) as fd, pytest.raises(ScoreboardMismatch, match="another version"):
            Scoreboard.attach(fd)

    def test_a_table_with_other_reasons_is_understood_and_new_ones_are_counted_as_other(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(layout, "REJECTIONS", ("bad_request", "out_of_fashion", "other"))
        old = Scoreboard.create(4, (0.1, 1.0))
        begin(old).rejected("out_of_fashion")
        monkeypatch.undo()
        new = Scoreboard.attach(os.dup(old.fd))
        begin(new, 1).rejected("overload")
        begin(new, 2).rejected("bad_request")
        serve(new.slot(1))
        assert new.totals().rejected == old.totals().rejected == {"bad_request": 1, "out_of_fashion": 1, "other": 1}
        assert old.totals().requests == {("GET", "200"): 1}
        old.close()
        new.close()

    @pytest.mark.parametrize(
        "labels",
        [("bad_request",), ("other", "other"), tuple(map(str, range(1000)))],
        ids=["without other", "twice", "too many"],
    )
    def test_a_table_with_reasons_that_make_no_sense_is_refused(
        self, monkeypatch: pytest.MonkeyPatch, labels: tuple[str, ...]
    ) -> None:
        made = layout.table((0.1,))
        with monkeypatch.context() as patched:
            patched.setattr(layout, "REJECTIONS", labels)
            description = json.loads(Layout(4, (0.1,)).description)
        assert Layout.described(description) is None
        assert made == layout.table((0.1,))

    @pytest.mark.parametrize("spoilt", ["fields", "buckets", "capacity"])
    def test_a_description_with_something_else_in_it_is_refused(self, spoilt: str) -> None:
        description = json.loads(Layout(4, (0.1,)).description)
        assert Layout.described(description) is not None
        for nonsense in (None, 3.5, "x", [None], [{"axes": 1}]):
            assert Layout.described({**description, spoilt: nonsense}) is None

    def test_a_description_that_makes_no_sense_is_refused(self) -> None:
        def spoil(memory: mmap.mmap) -> None:
            memory[DESCRIPTION] = 0xFF

        with self.forged(spoil) as fd, pytest.raises(ScoreboardMismatch, match="cannot be read"):
            Scoreboard.attach(fd)
