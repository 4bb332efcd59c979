"""appserver.asgi.wsgi: WSGI applications, and clients that leave in the middle."""

from __future__ import annotations

import asyncio
import io
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest

from appserver.asgi.types import Message, Scope
from appserver.asgi.wsgi import WSGIAdapter

WORKERS = 10
"""The number of a2wsgi's threads."""


class Client:
    """The other side of one request: what it sends, what it got, and when it leaves."""

    def __init__(self, *, body: bytes = b"", headers: list[tuple[bytes, bytes]] | None = None) -> None:
        self.messages: list[Message] = []
        self.gone = False
        self._body = body
        self.scope: Scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.5"},
            "http_version": "1.1",
            "method": "POST",
            "scheme": "http",
            "path": "/",
            "query_string": b"a=1",
            "root_path": "",
            "headers": headers or [],
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 2),
        }

    async def receive(self) -> Message:
        return {"type": "http.request", "body": self._body}

    async def send(self, message: Message) -> None:
        if self.gone:
            raise ConnectionResetError("the client has gone")
        self.messages.append(message)

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.messages)


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
            assert self.closed.acquire(timeout=5), "the response was not closed"


def run(adapter: WSGIAdapter, *clients: Client) -> None:
    """Serve the requests of some clients at once, until they are done."""

    async def main() -> None:
        async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
            for client in clients:
                tasks.create_task(adapter(client.scope, client.receive, client.send))

    asyncio.run(main())


def test_a_request_is_answered() -> None:
    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        start_response("201 Created", [("X-Query", environ["QUERY_STRING"])])
        return [b"you sent ", environ["wsgi.input"].read()]

    client = Client(body=b"a body")
    run(WSGIAdapter(application), client)
    assert client.messages[0] == {"type": "http.response.start", "status": 201, "headers": [(b"x-query", b"a=1")]}
    assert client.body == b"you sent a body"


def test_errors_of_the_application_go_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        environ["wsgi.errors"].write("a complaint")
        start_response("200 OK", [])
        return []

    run(WSGIAdapter(application), Client())
    assert capsys.readouterr() == ("", "a complaint")


def test_an_exception_of_the_application_comes_out() -> None:
    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        raise ValueError("no")

    with pytest.raises(ExceptionGroup) as raised:
        run(WSGIAdapter(application), Client())
    assert raised.group_contains(ValueError, match="no")


def test_a_response_is_closed_at_its_end() -> None:
    response = io.BytesIO(b"one\ntwo\n")

    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        start_response("200 OK", [])
        return response

    client = Client()
    run(WSGIAdapter(application), client)
    assert client.body == b"one\ntwo\n"
    assert response.closed


def test_a_client_that_leaves_ends_the_response_and_gives_its_thread_back() -> None:
    application = Endless()
    adapter = WSGIAdapter(application)
    clients = [Client() for _ in range(WORKERS)]
    for client in clients:
        client.gone = True
    run(adapter, *clients)
    application.assert_closed(WORKERS)


def test_a_cancelled_request_ends_the_response_and_gives_its_thread_back() -> None:
    application = Endless()
    adapter = WSGIAdapter(application)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        clients = [Client() for _ in range(WORKERS)]
        tasks = [loop.create_task(adapter(client.scope, client.receive, client.send)) for client in clients]
        for _ in tasks:
            assert await loop.run_in_executor(None, application.running.acquire, True, 5)
        for task in tasks:
            task.cancel()
        assert all(isinstance(result, asyncio.CancelledError) for result in await gathered(tasks))
        sent = [len(client.messages) for client in clients]
        try:
            await loop.run_in_executor(None, application.assert_closed, WORKERS)
        finally:
            application.stopped = True  # a thread that goes on for ever would keep the tests from ending
        # Nothing is left of them: all threads are free for others.
        await asyncio.wait(asyncio.all_tasks() - {asyncio.current_task()}, timeout=5)
        assert asyncio.all_tasks() == {asyncio.current_task()}
        assert [len(client.messages) for client in clients] == sent, "sent for a request that was cancelled"

    asyncio.run(main())


def test_a_cancelled_request_that_is_cut_off_by_the_end_of_the_loop_is_quiet() -> None:
    released = threading.Event()
    entered = threading.Event()

    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        entered.set()
        released.wait(10)
        raise ValueError("too late")

    async def main() -> None:
        loop = asyncio.get_running_loop()
        client = Client()
        task = loop.create_task(WSGIAdapter(application)(client.scope, client.receive, client.send))
        await loop.run_in_executor(None, entered.wait, 5)
        task.cancel()
        await gathered([task])

    asyncio.run(main())
    released.set()


def test_an_exception_after_the_request_was_cancelled_is_nobodys() -> None:
    complaints: list[dict[str, Any]] = []
    entered, released = threading.Event(), threading.Event()

    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        entered.set()
        released.wait(10)
        raise ValueError("too late")

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: complaints.append(context))
        client = Client()
        task = loop.create_task(WSGIAdapter(application)(client.scope, client.receive, client.send))
        await loop.run_in_executor(None, entered.wait, 5)
        task.cancel()
        await gathered([task])
        released.set()
        await asyncio.wait(asyncio.all_tasks() - {asyncio.current_task()}, timeout=5)

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

    asyncio.run(WSGIAdapter(application)({"type": "lifespan"}, receive, send))
    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


async def gathered(tasks: list[asyncio.Task[None]]) -> list[BaseException | None]:
    return await asyncio.gather(*tasks, return_exceptions=True)
