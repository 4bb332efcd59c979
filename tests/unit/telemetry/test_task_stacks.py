"""Stacks of asyncio tasks, on both event loops."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
import uvloop

from appserver.telemetry.task_stacks import describe_stack, describe_tasks

LOOPS: list[Callable[[], asyncio.AbstractEventLoop]] = [asyncio.new_event_loop, uvloop.new_event_loop]


async def _wait_here(event: asyncio.Event) -> None:
    await event.wait()  # the innermost line of ours


async def _middle(event: asyncio.Event) -> None:
    await _wait_here(event)


async def _numbers(event: asyncio.Event) -> AsyncIterator[int]:
    await _wait_here(event)
    yield 1


async def _iterate(event: asyncio.Event) -> None:
    async for _ in _numbers(event):
        pass


@pytest.mark.parametrize("loop", LOOPS)
def test_a_waiting_task_is_shown_down_to_the_await_that_does_not_return(
    loop: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    async def body() -> str:
        event = asyncio.Event()
        task = asyncio.create_task(_middle(event), name="the task")
        await asyncio.sleep(0)
        described = describe_tasks(asyncio.get_running_loop())
        event.set()
        await task
        return described

    with asyncio.Runner(loop_factory=loop) as runner:
        described = runner.run(body())
    title, *frames = described[described.index("the task") :].splitlines()
    assert title == "the task: _middle"
    assert [line.rsplit(" in ")[-1] for line in frames[::2]][:3] == ["_middle", "_wait_here", "wait"]
    assert "await event.wait()  # the innermost line of ours" in described
    assert "body" in described  # the task that asks is one, too


def test_a_task_that_has_ended_stands_nowhere() -> None:
    async def body() -> str:
        task = asyncio.create_task(asyncio.sleep(0))
        await task
        return describe_stack(task)

    assert asyncio.run(body()) == ""


def test_a_task_in_an_asynchronous_generator_is_shown_at_least_to_its_loop() -> None:
    async def body() -> str:
        event = asyncio.Event()
        task = asyncio.create_task(_iterate(event))
        await asyncio.sleep(0)
        described = describe_stack(task)
        event.set()
        await task
        return described

    assert "in _iterate" in asyncio.run(body())
