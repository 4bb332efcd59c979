"""Applications written for trio on the real program: its requests, what ends them, and what is said when trio cannot run."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import connect

from tests.support.load import Load
from tests.support.server import Server
from tests.support.waiting import eventually

SITE = """
import contextvars, logging, os, sys, threading, time
import sniffio, trio

VERSION = "1"
LIMITER = trio.CapacityLimiter(2)
PAIR = threading.Barrier(2, timeout=60)

def note(text):
    with open("journal", "a") as journal:
        print(text, file=journal)

async def app(scope, receive, send):
    assert sniffio.current_async_library() == "trio"
    await globals()[scope["type"]](scope, receive, send)

async def lifespan(scope, receive, send):
    assert (await receive())["type"] == "lifespan.startup"
    trio.to_thread.current_default_thread_limiter().total_tokens = 7
    async with trio.open_nursery() as nursery:
        scope["state"]["nursery"] = nursery
        await send({"type": "lifespan.startup.complete"})
        assert (await receive())["type"] == "lifespan.shutdown"
        nursery.cancel_scope.cancel()
    note("shut down")
    await send({"type": "lifespan.shutdown.complete"})

async def http(scope, receive, send):
    name = scope["path"].strip("/").replace("/", "_") or "hello"
    try:
        await globals()[name](scope, receive, send)
    except trio.Cancelled:
        note(f"{name} cancelled")
        raise

async def answer(send, body, status=200):
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})

async def hello(scope, receive, send):
    await answer(send, VERSION.encode())

async def nurseries(scope, receive, send):
    found = []
    async def one(number):
        await trio.sleep(0.001)
        found.append(await trio.to_thread.run_sync(lambda: number * number))
    async with trio.open_nursery() as nursery:
        for number in range(20):
            nursery.start_soon(one, number)
    done = await trio.run_process(["echo", "said"], capture_stdout=True)
    await answer(send, b"%d %s" % (sum(found), done.stdout.strip()))

async def limited(scope, receive, send):
    held = []
    def meet():
        PAIR.wait()
        held.append(LIMITER.borrowed_tokens)
        PAIR.wait()
    await trio.to_thread.run_sync(meet, limiter=LIMITER)
    await answer(send, b"%d" % held[0])

async def free(scope, receive, send):
    await answer(send, b"%d %d" % (LIMITER.available_tokens, trio.to_thread.current_default_thread_limiter().total_tokens))

async def upload(scope, receive, send):
    size, more = 0, True
    while more:
        message = await receive()
        size += len(message["body"])
        more = message["more_body"]
        await trio.lowlevel.checkpoint()
    await answer(send, b"%d" % size)

async def stream(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    for _ in range(400):
        await send({"type": "http.response.body", "body": b"x" * 65536, "more_body": True})
    await send({"type": "http.response.body", "body": b"end"})

async def events(scope, receive, send):
    async def end_with_the_client():
        while (await receive())["type"] != "http.disconnect":
            pass
        note("events ended")
        nursery.cancel_scope.cancel()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(end_with_the_client)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
        while True:
            await send({"type": "http.response.body", "body": b"data: x\\n\\n", "more_body": True})
            await trio.sleep(0.05)

async def wait(scope, receive, send):
    note("wait begun")
    await trio.sleep_forever()

async def wait_shielded(scope, receive, send):
    note("wait_shielded begun")
    with trio.CancelScope(shield=True):
        await trio.sleep_forever()

async def fail(scope, receive, send):
    raise ValueError("on purpose")

async def fail_group(scope, receive, send):
    async with trio.open_nursery() as nursery:
        nursery.start_soon(fail, scope, receive, send)
        await trio.sleep_forever()

async def leave(scope, receive, send):
    async with trio.open_nursery() as nursery:
        nursery.start_soon(quit)
        await trio.sleep_forever()

async def quit():
    raise SystemExit(3)

async def run(scope, receive, send):
    trio.run(trio.sleep, 0)

async def background(scope, receive, send):
    async def work():
        await trio.sleep(0.05)
        note("background done")
    scope["state"]["nursery"].start_soon(work)
    await answer(send, b"later")

async def background_fail(scope, receive, send):
    scope["state"]["nursery"].start_soon(fail, None, None, None)
    await answer(send, b"later")

async def asyncio(scope, receive, send):
    import asyncio
    await asyncio.sleep(1)

async def crash(scope, receive, send):
    async def fail():
        raise ValueError("of a system task")
    trio.lowlevel.spawn_system_task(fail)
    await trio.sleep_forever()

async def block(scope, receive, send):
    time.sleep(60)

async def pid(scope, receive, send):
    await answer(send, b"%d" % os.getpid())

async def request_id(scope, receive, send):
    import structlog
    async def child():
        await trio.lowlevel.checkpoint()
        logging.getLogger("site").warning("logged by a child task")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(child)
    await answer(send, scope["state"]["request_id"].encode())

async def websocket(scope, receive, send):
    await receive()
    await send({"type": "websocket.accept"})
    if scope["path"] == "/fail":
        raise ValueError("on purpose")
    async with trio.open_nursery() as nursery:
        async def tick():
            while True:
                await send({"type": "websocket.send", "text": "tick"})
                await trio.sleep(0.05)
        if scope["path"] == "/ticks":
            nursery.start_soon(tick)
        while (message := await receive())["type"] == "websocket.receive":
            await send({"type": "websocket.send", "text": message["text"].upper()})
        note(f"session ended {message['code']}")
        nursery.cancel_scope.cancel()
"""


@pytest.fixture(params=["uvloop", pytest.param("asyncio", marks=pytest.mark.long)])
def loop(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Server]:
    def make(loop: str = "uvloop", site: str = SITE, **sections: dict[str, Any]) -> Server:
        settings = {
            **sections,
            "app": {"target": "site_of_trio:app", "async_library": "trio", **sections.get("app", {})},
            "workers": {"loop": loop, "count": 1, **sections.get("workers", {})},
        }
        return Server(tmp_path, settings, files={"site_of_trio.py": site})

    return make


def journal(server: Server) -> list[str]:
    path = server.directory / "journal"
    return path.read_text().splitlines() if path.exists() else []


@contextmanager
def begun(server: Server, path: str, until: bytes = b"") -> Iterator[None]:
    """Send a request, and read the beginning of its response; the client leaves at the end of the block."""
    with server.address.connect() as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: test\r\n\r\n".encode())
        received = b""
        while until and until not in received:
            piece = connection.recv(65536)
            assert piece, received
            received += piece
        yield


def test_requests_sessions_and_lifespan(make: Callable[..., Server], loop: str) -> None:
    with make(loop, app={"lifespan": "on"}) as server:
        assert server.request().text == "1"
        assert server.request("/nurseries").text == "2470 said"
        assert server.request("/upload", method="POST", body=b"x" * 3_000_000).text == "3000000"
        body = server.request("/stream").body
        assert len(body) == 400 * 65536 + 3
        assert body.endswith(b"end")
        assert server.request("/background").text == "later"
        eventually(lambda: "background done" in journal(server), "the work in the application's nursery is done")
        with connect(server.address.websocket("/ticks")) as session:
            assert session.recv(30) == "tick"
            session.send("hello")
            eventually(lambda: session.recv(30) == "HELLO", "it answers between two ticks")
            assert session.recv(30) == "tick"
        eventually(lambda: "session ended 1000" in journal(server), "the session has heard of its end")
        with ThreadPoolExecutor(16) as clients:
            assert {answer.text for answer in clients.map(server.request, ["/nurseries"] * 64)} == {"2470 said"}
        assert server.stop() == 0
    assert journal(server)[-1] == "shut down"
    assert not [record for record in server.log.records if record["level"] in {"error", "critical"}]


def test_capacity_limiters_hold_for_all_requests_of_a_worker(make: Callable[..., Server], loop: str) -> None:
    with make(loop, app={"lifespan": "on"}) as server, ThreadPoolExecutor(16) as clients:
        # No thread of the limiter goes on without a second one, and there is never a third.
        assert {answer.text for answer in clients.map(server.request, ["/limited"] * 16)} == {"2"}
        assert server.request("/free").text == "2 7"


def test_failures_end_their_own_request(make: Callable[..., Server], loop: str) -> None:
    with make(loop) as server:
        for path, words in {
            "/fail": "ValueError: on purpose",
            "/fail/group": "ValueError: on purpose",
            "/run": "Attempted to call run() from inside a run()",
            "/asyncio": "awaits something of asyncio, but runs under trio",
        }.items():
            assert server.request(path).status == 500
            record = server.log.wait_for("application failed", path=path)
            assert words in record["exception"]
        with connect(server.address.websocket("/fail")) as session, pytest.raises(Exception, match="1011"):
            session.recv()
        answer = server.request("/request/id").text
        assert server.log.wait_for("logged by a child task")["request_id"] == answer
        assert server.request().text == "1"
        assert len({worker.pid for worker in server.workers()}) == 1


def test_a_client_that_leaves_ends_its_stream(make: Callable[..., Server], loop: str) -> None:
    with make(loop, workers={"graceful_timeout": 1}) as server:
        with begun(server, "/events", b"data: x"):
            pass
        eventually(lambda: "events ended" in journal(server), "the application has heard of it")
        with begun(server, "/stream", b"xxx"), begun(server, "/wait"):
            eventually(lambda: "wait begun" in journal(server), "both are under way")
        assert server.request().text == "1"


@pytest.mark.long
def test_a_time_limit_cancels_the_application(make: Callable[..., Server]) -> None:
    with make(http={"request_timeout": 1}) as server:
        assert server.request("/wait").status == 504
        eventually(lambda: "wait cancelled" in journal(server), "the application is cancelled")
        assert "in sleep_forever" in server.log.wait_for("request timed out")["stack"]


@pytest.mark.long
def test_the_end_of_a_drain_cancels_what_runs_and_is_not_held_up(make: Callable[..., Server], loop: str) -> None:
    with make(loop, workers={"graceful_timeout": 1}) as server, ThreadPoolExecutor() as clients:
        answers = [clients.submit(server.request, path) for path in ("/wait", "/wait/shielded")]
        eventually(lambda: {"wait begun", "wait_shielded begun"} <= set(journal(server)), "both are under way")
        assert server.stop() == 0
        assert [answer.result().status for answer in answers[:1]] == [503]
        assert answers[1].exception() is not None or answers[1].result().status == 503
    assert "wait cancelled" in journal(server)
    assert "shut down" in journal(server)
    for path in ("/wait", "/wait/shielded"):
        assert "in sleep_forever" in server.log.wait_for("request cancelled", path=path)["stack"]
    assert server.log.matching("tasks of trio go on")


@pytest.mark.long
def test_what_asks_for_the_end_of_the_worker_gets_it(make: Callable[..., Server]) -> None:
    with make() as server:
        [before] = server.workers()
        assert server.request("/leave").status == 500
        server.wait_for_workers(1, without=[before.pid])
        assert server.log.wait_for("application ended the worker")["path"] == "/leave"
        assert server.request().text == "1"


@pytest.mark.parametrize("path", ["/crash", "/background/fail"])
def test_a_crash_of_trio_or_of_the_applications_nursery(make: Callable[..., Server], path: str) -> None:
    with make() as server:
        [before] = server.workers()
        server.request(path)
        if path == "/crash":
            assert "of a system task" in server.log.wait_for("trio has crashed")["exception"]
            server.wait_for_workers(1, without=[before.pid])
            assert server.log.wait_for("worker exited", worker_pid=before.pid)["exit_code"] == 70
        else:  # as under asyncio: the application has lost its lifespan, and is served on
            assert "on purpose" in server.log.wait_for("lifespan broken")["exception"]
        eventually(lambda: server.request().status == 200, "requests are answered")


@pytest.mark.long
def test_stacks_show_trios_tasks(make: Callable[..., Server], tmp_path: Path) -> None:
    with make(admin={"control": str(tmp_path / "control")}) as server:
        command = [sys.executable, "-m", "appserver", "stacks", "--config", str(server.directory / "server.toml")]

        def both_are_shown() -> bool:  # a worker that does not run for a second is said to be blocked
            shown = subprocess.run(command, cwd=server.directory, capture_output=True, text=True, check=True).stdout
            return "end_with_the_client" in shown and "in events" in shown

        with begun(server, "/events", b"data"):
            eventually(both_are_shown, "the tasks of the request are shown")


@pytest.mark.long
def test_a_blocked_loop_is_reported_with_the_application(make: Callable[..., Server]) -> None:
    with make(workers={"stall_report": 1, "stall_timeout": 2}) as server:
        with begun(server, "/block"):
            eventually(lambda: "in block" in server.log.text, "the stack of the blocked loop is in the log")
        eventually(lambda: server.request().status == 200, "another worker answers")


@pytest.mark.long
def test_a_preloaded_application(make: Callable[..., Server], loop: str) -> None:
    with make(loop, workers={"preload": True, "count": 2}) as server, ThreadPoolExecutor(8) as clients:
        assert {answer.text for answer in clients.map(server.request, ["/nurseries"] * 32)} == {"2470 said"}
        assert server.reload()["result"] == "ok"
        assert server.request("/nurseries").text == "2470 said"
        assert server.log.wait_for("zygote ready")["preloaded"] is True


@pytest.mark.long
@pytest.mark.parametrize("preload", [False, True])
def test_five_reloads_under_load_lose_nothing(make: Callable[..., Server], loop: str, preload: bool) -> None:
    with make(loop, workers={"count": 2, "preload": preload}) as server:
        with Load(server.address, connections=32, pause=(0, 0.06)) as load:
            for version in "23456":
                load.wait_for_requests(200)
                server.write("site_of_trio.py", SITE.replace('VERSION = "1"', f'VERSION = "{version}"'))
                assert server.reload()["result"] == "ok"
            load.wait_for_requests(200)
        assert load.tally.failed == 0, load.tally
        assert server.request().text == "6"


@pytest.mark.long
def test_recycling_and_an_upgrade_under_load_lose_nothing(make: Callable[..., Server]) -> None:
    with make(workers={"count": 2, "max_requests": 300}) as server:
        with Load(server.address, connections=32, pause=(0, 0.06)) as load:
            load.wait_for_requests(1000, timeout=60)
            server.signal(signal.SIGUSR2)
            server.log.wait_for("upgraded", timeout=30)
            load.wait_for_requests(2000, timeout=60)
        assert load.tally.failed == 0, load.tally
        server.log.wait_for("worker exited", reason="recycled")


def test_trio_has_to_be_installed(make: Callable[..., Server], tmp_path: Path) -> None:
    server = make(site="async def app(scope, receive, send): ...")
    # A Python whose module path ends before the installed packages is not to be had; so one that hides trio.
    server.write("sitecustomize.py", "import sys; sys.modules['trio'] = None")
    command = [sys.executable, "-m", "appserver", "--config", "server.toml", "--set", "app.interface=asgi3"]
    ended = subprocess.run(
        command, cwd=server.directory, capture_output=True, text=True, check=False, timeout=60,
        env={"PYTHONPATH": f"{server.directory}:{Path(__file__).parents[2]}"},
    )  # fmt: skip
    assert ended.returncode == 4
    assert 'app.async_library = "trio" needs trio, which cannot be imported' in ended.stderr.replace("\\", "")
    assert "[trio]'" in ended.stderr


@pytest.mark.long
def test_an_application_of_trio_under_asyncio_is_told(make: Callable[..., Server]) -> None:
    site = "import trio\nasync def app(scope, receive, send):\n    await trio.sleep(0)\n"
    with make(site=site, app={"async_library": "asyncio"}) as server:
        assert server.request().status == 500
        assert 'set app.async_library = "trio"' in server.log.wait_for("application failed")["exception"]
        server.signal(signal.SIGTERM)
        assert server.wait_for_exit() == 0
    with pytest.raises(AssertionError):
        make(site=site, app={"async_library": "asyncio", "lifespan": "on"}).__enter__()
