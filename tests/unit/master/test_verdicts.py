"""Who hears which verdict on a reload."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from appserver.master.verdicts import Verdict, Verdicts


def in_a_loop(body: Callable[[Verdicts], None]) -> None:
    async def run() -> None:
        body(Verdicts())

    asyncio.run(run())


def test_a_request_hears_of_its_own_reload_not_of_the_one_that_is_under_way() -> None:
    def body(verdicts: Verdicts) -> None:
        first, second = verdicts.expect(newer_than=1), verdicts.expect(newer_than=2)
        verdicts.give(Verdict("ok", "generation 2 serves", 2))
        assert first.result().generation == 2
        assert not second.done()
        verdicts.give(Verdict("rolled_back", "boom", 3))
        assert second.result().reason == "boom"
        assert verdicts.last is second.result()

    in_a_loop(body)


def test_requests_that_became_one_reload_all_hear_of_it() -> None:
    def body(verdicts: Verdicts) -> None:
        waiting = [verdicts.expect(newer_than=2) for _ in range(3)]
        verdicts.give(Verdict("ok", "generation 3 serves", 3))
        assert {future.result().generation for future in waiting} == {3}

    in_a_loop(body)


def test_a_verdict_without_a_generation_is_for_all() -> None:
    def body(verdicts: Verdicts) -> None:
        waiting = [verdicts.expect(newer_than=number) for number in (1, 7)]
        verdicts.give(Verdict("refused", "the server is stopping"))
        assert {future.result().result for future in waiting} == {"refused"}

    in_a_loop(body)


def test_a_refused_reload_is_told_to_whoever_asked_and_to_nobody_else() -> None:
    def body(verdicts: Verdicts) -> None:
        waiting = verdicts.expect(newer_than=1)
        refused = verdicts.refuse("server.toml: not TOML")
        assert refused.result().result == "refused"
        assert verdicts.last is refused.result()
        assert not waiting.done()

    in_a_loop(body)


def test_one_that_has_stopped_waiting_is_passed_over() -> None:
    def body(verdicts: Verdicts) -> None:
        gone, waiting = verdicts.expect(newer_than=1), verdicts.expect(newer_than=1)
        gone.cancel()
        verdicts.give(Verdict("ok", "generation 2 serves", 2))
        assert waiting.done()

    in_a_loop(body)
