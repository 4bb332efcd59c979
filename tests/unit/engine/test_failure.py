"""appserver.engine.failure: where a task waits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from appserver.engine.failure import describe_stack
from tests.unit.engine.world import run, settle


def test_the_stack_of_a_task_goes_down_to_what_it_waits_for() -> None:
    async def outer() -> None:
        await middle()

    async def middle() -> None:
        async for _ in numbers():
            pass

    async def numbers() -> AsyncIterator[int]:
        yield 1
        await inner()
        yield 2

    async def inner() -> None:
        await asyncio.get_running_loop().create_future()

    async def scenario() -> None:
        task = asyncio.ensure_future(outer())
        await settle()
        stack = describe_stack(task)
        task.cancel()
        await settle()
        lines = [line.split(" in ")[1] for line in stack.splitlines() if " in " in line]
        assert lines[:2] == ["outer", "middle"]
        assert "async for _ in numbers()" in stack

    run(scenario)


def test_an_ended_task_has_none() -> None:
    async def brief() -> None:
        pass

    async def scenario() -> None:
        task = asyncio.ensure_future(brief())
        await task
        assert describe_stack(task) == ""

    run(scenario)
