"""Calls of an application that runs under trio, from tasks of asyncio: what comes back, and how either side cancels."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest
import sniffio
import trio
import uvloop

from appserver.asgi.trio import TrioAdapter
from appserver.asgi.types import ASGIApplication, Message, Receive, Scope, Send

HTTP: Scope = {"type": "http"}
LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}

Body = Callable[[], Coroutine[Any, Any, None]]


@pytest.fixture(params=LOOPS)
def run(request: pytest.FixtureRequest) -> Callable[[Body], None]:
    """Run a coroutine function in an event loop."""

    def run(body: Body) -> None:
        with asyncio.Runner(loop_factory=LOOPS[request.param]) as runner:
            runner.run(asyncio.wait_for(body(), 60))

    return run


@asynccontextmanager
async def adapted(application: ASGIApplication) -> AsyncIterator[TrioAdapter]:
    crashes: list[BaseException] = []
    adapter = TrioAdapter(application)
    await adapter.start(crashes.append)
    try:
        yield adapter
    finally:
        assert await adapter.end(30)
    assert crashes == []


async def nothing() -> Message:
    return {"type": "http.disconnect"}


async def nowhere(message: Message) -> None:
    pass


def doing(body: Callable[[], Awaitable[object]]) -> ASGIApplication:
    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        await body()

    return application


def test_messages_go_both_ways(run: Callable[[Body], None]) -> None:
    sent: list[Message] = []

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        assert sniffio.current_async_library() == "trio"
        await trio.lowlevel.checkpoint()
        message = await receive()
        await trio.to_thread.run_sync(int)
        await send({"scope": scope["type"], **message})

    async def send(message: Message) -> None:
        sent.append(message)

    async def body() -> None:
        async with adapted(application) as adapter:
            await adapter(HTTP, nothing, send)

    run(body)
    assert sent == [{"scope": "http", "type": "http.disconnect"}]


def test_waiting_on_asyncios_side_lets_trios_tasks_go_on(run: Callable[[Body], None]) -> None:
    noted: list[str] = []

    async def body() -> None:
        release = asyncio.get_running_loop().create_future()

        async def beside() -> None:
            noted.append("beside")
            release.set_result(None)

        async def application(scope: Scope, receive: Receive, send: Send) -> None:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(beside)
                noted.append((await receive())["type"])
                await send({})

        async def receive() -> Message:
            await release
            await asyncio.sleep(0)  # yields no future
            return {"type": "received"}

        async def send(message: Message) -> None:
            await asyncio.sleep(0.001)
            noted.append("sent")

        async with adapted(application) as adapter:
            await adapter(HTTP, receive, send)

    run(body)
    assert noted == ["beside", "received", "sent"]


@pytest.mark.parametrize(
    "error",
    [
        ValueError("x"),
        SystemExit(3),
        KeyboardInterrupt(),
        asyncio.CancelledError(),
        BaseException("y"),
        GeneratorExit(),
    ],
    ids=repr,
)
def test_what_the_application_raises_is_raised(run: Callable[[Body], None], error: BaseException) -> None:
    async def fail() -> None:
        raise error

    async def body() -> None:
        async with adapted(doing(fail)) as adapter:
            with pytest.raises(type(error)) as raised:
                await adapter(HTTP, nothing, nowhere)
            assert raised.value is error

    run(body)


def test_what_asyncios_side_raises_is_raised_in_the_application(run: Callable[[Body], None]) -> None:
    async def receive() -> Message:
        await asyncio.sleep(0)
        raise ConnectionError("gone")

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        with pytest.raises(ConnectionError):
            await receive()
        with pytest.raises(BrokenPipeError):
            await send({})

    async def send(message: Message) -> None:
        raise BrokenPipeError

    async def body() -> None:
        async with adapted(application) as adapter:
            await adapter(HTTP, receive, send)

    run(body)


def test_an_exit_within_a_nursery_is_an_exit(run: Callable[[Body], None]) -> None:
    async def leave() -> None:
        raise SystemExit(7)

    async def in_nurseries() -> None:
        async with trio.open_nursery() as outer, trio.open_nursery() as inner:
            outer.start_soon(trio.sleep_forever)
            inner.start_soon(leave)

    async def body() -> None:
        async with adapted(doing(in_nurseries)) as adapter:
            with pytest.raises(SystemExit) as raised:
                await adapter(HTTP, nothing, nowhere)
            assert raised.value.code == 7

    run(body)


def test_other_errors_within_a_nursery_stay_a_group(run: Callable[[Body], None]) -> None:
    async def fail() -> None:
        raise ValueError("x")

    async def in_nursery() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fail)
            await trio.sleep_forever()

    async def body() -> None:
        async with adapted(doing(in_nursery)) as adapter:
            with pytest.raises(ExceptionGroup) as raised:
                await adapter(HTTP, nothing, nowhere)
            assert raised.group_contains(ValueError)

    run(body)


@pytest.mark.parametrize("where", ["in trio", "in receive", "in a thread's answer"])
def test_cancelling_the_task_cancels_the_application_and_waits_for_it(run: Callable[[Body], None], where: str) -> None:
    noted: list[str] = []

    async def body() -> None:
        reached = asyncio.Event()

        async def for_ever() -> Message:
            try:
                reached.set()
                await asyncio.get_running_loop().create_future()
            finally:
                noted.append("asyncio's side ended")
            raise AssertionError

        async def application(scope: Scope, receive: Receive, send: Send) -> None:
            try:
                if where == "in receive":
                    await receive()
                elif where == "in trio":
                    reached.set()
                    await trio.sleep_forever()
                else:
                    await trio.to_thread.run_sync(asyncio_loop.call_soon_threadsafe, reached.set)
                    await trio.to_thread.run_sync(trio.from_thread.run, trio.sleep_forever)
            finally:
                with trio.CancelScope(shield=True):
                    await trio.sleep(0.02)
                noted.append("cleaned up")

        asyncio_loop = asyncio.get_running_loop()
        async with adapted(application) as adapter:
            task = asyncio.create_task(adapter(HTTP, for_ever, nowhere))
            await reached.wait()
            task.cancel()
            await asyncio.sleep(0)
            assert not task.done()
            task.cancel()  # once more changes nothing
            with pytest.raises(asyncio.CancelledError):
                await task

    run(body)
    assert noted == (["asyncio's side ended"] if where == "in receive" else []) + ["cleaned up"]


def test_an_application_may_end_a_cancellation_in_its_own_way(run: Callable[[Body], None]) -> None:
    async def body() -> None:
        async def stubborn() -> None:
            reached.set()
            with trio.CancelScope(shield=True):
                await trio.sleep(0.02)

        async def other_error() -> None:
            reached.set()
            try:
                await trio.sleep_forever()
            finally:
                raise ValueError("in the end")

        for act in (stubborn, other_error):
            reached = asyncio.Event()
            async with adapted(doing(act)) as adapter:
                task = asyncio.create_task(adapter(HTTP, nothing, nowhere))
                await reached.wait()
                task.cancel()
                if act is stubborn:
                    await task
                else:
                    with pytest.raises(ValueError, match="in the end"):
                        await task

    run(body)


def test_a_wait_that_is_over_when_it_is_cancelled_is_taken_once(run: Callable[[Body], None]) -> None:
    """The future is done, its callback scheduled, and the task of trio cancelled before that runs."""

    async def body() -> None:
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        scope = trio.CancelScope()
        reached = asyncio.Event()

        async def receive() -> Message:
            reached.set()
            await future
            return {"type": "received"}

        async def application(_: Scope, receive: Receive, send: Send) -> None:
            with scope:
                await receive()
            assert scope.cancelled_caught
            await trio.sleep(0.01)

        async with adapted(application) as adapter:
            task = asyncio.create_task(adapter(HTTP, receive, nowhere))
            await reached.wait()
            await asyncio.sleep(0)
            future.set_result(None)
            scope.cancel()
            await task

    run(body)


def test_ending_cancels_what_runs(run: Callable[[Body], None]) -> None:
    async def body() -> None:
        adapter = TrioAdapter(doing(trio.sleep_forever))
        await adapter.start(lambda error: None)
        task = asyncio.create_task(adapter(HTTP, nothing, nowhere))
        await asyncio.sleep(0.01)
        assert await adapter.end(30)
        with pytest.raises(asyncio.CancelledError):
            await task
        with pytest.raises(RuntimeError, match="trio has ended"):
            await adapter(HTTP, nothing, nowhere)

    run(body)


def test_what_does_not_let_itself_be_cancelled_does_not_hold_the_end_up(run: Callable[[Body], None]) -> None:
    async def body() -> None:
        reached, release = asyncio.Event(), trio.Event()

        async def shielded() -> None:
            with trio.CancelScope(shield=True):
                reached.set()
                await release.wait()

        adapter = TrioAdapter(doing(shielded))
        await adapter.start(lambda error: None)
        task = asyncio.create_task(adapter(HTTP, nothing, nowhere))
        await reached.wait()
        assert not await adapter.end(0.05)
        release.set()
        await task
        assert await adapter.end(30)

    run(body)


def test_a_crash_of_trio_fails_what_runs_and_is_told(run: Callable[[Body], None]) -> None:
    async def body() -> None:
        async def fail() -> None:
            raise ValueError("of a system task")

        async def crash() -> None:
            trio.lowlevel.spawn_system_task(fail)
            await trio.sleep_forever()

        told: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()
        adapter = TrioAdapter(doing(crash))
        await adapter.start(told.set_result)
        with pytest.raises((asyncio.CancelledError, RuntimeError)):
            await asyncio.create_task(adapter(HTTP, nothing, nowhere))
        assert isinstance(await told, trio.TrioInternalError)
        with pytest.raises(RuntimeError, match="trio has crashed"):
            await adapter(HTTP, nothing, nowhere)
        assert await adapter.end(30)

    run(body)


def test_an_application_that_cancels_everything_is_a_crash(run: Callable[[Body], None]) -> None:
    async def body() -> None:
        told: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()
        reached, release = asyncio.Event(), trio.Event()

        async def cancel_all() -> None:
            nursery = trio.lowlevel.current_task().parent_nursery
            assert nursery is not None
            nursery.cancel_scope.cancel()
            with trio.CancelScope(shield=True):
                reached.set()
                await release.wait()

        adapter = TrioAdapter(doing(cancel_all))
        await adapter.start(told.set_result)
        task = asyncio.create_task(adapter(HTTP, nothing, nowhere))
        await reached.wait()
        assert "has been cancelled" in str(await told)
        with pytest.raises(RuntimeError, match="trio has crashed"):
            await adapter(HTTP, nothing, nowhere)
        release.set()
        await task
        assert await adapter.end(30)

    run(body)


def test_trio_runs_once_in_a_thread(run: Callable[[Body], None]) -> None:
    async def body() -> None:
        async with adapted(doing(trio.sleep_forever)):
            with pytest.raises(Exception, match="does not run as a guest of") as raised:
                await TrioAdapter(doing(trio.sleep_forever)).start(lambda error: None)
            assert type(raised.value).__name__ == "StartupError"

    run(body)


def test_the_context_of_the_call_is_that_of_the_application(run: Callable[[Body], None]) -> None:
    number: contextvars.ContextVar[int] = contextvars.ContextVar("number")
    found: list[int] = []

    async def look() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(note)

    async def note() -> None:
        await trio.lowlevel.checkpoint()
        found.append(number.get())

    async def body() -> None:
        async def call(value: int) -> None:
            number.set(value)
            await adapter(HTTP, nothing, nowhere)

        async with adapted(doing(look)) as adapter:
            await asyncio.gather(*map(call, range(4)))

    run(body)
    assert sorted(found) == [0, 1, 2, 3]


def test_tasks_of_the_application_are_described(run: Callable[[Body], None]) -> None:
    async def body() -> None:
        reached = asyncio.Event()

        async def waits_for_ever() -> None:
            reached.set()
            await trio.sleep_forever()

        async def application() -> None:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(waits_for_ever, name="the child")

        async with adapted(doing(application)) as adapter:
            task = asyncio.create_task(adapter(HTTP, nothing, nowhere))
            await reached.wait()
            text = adapter.describe_tasks()
            assert "trio task the child, child of http" in text
            assert "in waits_for_ever" in text
            assert "trio task http" not in text
            assert "trio task http, child of" in adapter.describe_tasks(calls=True)
            task.cancel()
            await asyncio.wait([task])

    run(body)
