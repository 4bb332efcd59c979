"""What is said of an invocation whose time is up: only of an event loop that does not run is it said that it is blocked."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from contextvars import Context
from typing import Any, TypeVarTuple

from appserver.aws.adapter import Invocation
from appserver.aws.watch import PATIENCE, Watch

MARGIN = 0.25

Arguments = TypeVarTuple("Arguments")


class Log:
    """Takes records; `reported` is set with the first error."""

    def __init__(self) -> None:
        self.records: list[tuple[str, dict[str, Any]]] = []
        self.reported = threading.Event()

    def error(self, event: str, **fields: Any) -> None:
        self.records.append((event, fields))
        self.reported.set()

    debug = info = warning = error


class Loop(asyncio.SelectorEventLoop):
    """Counts how often another thread has asked for a turn."""

    asked = 0

    def call_soon_threadsafe(
        self, callback: Callable[[*Arguments], object], *args: *Arguments, context: Context | None = None
    ) -> asyncio.Handle:
        self.asked += 1
        return super().call_soon_threadsafe(callback, *args, context=context)


async def while_overdue(log: Log, act: Callable[[], Awaitable[None]]) -> None:
    """Let something run while the time of an invocation is up."""
    watch = Watch(log, MARGIN)
    invocation = Invocation({}, None, "request-1", time.monotonic() - 1)
    watch.begin(invocation)
    try:
        async with asyncio.timeout(30):
            await act()
    finally:
        watch.end(invocation)
        watch.close()


def test_a_loop_that_waits_for_lambda_is_not_blocked() -> None:
    log = Log()

    async def wait() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, Loop)
        while loop.asked < 2 * PATIENCE:
            await asyncio.sleep(0.01)

    with asyncio.Runner(loop_factory=Loop) as runner:
        runner.run(while_overdue(log, wait))
    assert log.records == []


def test_what_blocks_the_loop_is_shown_once() -> None:
    log = Log()

    async def block() -> None:
        assert log.reported.wait(30)

    asyncio.run(while_overdue(log, block))
    [(event, fields)] = log.records
    assert event == "event loop blocked"
    assert fields["request_id"] == "request-1"
    assert "log.reported.wait(30)" in fields["stack"]
