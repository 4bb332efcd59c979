"""Back-off: 0.1 s to 30 s, with jitter, ended by health."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appserver.supervision.backoff import (
    BOOT_SHARE,
    BUDGET_DEPTH,
    CHEAPEST_BOOT,
    FIRST_DELAY,
    JITTER,
    LONGEST_DEBT,
    LONGEST_DELAY,
    Backoff,
    BootBudget,
    delay,
)


def test_what_never_failed_is_tried_at_once() -> None:
    assert Backoff().allows(0.0)


def test_the_first_failure_is_followed_by_another_try_at_once() -> None:
    backoff = Backoff()
    backoff.fail(100.0, lambda: 0.5)
    assert backoff.allows(100.0)


def test_the_delay_doubles_from_a_tenth_of_a_second_to_half_a_minute() -> None:
    delays = [delay(failures) for failures in range(2, 12)]
    assert delays[0] == FIRST_DELAY
    assert all(later == pytest.approx(min(2 * earlier, LONGEST_DELAY)) for earlier, later in pairwise(delays))
    assert delays[-1] == LONGEST_DELAY


def test_the_delay_of_very_many_failures_is_the_longest() -> None:
    assert delay(10**9) == LONGEST_DELAY


@given(failures=st.integers(2, 10_000), chance=st.floats(0.0, 1.0, exclude_max=True))
def test_chance_takes_off_a_quarter_at_most(failures: int, chance: float) -> None:
    backoff = Backoff(failures - 1)
    backoff.fail(0.0, lambda: chance)
    assert (1.0 - JITTER) * delay(failures) <= backoff.until <= delay(failures)


def test_nothing_is_tried_before_the_delay_is_over() -> None:
    backoff = Backoff(failures=3)
    backoff.fail(100.0, lambda: 0.0)
    assert not backoff.allows(100.39)
    assert backoff.allows(100.41)


def test_a_reset_forgets_the_failures() -> None:
    backoff = Backoff(failures=9, until=1e9)
    backoff.reset()
    assert backoff == Backoff()


class TestBootBudget:
    def test_what_was_not_spent_is_there_for_a_burst_and_no_more(self) -> None:
        budget = BootBudget()
        for _ in range(10):
            assert budget.wait(100.0, 2) == 0.0
            budget.spend(100.0, 1.0, 2)
        assert budget.wait(100.0, 2) == 0.0
        budget.spend(100.0, 1.0, 2)
        assert budget.wait(100.0, 2) == pytest.approx(1.0)

    def test_a_boot_a_second_goes_on_for_ever_where_it_takes_half_of_two_processors(self) -> None:
        budget = BootBudget()
        for second in range(1000):
            budget.spend(float(second), 1.0, 2)
            assert budget.wait(float(second), 2) == 0.0

    def test_it_is_earned_again(self) -> None:
        budget = BootBudget()
        budget.spend(0.0, 30.0, 4)
        assert budget.wait(0.0, 4) == pytest.approx(5.0)
        assert budget.wait(4.0, 4) == pytest.approx(1.0)
        assert budget.wait(1000.0, 4) == 0.0

    def test_a_debt_is_paid_soon(self) -> None:
        budget = BootBudget()
        for _ in range(100):
            budget.spend(0.0, 100.0, 4)
        assert budget.wait(0.0, 4) == LONGEST_DEBT

    @given(st.floats(0.0, 0.1), st.integers(1, 64))
    def test_boots_that_cost_nothing_are_bounded_too(self, cost: float, workers: int) -> None:
        budget, boots = BootBudget(), 0
        while budget.wait(0.0, workers) == 0.0:
            budget.spend(0.0, cost, workers)
            boots += 1
        assert boots <= 1 + workers * BOOT_SHARE * BUDGET_DEPTH / CHEAPEST_BOOT

    def test_a_clock_that_stands_still_or_goes_back_earns_nothing(self) -> None:
        budget = BootBudget()
        budget.spend(100.0, 8.0, 1)
        assert budget.wait(90.0, 1) == budget.wait(100.0, 1)
