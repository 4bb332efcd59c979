"""What a worker is serving: what others see of it, at any time, and after its death."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appserver.telemetry.scoreboard import Scoreboard, WorkerSlot
from appserver.telemetry.serving import MAX_BEGUN, MAX_PATH, MAX_SERVING, SESSION, Serving
from tests.unit.telemetry.workers import begin


def start(slot: WorkerSlot, *numbers: int) -> list[int]:
    """Begin requests for /1, /2 and so on, each at that time; returns what they are known by."""
    return [slot.request_started(float(number), "GET", b"/%d" % number) for number in numbers]


def finish(slot: WorkerSlot, number: int) -> None:
    slot.request_finished(number, "GET", 200, 0.1, 10, 20)


def paths(found: list[Serving]) -> list[str]:
    return [serving.path for serving in found]


class TestWhatHasBegun:
    def test_a_request_is_seen_from_its_first_moment_to_its_last(self, board: Scoreboard) -> None:
        slot = begin(board)
        number = slot.request_started(1.25, "POST", b"/a%20b", b"abc")
        seen = Scoreboard.attach(board.fd).slot(slot.index)
        assert seen.last_seen() == ([Serving("POST", "/a b", 1.25, "abc", number)], [])
        finish(slot, number)
        assert seen.last_seen() == ([], [])

    def test_each_is_struck_out_when_it_ends_and_no_other(self, board: Scoreboard) -> None:
        slot = begin(board)
        numbers = start(slot, *range(MAX_BEGUN))
        finish(slot, numbers[3])
        finish(slot, numbers[0])
        expected = [f"/{number}" for number in range(MAX_BEGUN) if number not in (0, 3)]
        assert paths(slot.serving) == expected

    def test_a_long_one_that_ends_does_not_take_another_one_along(self, board: Scoreboard) -> None:
        slot = begin(board)
        first, *others = start(slot, *range(1, MAX_BEGUN + 2))
        for number in others[:-1]:
            finish(slot, number)
        finish(slot, first)
        assert slot.in_progress == 1
        assert paths(slot.last_seen()[0]) == [f"/{MAX_BEGUN + 1}"]

    def test_of_many_the_last_are_known(self, board: Scoreboard) -> None:
        slot = begin(board)
        start(slot, *range(3 * MAX_BEGUN))
        certain, uncertain = slot.last_seen()
        assert paths(certain) == [f"/{number}" for number in range(2 * MAX_BEGUN, 3 * MAX_BEGUN)]
        assert uncertain == []
        assert slot.in_progress == 3 * MAX_BEGUN

    def test_what_does_not_fit_is_cut_and_an_id_left_out(self, board: Scoreboard) -> None:
        slot = begin(board)
        slot.request_started(1.0, "M" * 100, b"/" + b"x" * 1000, b"i" * 1000)
        [found] = slot.serving
        assert set(found.method) == {"M"}
        assert found.path.startswith("/xxx")
        assert found.request_id is None

    @given(st.binary(max_size=4096))
    def test_nonsense_from_a_worker_harms_nobody(self, nonsense: bytes) -> None:
        board = Scoreboard.create(1)
        try:
            slot = begin(board)
            slot._ring[: len(nonsense)] = nonsense
            assert len(slot.serving) <= MAX_BEGUN
        finally:
            board.close()


class TestWhatIsListed:
    def test_what_is_shown_is_what_others_see(self, board: Scoreboard) -> None:
        slot = begin(board)
        assert slot.serving == []
        requests = [Serving("GET", "/a", 1.25), Serving("POST", "/\N{SNOWMAN}\udcff", 2.5)]
        slot.show_serving(requests, slot.requests)
        assert Scoreboard.attach(board.fd).slot(slot.index).serving == requests
        slot.show_serving([], slot.requests)
        assert slot.serving == []

    def test_it_is_certain_until_a_request_finishes(self, board: Scoreboard) -> None:
        slot = begin(board)
        first, second = start(slot, 1, 2)
        start(slot, *range(100, 100 + MAX_BEGUN))  # who leave no place for those
        slot.show_serving([Serving("GET", "/1", 1.0, None, first), Serving("GET", "/2", 2.0, None, second)], 0)
        certain, uncertain = slot.last_seen()
        assert (paths(certain)[:2], uncertain) == (["/1", "/2"], [])
        finish(slot, second)
        certain, uncertain = slot.last_seen()
        assert "/1" not in paths(certain)
        assert paths(uncertain) == ["/1", "/2"]
        assert paths(slot.serving)[:3] == ["/1", "/2", "/100"]

    def test_where_all_that_is_in_progress_is_known_nothing_is_guessed(self, board: Scoreboard) -> None:
        slot = begin(board)
        first, second = start(slot, 1, 2)
        slot.show_serving([Serving("GET", "/1", 1.0, None, first), Serving("GET", "/2", 2.0, None, second)], 0)
        finish(slot, first)
        certain, uncertain = slot.last_seen()
        assert (paths(certain), uncertain) == (["/2"], [])

    def test_a_request_in_both_is_one(self, board: Scoreboard) -> None:
        slot = begin(board)
        [number] = start(slot, 1)
        slot.show_serving([Serving("GET", "/1 in full", 1.0, None, number)], 0)
        assert paths(slot.serving) == ["/1 in full"]

    def test_a_session_is_seen_until_it_is_closed(self, board: Scoreboard) -> None:
        slot = begin(board)
        number = slot.request_started(0.5, SESSION, b"/chat")
        session = slot.session_opened(number)
        slot.request_finished(number, "GET", 101, 0.1, 10, 20)
        start(slot, 2)
        certain, uncertain = slot.last_seen()
        assert (paths(certain), uncertain) == (["/2", "/chat"], [])
        slot.show_serving([Serving(SESSION, "/chat", 0.5, None, session)], 1)
        assert paths(slot.serving) == ["/2", "/chat"]
        slot.session_closed(session)
        certain, uncertain = slot.last_seen()
        assert (paths(certain), paths(uncertain)) == (["/2"], ["/chat"])

    def test_work_behind_a_response_is_not_forgotten(self, board: Scoreboard) -> None:
        slot = begin(board)
        [quick, slow] = start(slot, 1, 2)
        finish(slot, slow)
        slot.show_serving([Serving("GET", "/2", 2.0)], 1)
        certain, uncertain = slot.last_seen()
        assert (paths(certain), paths(uncertain)) == (["/1"], ["/2"])
        finish(slot, quick)
        certain, uncertain = slot.last_seen()
        assert (certain, paths(uncertain)) == ([], ["/2"])

    def test_of_many_and_of_long_ones_the_oldest_are_shown_as_far_as_there_is_room(self, board: Scoreboard) -> None:
        slot = begin(board)
        slot.show_serving([Serving("GET", f"/{number}", 1.0) for number in range(100)], slot.requests)
        assert paths(slot.serving) == [f"/{number}" for number in range(MAX_SERVING)]
        slot.show_serving(
            [Serving("GET", "/" + "\N{SNOWMAN}" * 1000, float(number)) for number in range(100)], slot.requests
        )
        assert [found.since for found in slot.serving] == [0.0]
        assert len(slot.serving[0].path) == MAX_PATH

    def test_it_is_gone_with_the_worker(self, board: Scoreboard) -> None:
        slot = begin(board)
        start(slot, 1)
        slot.show_serving([Serving("GET", "/", 1.0)], slot.requests)
        board.retire(slot.index)
        assert slot.serving == []

    @pytest.mark.parametrize(
        "text",
        [
            b"",
            b"[[",
            b"1",
            b"[1]",
            b"{}",
            b'["x", []]',
            b"[null, []]",
            b"[NaN, []]",
            b"[1%s.0, []]" % (b"0" * 400),
            b'[0, [["GET"]]]',
            b'[0, [["GET", "/", "soon", null, 0]]]',
            b'[0, [["GET", "/", NaN, null, 0]]]',
            b'[0, [["GET", "/", 1%s, null, 0]]]' % (b"0" * 400),
            b"[" * 2000,
        ],
    )
    @pytest.mark.parametrize("claimed", [0, None, -1, 1 << 40])
    def test_nonsense_from_a_worker_is_nothing(self, board: Scoreboard, text: bytes, claimed: int | None) -> None:
        slot = begin(board)
        slot._serving[: len(text)] = text
        slot._ints[slot._serving_length] = len(text) if claimed is None else claimed
        assert slot.serving == []
