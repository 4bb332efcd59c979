"""What an application is told that awaits what belongs to the other library."""

from __future__ import annotations

import asyncio
import time
import traceback
from collections.abc import Awaitable, Callable
from typing import Literal

import pytest
import trio

from appserver.asgi.trio import TrioAdapter
from appserver.asgi.trio.mistakes import advice, explain
from appserver.asgi.types import Message, Receive, Scope, Send

LIBRARIES: tuple[Literal["asyncio", "trio"], ...] = ("asyncio", "trio")


async def task_group() -> None:
    async with asyncio.TaskGroup():
        pass


async def nursery() -> None:
    async with trio.open_nursery():
        pass


async def within_a_group() -> None:
    async with trio.open_nursery() as within:
        within.start_soon(asyncio.sleep, 1)


async def nothing() -> Message:
    raise AssertionError


async def nowhere(message: Message) -> None:
    raise AssertionError


@pytest.mark.parametrize(
    "act",
    [
        lambda: asyncio.sleep(1),
        lambda: asyncio.to_thread(time.sleep, 0.5),  # what is over at once is not waited for under Python 3.14
        lambda: asyncio.timeout(1).__aenter__(),
        task_group,
        within_a_group,
    ],
    ids=["sleep", "to_thread", "timeout", "TaskGroup", "within a nursery"],
)
def test_asyncio_under_trio(act: Callable[[], Awaitable[object]]) -> None:
    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        await act()

    async def body() -> BaseException:
        adapter = TrioAdapter(application)
        await adapter.start(lambda error: None)
        try:
            await adapter({"type": "http"}, nothing, nowhere)
        except Exception as error:  # noqa: BLE001  # it is looked at
            return error
        finally:
            assert await adapter.end(30)
        raise AssertionError

    error = asyncio.run(body())
    assert "awaits something of asyncio, but runs under trio" in "".join(traceback.format_exception(error))
    assert 'app.async_library = "asyncio"' in advice(error)


@pytest.mark.parametrize(
    "act",
    [
        trio.sleep_forever,
        trio.lowlevel.checkpoint,
        lambda: trio.to_thread.run_sync(int),
        nursery,
        trio.Event().wait,
    ],
    ids=["sleep", "checkpoint", "to_thread", "nursery", "event"],
)
def test_trio_under_asyncio(act: Callable[[], Awaitable[object]]) -> None:
    async def body() -> BaseException:
        try:
            await act()
        except Exception as error:  # noqa: BLE001  # it is looked at
            return error
        raise AssertionError

    error = asyncio.run(body())
    for _ in range(2):
        explain(error, "asyncio")
    assert "".join(traceback.format_exception(error)).count('set app.async_library = "trio"') == 1
    assert 'app.async_library = "trio"' in advice(error)
    assert advice(error) == advice(None, "".join(traceback.format_exception(error)).partition("\nthe application")[0])


@pytest.mark.parametrize(
    "error", [ValueError("must be called from async context"), TypeError("trio"), RuntimeError("x")]
)
def test_other_errors_are_left_alone(error: Exception) -> None:
    for library in LIBRARIES:
        explain(error, library)
    assert not hasattr(error, "__notes__")
    assert advice(error, "some traceback") == ""
    assert advice(None) == ""
