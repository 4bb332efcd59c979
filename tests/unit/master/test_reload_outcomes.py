"""Who hears which outcome on a reload."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from appserver.master.reload_outcomes import ReloadOutcome, ReloadOutcomes


def in_a_loop(body: Callable[[ReloadOutcomes], None]) -> None:
    async def run() -> None:
        body(ReloadOutcomes())

    asyncio.run(run())


def test_a_request_hears_of_its_own_reload_not_of_the_one_that_is_under_way() -> None:
    def body(reload_outcomes: ReloadOutcomes) -> None:
        first, second = reload_outcomes.expect(newer_than=1), reload_outcomes.expect(newer_than=2)
        reload_outcomes.give(ReloadOutcome("ok", "generation 2 serves", 2))
        assert first.result().generation == 2
        assert not second.done()
        reload_outcomes.give(ReloadOutcome("rolled_back", "boom", 3))
        assert second.result().reason == "boom"
        assert reload_outcomes.last is second.result()

    in_a_loop(body)


def test_requests_that_became_one_reload_all_hear_of_it() -> None:
    def body(reload_outcomes: ReloadOutcomes) -> None:
        waiting = [reload_outcomes.expect(newer_than=2) for _ in range(3)]
        reload_outcomes.give(ReloadOutcome("ok", "generation 3 serves", 3))
        assert {future.result().generation for future in waiting} == {3}

    in_a_loop(body)


def test_a_verdict_without_a_generation_is_for_all() -> None:
    def body(reload_outcomes: ReloadOutcomes) -> None:
        waiting = [reload_outcomes.expect(newer_than=number) for number in (1, 7)]
        reload_outcomes.give(ReloadOutcome("refused", "the server is stopping"))
        assert {future.result().result for future in waiting} == {"refused"}

    in_a_loop(body)


def test_a_refused_reload_is_told_to_whoever_asked_and_to_nobody_else() -> None:
    def body(reload_outcomes: ReloadOutcomes) -> None:
        waiting = reload_outcomes.expect(newer_than=1)
        refused = reload_outcomes.refuse("server.toml: not TOML")
        assert refused.result().result == "refused"
        assert reload_outcomes.last is refused.result()
        assert not waiting.done()

    in_a_loop(body)


def test_one_that_has_stopped_waiting_is_passed_over() -> None:
    def body(reload_outcomes: ReloadOutcomes) -> None:
        gone, waiting = reload_outcomes.expect(newer_than=1), reload_outcomes.expect(newer_than=1)
        gone.cancel()
        reload_outcomes.give(ReloadOutcome("ok", "generation 2 serves", 2))
        assert waiting.done()

    in_a_loop(body)
