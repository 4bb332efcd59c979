"""appserver.asgi.wsgi: calls in threads, clients that leave in the middle, calls that are cancelled."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest

from appserver.asgi.types import Message
from appserver.asgi.wsgi import ClientDisconnect, WSGIAdapter
from appserver.asgi.wsgi import body as body_module
from appserver.telemetry.task_stacks import describe_stack
from tests.unit.asgi.wsgi.client import THREADS, Client, serve


class Endless:
    """An application whose response does not end before `stopped` is set; it notes that it was closed."""

    def __init__(self) -> None:
        self.stopped = False
        self.running = threading.Semaphore(0)
        self.closed = threading.Semaphore(0)

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterator[bytes]:
        start_response("200 OK", [])
        try:
            while not self.stopped:
                self.running.release()
                yield b"part"
        finally:
            self.closed.release()

    def assert_closed(self, count: int) -> None:
        for _ in range(count):
            assert self.closed.acquire(timeout=30), "the response was not closed"


def test_errors_of_the_application_go_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        environ["wsgi.errors"].write("a complaint")
        start_response("200 OK", [])
        return []

    serve(application, Client())
    assert capsys.readouterr() == ("", "a complaint")


def test_an_exception_of_the_application_comes_out() -> None:
    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no") as raised:
        serve(application, Client())
    assert [entry.name for entry in raised.traceback][-2:] == ["serve", "application"], "no frame of ours in the thread"


def test_a_client_that_leaves_ends_the_response_and_gives_its_thread_back() -> None:
    application = Endless()
    clients = [Client() for _ in range(3 * THREADS)]
    for client in clients:
        client.gone = True
    serve(application, *clients)
    application.assert_closed(3 * THREADS)


def test_a_cancelled_request_ends_the_response_and_gives_its_thread_back() -> None:
    application = Endless()
    adapter = WSGIAdapter(application, THREADS)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        clients = [Client() for _ in range(THREADS)]
        tasks = [loop.create_task(adapter(client.scope, client.receive, client.send)) for client in clients]
        for _ in tasks:
            assert await loop.run_in_executor(None, application.running.acquire, True, 30)
        for task in tasks:
            task.cancel()
        assert all(isinstance(result, asyncio.CancelledError) for result in await gathered(tasks))
        sent = [len(client.messages) for client in clients]
        try:
            await loop.run_in_executor(None, application.assert_closed, THREADS)
        finally:
            application.stopped = True  # a thread that goes on for ever would keep the tests from ending
        await adapter._threads.close()  # nothing is left of them: all threads were free for others
        assert asyncio.all_tasks() == {asyncio.current_task()}
        assert [len(client.messages) for client in clients] == sent, "sent for a request that was cancelled"

    asyncio.run(main())


def test_a_cancelled_request_that_is_cut_off_by_the_end_of_the_loop_is_quiet() -> None:
    released = threading.Event()
    entered = threading.Event()

    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        entered.set()
        released.wait(30)
        raise ValueError("too late")

    async def main() -> None:
        loop = asyncio.get_running_loop()
        client = Client()
        task = loop.create_task(WSGIAdapter(application, THREADS)(client.scope, client.receive, client.send))
        await loop.run_in_executor(None, entered.wait, 30)
        task.cancel()
        await gathered([task])

    asyncio.run(main())
    released.set()


def test_an_exception_after_the_request_was_cancelled_is_nobodys() -> None:
    complaints: list[dict[str, Any]] = []
    entered, released = threading.Event(), threading.Event()

    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        entered.set()
        released.wait(30)
        raise ValueError("too late")

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: complaints.append(context))
        client = Client()
        adapter = WSGIAdapter(application, THREADS)
        task = loop.create_task(adapter(client.scope, client.receive, client.send))
        await loop.run_in_executor(None, entered.wait, 30)
        task.cancel()
        await gathered([task])
        released.set()
        await adapter._threads.close()

    asyncio.run(main())
    assert complaints == []


def test_a_lifespan_is_answered() -> None:
    sent: list[str] = []
    messages = iter(["lifespan.startup", "lifespan.shutdown"])

    async def receive() -> Message:
        return {"type": next(messages)}

    async def send(message: Message) -> None:
        sent.append(message["type"])

    def application(environ: Any, start_response: Any) -> Iterable[bytes]:
        raise AssertionError("called for a lifespan")

    asyncio.run(WSGIAdapter(application, THREADS)({"type": "lifespan"}, receive, send))
    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


def test_a_shutdown_waits_for_the_threads_of_cancelled_requests() -> None:
    entered, released, done = threading.Event(), threading.Event(), []
    sent: list[str] = []

    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        entered.set()
        released.wait(30)
        done.append(True)
        start_response("200 OK", [])
        return []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        adapter = WSGIAdapter(application, 1)
        messages: asyncio.Queue[Message] = asyncio.Queue()

        async def send(message: Message) -> None:
            sent.append(message["type"])

        lifespan = asyncio.ensure_future(adapter({"type": "lifespan"}, messages.get, send))
        messages.put_nowait({"type": "lifespan.startup"})
        client = Client()
        task = loop.create_task(adapter(client.scope, client.receive, client.send))
        await loop.run_in_executor(None, entered.wait, 30)
        task.cancel()
        await gathered([task])
        messages.put_nowait({"type": "lifespan.shutdown"})
        while sent != ["lifespan.startup.complete"]:
            await asyncio.sleep(0)
        for _ in range(10):
            await asyncio.sleep(0)
        assert not lifespan.done()
        released.set()
        async with asyncio.timeout(30):
            await lifespan

    asyncio.run(main())
    assert (sent, done) == (["lifespan.startup.complete", "lifespan.shutdown.complete"], [True])


def test_a_session_is_refused() -> None:
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    def application(environ: Any, start_response: Any) -> Iterable[bytes]:
        raise AssertionError("called for a session")

    asyncio.run(WSGIAdapter(application, 1)({"type": "websocket"}, Client().receive, send))
    assert [message["type"] for message in sent] == ["websocket.close"]


def test_the_context_of_the_request_is_there_in_the_thread_and_in_the_iterable() -> None:
    variable = contextvars.ContextVar("variable", default="none")
    found: list[str] = []

    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterator[bytes]:
        found.append(variable.get())
        variable.set("the application's own")
        start_response("200 OK", [])
        yield b"x"
        found.append(variable.get())

    async def main() -> None:
        client = Client()
        variable.set("the request's")
        await WSGIAdapter(application, 1)(client.scope, client.receive, client.send)
        found.append(variable.get())

    asyncio.run(main())
    assert found == ["the request's", "the application's own", "the request's"]


class Gate:
    """An application that notes its calls, and answers when it is let through."""

    def __init__(self) -> None:
        self.called: list[str] = []
        self.entered = threading.Semaphore(0)
        self.open = threading.Event()

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        self.called.append(environ["PATH_INFO"])
        self.entered.release()
        assert self.open.wait(30)
        start_response("200 OK", [])
        return [b"done"]


class Meter:
    def __init__(self) -> None:
        self.shown: tuple[int, int, int] = (0, 0, 0)
        self.waits: list[float] = []

    def show_threads(self, size: int, busy: int, waiting: int) -> None:
        self.shown = size, busy, waiting

    def thread_waited(self, seconds: float) -> None:
        self.waits.append(seconds)


async def turns(count: int = 10) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


@pytest.mark.parametrize("pieces", [[], [b"a body"]])
@pytest.mark.parametrize("expects", [True, False])
def test_waiting_requests_of_clients_that_leave_are_never_begun(pieces: list[bytes], expects: bool) -> None:
    gate, meter = Gate(), Meter()
    headers = [(b"content-length", b"6")] if pieces else []
    headers += [(b"expect", b"100-continue")] if expects and pieces else []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        adapter = WSGIAdapter(gate, 2)
        adapter.report_to(meter)
        assert meter.shown == (2, 0, 0)
        paths = ["/1", "/2", "/leaves", "/stays", "/is-cancelled"]
        clients = [Client(*pieces, path=path, headers=headers) for path in paths]
        tasks = [loop.create_task(adapter(client.scope, client.receive, client.send)) for client in clients]
        for _ in range(2):
            assert await loop.run_in_executor(None, gate.entered.acquire, True, 30)
        await turns()
        assert meter.shown == (2, 2, 3)
        clients[2].left.set()
        tasks[4].cancel()
        await turns()
        assert meter.shown == (2, 2, 1)
        assert tasks[2].done()
        assert tasks[4].cancelled()
        gate.open.set()
        await asyncio.wait_for(asyncio.gather(*tasks[:4]), 30)
        assert [client.body for client in clients] == [b"done", b"done", b"", b"done", b""]
        assert meter.shown == (2, 0, 0)
        await adapter._threads.close()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(main())
    assert sorted(gate.called) == ["/1", "/2", "/stays"]
    assert len(meter.waits) == 3
    assert all(seconds >= 0 for seconds in meter.waits)


def test_a_waiting_request_is_not_read_beyond_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(body_module, "LIMIT", 20)
    gate = Gate()

    async def main() -> None:
        loop = asyncio.get_running_loop()
        adapter = WSGIAdapter(gate, 1)
        clients = [Client(), Client(*[b"x" * 10] * 10, leaves=True)]
        tasks = [loop.create_task(adapter(client.scope, client.receive, client.send)) for client in clients]
        assert await loop.run_in_executor(None, gate.entered.acquire, True, 30)
        await turns()
        assert clients[1].received == 2
        gate.open.set()
        await asyncio.wait_for(asyncio.gather(*tasks), 30)

    asyncio.run(main())


def test_the_failure_of_sending_ends_the_call_and_comes_out() -> None:
    class Refusing(Client):
        async def send(self, message: Message) -> None:
            if message["type"] == "http.response.body":
                raise ValueError("not like this")

    application = Endless()
    with pytest.raises(ValueError, match="not like this"):
        serve(application, Refusing())
    application.assert_closed(1)


def test_a_client_that_leaves_in_the_middle_of_its_body_raises_in_the_application() -> None:
    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        environ["wsgi.input"].read()
        raise AssertionError("a shortened body passed for a whole one")

    with pytest.raises(ClientDisconnect):
        serve(application, Client(b"half", headers=[(b"content-length", b"10")], leaves=True))


def test_nothing_of_a_request_stays() -> None:
    class Marker:
        pass

    markers: list[weakref.ref[Marker]] = []

    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        marker = environ["marker"] = Marker()
        markers.append(weakref.ref(marker))
        start_response("200 OK", [])
        return [b"x"]

    async def main() -> None:
        adapter = WSGIAdapter(application, 1)
        client = Client()
        gc.disable()
        try:
            await adapter(client.scope, client.receive, client.send)
            async with asyncio.timeout(30):
                while markers[0]() is not None:  # the thread lets go of it when it waits again
                    await asyncio.sleep(0)
        finally:
            gc.enable()

    asyncio.run(main())


def test_the_stack_of_a_call_shows_where_its_thread_stands() -> None:
    gate = Gate()

    async def main() -> None:
        loop = asyncio.get_running_loop()
        client = Client()
        task = loop.create_task(WSGIAdapter(gate, 1)(client.scope, client.receive, client.send))
        assert await loop.run_in_executor(None, gate.entered.acquire, True, 30)
        deadline = time.monotonic() + 30
        while "self.open.wait(30)" not in (stack := describe_stack(task)):
            assert time.monotonic() < deadline, stack
        gate.open.set()
        await task

    asyncio.run(main())


async def gathered(tasks: list[asyncio.Task[None]]) -> list[BaseException | None]:
    return await asyncio.gather(*tasks, return_exceptions=True)
