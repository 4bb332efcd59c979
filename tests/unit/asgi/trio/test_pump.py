"""That trio has its turn when there is a reason for it, and without its thread while there is work."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
import trio
import trio.testing
import uvloop

from appserver.asgi.trio.guest import Guest
from appserver.asgi.trio.pump import IDLE

Act = Callable[[], Coroutine[Any, Any, None]]


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def pumped(request: pytest.FixtureRequest) -> Callable[[Act], Guest]:
    """Run a coroutine function in trio on an event loop; returns the guest, which has ended."""

    def pumped(act: Act) -> Guest:
        async def body() -> Guest:
            guest = Guest(asyncio.get_running_loop())
            await guest.start(lambda error: None)
            assert guest.pump.works, "this release of trio does not show what the pump looks for"
            done: asyncio.Future[None] = guest.loop.create_future()

            class Call:
                async def run(self) -> None:
                    try:
                        await act()
                    except BaseException as error:  # noqa: BLE001  # it is the test's
                        done.set_exception(error)
                    else:
                        done.set_result(None)
                    guest.forget(self)

                def abandon(self, error: BaseException) -> None:
                    done.set_exception(error)

            guest.start_soon(Call(), "test")
            await asyncio.wait_for(done, 60)
            assert await guest.end(30)
            return guest

        with asyncio.Runner(loop_factory=request.param) as runner:
            return runner.run(body())

    return pumped


@pytest.mark.parametrize("seconds", [0.0, IDLE / 5, IDLE * 3])
def test_deadlines(pumped: Callable[[Act], Guest], seconds: float) -> None:
    async def act() -> None:
        began = time.perf_counter()
        await trio.sleep(seconds)
        assert time.perf_counter() - began >= seconds
        with trio.move_on_after(seconds) as scope:
            await trio.sleep_forever()
        assert scope.cancelled_caught

    pumped(act)


@pytest.mark.parametrize("pause", [0.0, IDLE / 5, IDLE * 3])
def test_threads_and_sockets_wake_it(pumped: Callable[[Act], Guest], pause: float) -> None:
    async def act() -> None:
        one, other = trio.socket.socketpair()
        with one, other:
            for _ in range(20 if pause < IDLE else 2):
                await trio.to_thread.run_sync(time.sleep, pause)
                await one.send(b"x")
                assert await other.recv(1) == b"x"

                async def write() -> None:
                    await trio.sleep(pause)
                    await one.send(b"y")

                async with trio.open_nursery() as nursery:
                    nursery.start_soon(write)
                    assert await other.recv(1) == b"y"

    pumped(act)


@pytest.mark.parametrize("pause", [0.0, IDLE * 3])
def test_callbacks_of_the_event_loop_wake_it(pumped: Callable[[Act], Guest], pause: float) -> None:
    async def act() -> None:
        event = trio.Event()
        asyncio.get_running_loop().call_later(pause, event.set)
        await event.wait()

    pumped(act)


def test_a_deadline_changed_by_the_event_loop_holds(pumped: Callable[[Act], Guest]) -> None:
    async def act() -> None:
        with trio.CancelScope() as scope:

            def change() -> None:
                scope.deadline = trio.current_time() + 0.01

            asyncio.get_running_loop().call_later(IDLE * 2, change)
            await trio.sleep(3600)
        assert scope.cancelled_caught

    pumped(act)


def test_waiting_for_all_to_be_blocked(pumped: Callable[[Act], Guest]) -> None:
    async def act() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()

    pumped(act)


def test_programs(pumped: Callable[[Act], Guest]) -> None:
    async def act() -> None:
        done = await trio.run_process(["echo", "said"], capture_stdout=True)
        assert done.stdout == b"said\n"

    pumped(act)


def test_tasks_that_go_on_for_ever_let_the_event_loop_have_its_turn(pumped: Callable[[Act], Guest]) -> None:
    async def act() -> None:
        turns: list[None] = []
        asyncio.get_running_loop().call_later(0.01, turns.append, None)
        while not turns:
            await trio.lowlevel.checkpoint()

    pumped(act)


def test_nothing_is_left_open(pumped: Callable[[Act], Guest]) -> None:
    async def act() -> None:
        await trio.sleep(IDLE * 2)

    pumped(act)
    with socket.socket() as before:
        number = before.fileno()
    pumped(act)
    with socket.socket() as after:
        assert after.fileno() <= number
