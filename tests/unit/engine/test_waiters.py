"""appserver.engine.waiters."""

from __future__ import annotations

import asyncio

from appserver.engine.waiters import Waiters
from tests.unit.engine.world import run, settle


def test_everybody_who_waits_is_woken_and_nobody_who_came_later() -> None:
    async def scenario() -> None:
        waiters = Waiters(asyncio.get_running_loop())
        early = [asyncio.ensure_future(waiters.wait()) for _ in range(3)]
        await settle()
        waiters.wake()
        late = asyncio.ensure_future(waiters.wait())
        await settle()
        assert all(waiter.done() for waiter in early)
        assert not late.done()
        waiters.wake()
        await late

    run(scenario)


def test_cancelling_one_concerns_no_other() -> None:
    async def scenario() -> None:
        waiters = Waiters(asyncio.get_running_loop())
        first, second = (asyncio.ensure_future(waiters.wait()) for _ in range(2))
        await settle()
        first.cancel()
        waiters.wake()
        await settle()
        assert first.cancelled()
        assert second.done()
        assert not second.cancelled()

    run(scenario)


def test_waking_twice_before_a_waiter_has_run_is_harmless() -> None:
    async def scenario() -> None:
        waiters = Waiters(asyncio.get_running_loop())
        waiter = asyncio.ensure_future(waiters.wait())
        await settle()
        waiters.wake()
        waiters.wake()
        await waiter

    run(scenario)
