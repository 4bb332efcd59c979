"""The end of a worker: what an application counts on at the end of any Python program is done, for a bounded time."""

from __future__ import annotations

import gzip
import os
import signal
import textwrap
from typing import Any

import pytest

from tests.conftest import StartServer
from tests.support import processes
from tests.support.server import Server
from tests.support.waiting import eventually

APPLICATION = textwrap.dedent("""
    import atexit, concurrent.futures, gzip, multiprocessing, os, tempfile, threading, time

    journal = open("journal.txt", "a")
    packed = gzip.open("packed.gz", "at")
    pool = concurrent.futures.ThreadPoolExecutor(1)
    scratch = tempfile.NamedTemporaryFile(prefix="scratch-", dir=".")
    directory = tempfile.TemporaryDirectory(prefix="directory-", dir=".")
    atexit.register(lambda: open("atexit.txt", "a").write("atexit\\n"))

    def write(name, seconds):
        time.sleep(seconds)
        with open(name, "a") as file:
            file.write("done\\n")

    def toil():
        while True:
            time.sleep(1)

    async def app(scope, receive, send):
        assert scope["type"] == "http"
        answer = ""
        if scope["path"] == "/begin":
            journal.write("served\\n")
            packed.write("served\\n")
            pool.submit(write, "job.txt", 1.5)
            threading.Thread(target=write, args=("thread.txt", 1.5)).start()
        elif scope["path"] == "/hang":
            journal.write("served\\n")
            journal.flush()
            threading.Thread(target=toil, name="a-thread-that-toils").start()
        elif scope["path"] == "/child":
            child = multiprocessing.get_context("fork").Process(target=toil, name="a-child-that-toils")
            child.start()
            answer = str(child.pid)
        elif scope["path"] == "/files":
            answer = str(os.path.exists(scratch.name) and os.path.exists(directory.name))
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": answer.encode()})
    """)


def start(start_server: StartServer, **workers: Any) -> Server:
    settings = {"app": {"target": "ending:app"}, "workers": {"count": 1, **workers}}
    return start_server(settings, files={"ending.py": APPLICATION})


@pytest.mark.parametrize(
    ("loop", "preload"),
    [
        ("uvloop", False),
        ("asyncio", True),
        pytest.param("uvloop", True, marks=pytest.mark.long),
        pytest.param("asyncio", False, marks=pytest.mark.long),
    ],
)
def test_jobs_threads_and_files_are_complete(start_server: StartServer, loop: str, preload: bool) -> None:
    server = start(start_server, loop=loop, preload=preload)
    server.request("/begin")
    server.stop()
    written = {name: (server.directory / name).read_text() for name in ("job.txt", "thread.txt", "journal.txt")}
    assert written == {"job.txt": "done\n", "thread.txt": "done\n", "journal.txt": "served\n"}
    assert (server.directory / "atexit.txt").read_text().startswith("atexit\n")
    with gzip.open(server.directory / "packed.gz", "rt") as packed:
        assert packed.read() == "served\n"
    assert not list(server.directory.glob("scratch-*")) + list(server.directory.glob("directory-*"))
    assert not server.log.matching("exit cut off")


def test_a_preloaded_temporary_file_outlives_a_worker(start_server: StartServer) -> None:
    server = start(start_server, preload=True)
    [before] = server.workers()
    assert server.request("/files").text == "True"
    os.kill(before.pid, signal.SIGTERM)
    server.wait_for_workers(1, without=[before.pid])
    eventually(lambda: server.log.matching("worker ready", worker=1)[1:], "the next worker is ready")
    assert server.request("/files").text == "True"


STUBBORN = textwrap.dedent("""
    import asyncio

    journal = open("journal.txt", "a")

    async def ignore_everything():
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                pass

    async def app(scope, receive, send):
        if scope["type"] == "lifespan":
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await ignore_everything()
        journal.write("served\\n")
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body"})
    """)


@pytest.mark.long
@pytest.mark.parametrize("loop", ["uvloop", pytest.param("asyncio", marks=pytest.mark.long)])
def test_a_shutdown_that_ignores_its_cancellation_does_not_cost_the_rest(start_server: StartServer, loop: str) -> None:
    workers = {"count": 1, "loop": loop, "graceful_timeout": 1, "lifespan_timeout": 0.5}
    server = start_server({"app": {"target": "stubborn:app"}, "workers": workers}, files={"stubborn.py": STUBBORN})
    server.request("/")
    assert server.stop() == 0
    assert "in ignore_everything" in server.log.wait_for("lifespan shutdown cut off")["stack"]
    assert not server.log.matching("worker killed")
    assert (server.directory / "journal.txt").read_text() == "served\n"


PRELOADED_CHILDREN = textwrap.dedent("""
    import multiprocessing, os, time

    def toil():
        while True:
            time.sleep(1)

    forking = multiprocessing.get_context("fork")
    helper = forking.Process(target=toil, daemon=True)
    helper.start()
    manager = forking.Manager()
    shared = manager.dict(served=0)

    async def app(scope, receive, send):
        assert scope["type"] == "http"
        os.kill(helper.pid, 0)
        shared["served"] += 1
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": f"{helper.pid} {shared['served']}".encode()})
    """)


@pytest.mark.long
def test_preloaded_children_outlive_a_worker_and_end_with_the_zygote(start_server: StartServer) -> None:
    settings = {"app": {"target": "preloaded:app"}, "workers": {"count": 1, "preload": True}}
    server = start_server(settings, files={"preloaded.py": PRELOADED_CHILDREN})
    [before] = server.workers()
    helper, served = map(int, server.request("/").text.split())
    assert served == 1
    os.kill(before.pid, signal.SIGTERM)
    server.log.wait_for("worker exited", worker_pid=before.pid)
    server.log.wait_for("worker ready", count=2)
    assert list(map(int, server.request("/").text.split())) == [helper, 2]
    assert server.stop() == 0
    assert not processes.is_running(helper)
    assert not server.log.matching("exception that cannot be raised")
    assert not server.log.matching("preload given up")


def test_a_thread_that_does_not_end_is_named_and_cut_off(start_server: StartServer) -> None:
    server = start(start_server, graceful_timeout=1)
    server.request("/hang")
    server.stop()
    record = server.log.wait_for("exit cut off")
    assert record["step"] == "threads"
    assert "a-thread-that-toils in toil" in record["threads"][0]
    assert not server.log.matching("worker killed")


@pytest.mark.long
def test_a_child_that_nobody_ends_is_named_and_ended(start_server: StartServer) -> None:
    server = start(start_server, graceful_timeout=1)
    child = int(server.request("/child").text)
    server.stop()
    assert server.log.wait_for("exit cut off")["children"] == [f"a-child-that-toils (pid {child})"]
    eventually(lambda: not processes.is_running(child), "the child has been ended")
