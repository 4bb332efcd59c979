"""The children of a worker: what they must not have of it, and what becomes of them."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import StartServer
from tests.support import processes
from tests.support.server import Server
from tests.support.waiting import eventually

APPLICATION = textwrap.dedent("""
    import asyncio, json, logging, multiprocessing, os, signal, subprocess, sys, time
    from concurrent.futures import ProcessPoolExecutor

    def toil():
        print("toiling", flush=True)
        while True:
            time.sleep(1)

    def square(number):
        return number * number

    def report():
        import asyncio
        logging.getLogger("child").warning("a word of the child")
        async def nothing():
            return signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
        return [asyncio.run(nothing()), os.getpid()]

    def terminate(how):
        child = multiprocessing.get_context(how).Process(target=toil, daemon=True)
        child.start()
        time.sleep(0.3)
        child.terminate()
        child.join(30)
        code = child.exitcode
        child.kill()
        return code

    def pool(how):
        with multiprocessing.get_context(how).Pool(2) as found:
            return found.map(square, range(5))

    def executor(how):
        with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context(how)) as found:
            return list(found.map(square, range(5)))

    def ask(how):
        with multiprocessing.get_context(how).Pool(1) as found:
            return found.apply(report)

    def keep(how):
        "A child that nobody ends: of multiprocessing, of os.fork, or a program."
        if how == "daemon":
            return subprocess.Popen(["sleep", "300"], start_new_session=True).pid
        if how == "program":
            return subprocess.Popen(["sleep", "300"]).pid
        if how == "os.fork":
            pid = os.fork()
            if pid == 0:
                toil()
            return pid
        child = multiprocessing.get_context(how).Process(target=toil)
        child.start()
        return child.pid

    def codes(how):
        return [subprocess.run([sys.executable, "-c", "raise SystemExit(3)"]).returncode, os.system("exit 5") >> 8]

    async def run_programs():
        child = await asyncio.create_subprocess_exec(sys.executable, "-c", "raise SystemExit(4)")
        other = await asyncio.create_subprocess_shell("echo hi; exit 5", stdout=asyncio.subprocess.PIPE)
        output, _ = await other.communicate()
        return [await child.wait(), other.returncode, output.decode()]

    async def leave_the_child_to_the_loop():
        pid = os.fork()  # and no os._exit in the child
        if pid:
            return [pid, os.waitstatus_to_exitcode((await asyncio.to_thread(os.waitpid, pid, 0))[1])]

    async def leave(how):
        pid = os.fork()
        if pid == 0 and how == "sys.exit":
            sys.exit(3)
        if pid == 0:
            raise ValueError("only the child's")
        return os.waitstatus_to_exitcode((await asyncio.to_thread(os.waitpid, pid, 0))[1])

    async def answer(scope):
        _, action, *rest = scope["path"].split("/")
        how = rest[0] if rest else ""
        if action == "pid":
            return os.getpid()
        if action == "programs":
            return await run_programs()
        if action == "return":
            return await leave_the_child_to_the_loop()
        if action == "leave":
            return await leave(how)
        if action == "sleep":
            return await asyncio.sleep(float(how))
        if "in-loop" in rest:
            return globals()[action](how)
        return await asyncio.to_thread(globals()[action], how)

    async def app(scope, receive, send):
        assert scope["type"] == "http"
        body = json.dumps(await answer(scope)).encode()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": body})
    """)


def start(
    start_server: StartServer, *, loop: str = "auto", preload: bool = False, count: int = 1, **workers: Any
) -> Server:
    settings = {
        "app": {"target": "forking:app"},
        "workers": {"loop": loop, "preload": preload, "count": count, **workers},
    }
    return start_server(settings, files={"forking.py": APPLICATION})


def ask(server: Server, path: str) -> Any:
    response = server.request(path, timeout=60)
    assert response.status == 200, response.text
    return json.loads(response.text)


@pytest.fixture(
    params=[
        ("uvloop", False),
        pytest.param(("uvloop", True), marks=pytest.mark.long),
        pytest.param(("asyncio", False), marks=pytest.mark.long),
        ("asyncio", True),
    ],
    ids=str,
)
def server(request: pytest.FixtureRequest, start_server: StartServer) -> Server:
    """A server with one worker, with either loop, with and without preload."""
    loop, preload = request.param
    return start(start_server, loop=loop, preload=preload)


@pytest.fixture
def undisturbed(server: Server) -> Iterator[Server]:
    """The same; at the end the same worker serves, nothing has crashed, and no child is left."""
    before = ask(server, "/pid")
    yield server
    assert ask(server, "/pid") == before
    assert not server.log.matching("worker crashed")
    assert not server.log.matching("worker exited")
    eventually(lambda: not children_of(before), "no child of the worker is left")


def children_of(pid: int) -> list[processes.Process]:
    """The running children of a process, without the two helpers that `multiprocessing` keeps for as long as it lives."""
    helpers = ("multiprocessing.resource_tracker", "multiprocessing.forkserver")
    children = [found for found in processes.all_processes() if found.parent == pid and found.running]
    return [found for found in children if not any(helper in found.title for helper in helpers)]


class TestWhatAChildGets:
    def test_a_signal_for_the_child_ends_the_child_alone(self, undisturbed: Server) -> None:
        running = undisturbed.address.connect()
        running.sendall(b"GET /sleep/2 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        assert ask(undisturbed, "/terminate/fork") == -signal.SIGTERM
        assert ask(undisturbed, "/terminate/fork/in-loop") == -signal.SIGTERM
        assert ask(undisturbed, "/terminate/spawn") == -signal.SIGTERM
        with running, running.makefile("rb") as answer:
            assert answer.read().startswith(b"HTTP/1.1 200 ")

    def test_pools_of_processes_work_again_and_again(self, undisturbed: Server) -> None:
        for _ in range(3):
            for path in ("/pool/fork", "/executor/fork", "/pool/fork/in-loop"):
                assert ask(undisturbed, path) == [0, 1, 4, 9, 16]
        assert ask(undisturbed, "/pool/spawn") == [0, 1, 4, 9, 16]
        assert ask(undisturbed, "/executor/forkserver") == [0, 1, 4, 9, 16]

    def test_a_child_has_signals_an_event_loop_and_a_log_of_its_own(self, undisturbed: Server) -> None:
        default, pid = ask(undisturbed, "/ask/fork")
        assert default
        undisturbed.log.wait_for("a word of the child", pid=pid)
        assert len(undisturbed.log.matching("a word of the child", pid=pid)) == 1

    def test_programs_end_with_their_codes(self, undisturbed: Server) -> None:
        assert ask(undisturbed, "/codes") == [3, 5]
        assert ask(undisturbed, "/programs") == [4, 5, "hi\n"]

    def test_a_child_that_returns_to_the_event_loop_ends_itself_alone(self, undisturbed: Server) -> None:
        kept = undisturbed.address.connect()
        # Twice: the second one shows that the loop watches the connection, which it must not be about to do when it forks. What is
        # pending then is in memory that libuv's io_uring shares with the child.
        before = get_pid(kept)
        assert get_pid(kept) == before
        pid, code = ask(undisturbed, "/return")
        assert code != 0
        assert not undisturbed.output.matching("request", pid=pid)
        assert [ask(undisturbed, f"/leave/{how}") for how in ("sys.exit", "raise")] == [3, 1]
        assert not undisturbed.log.matching("application ended the worker")
        # The connection that was open meanwhile is the worker's, and it still hears of it.
        assert get_pid(kept) == before
        kept.close()


@pytest.mark.parametrize(
    ("loop", "how"),
    [
        ("uvloop", "fork"),
        pytest.param("asyncio", "fork", marks=pytest.mark.long),
        pytest.param("uvloop", "os.fork", marks=pytest.mark.long),
        ("asyncio", "os.fork"),
        pytest.param("uvloop", "spawn", marks=pytest.mark.long),
        pytest.param("asyncio", "spawn", marks=pytest.mark.long),
        pytest.param("uvloop", "program", marks=pytest.mark.long),
        ("asyncio", "program"),
    ],
)
class TestWhatAChildMustNotHave:
    def test_it_has_no_socket_of_the_server_and_nothing_of_its_event_loop(
        self, start_server: StartServer, loop: str, how: str
    ) -> None:
        server = start(start_server, loop=loop)
        kept = server.address.connect()  # a connection that is open meanwhile
        get_pid(kept)
        child = ask(server, f"/keep/{how}")
        worker = ask(server, "/pid")
        if how != "program":
            eventually(lambda: "toiling" in server.output.text, "the child works")
        sockets = sockets_on(server.address.port)
        assert sockets & targets(worker), "nothing would be found"
        assert not sockets & targets(child)
        assert not [link for link in targets(child) if re.match(r"anon_inode:\[(eventpoll|io_uring)\]", link)]
        assert "/memfd:appserver-stacks (deleted)" not in targets(child)
        found = processes.look_at(child)
        assert found is not None
        assert found.worker is None
        assert how != "fork" or found.title == "appserver: child of worker 1 g1"
        kept.close()
        os.kill(child, signal.SIGKILL)

    @pytest.mark.long
    def test_a_stop_names_and_ends_it(self, start_server: StartServer, loop: str, how: str) -> None:
        server = start(start_server, loop=loop, graceful_timeout=1)
        child = ask(server, f"/keep/{how}")
        daemon = ask(server, "/keep/daemon")
        assert server.stop() == 0
        eventually(lambda: not processes.is_running(child), "the child has been ended")
        assert processes.is_running(daemon), "it has a session of its own"
        os.kill(daemon, signal.SIGKILL)
        # `multiprocessing` knows its children, and waits for them at the end of a worker.
        record = server.log.wait_for("exit cut off" if how in ("fork", "spawn") else "processes ended")
        assert f"(pid {child})" in str(record.get("children") or record.get("processes"))

    @pytest.mark.long
    def test_it_goes_on_when_its_worker_dies_and_is_named(self, start_server: StartServer, loop: str, how: str) -> None:
        server = start(start_server, loop=loop, graceful_timeout=1)
        child, worker = ask(server, f"/keep/{how}"), ask(server, "/pid")
        daemon = ask(server, "/keep/daemon")
        os.kill(worker, signal.SIGKILL)
        record = server.log.wait_for("processes left")
        assert f"(pid {child})" in str(record["processes"])
        assert f"(pid {daemon})" not in str(record["processes"])
        assert processes.is_running(child)
        assert ask(server, "/pid") != worker
        os.kill(child, signal.SIGKILL)
        os.kill(daemon, signal.SIGKILL)

    def test_it_does_not_keep_the_port_when_the_server_has_been_killed(
        self, start_server: StartServer, loop: str, how: str
    ) -> None:
        server = start(start_server, loop=loop, graceful_timeout=1)
        child = ask(server, f"/keep/{how}")
        if how != "program":
            eventually(lambda: "toiling" in server.output.text, "the child works, so it has its own title")
        # By pid: a process that is about to end has lost its title before it closes its files.
        own = [server.pid, *(found.pid for found in (*server.workers(), *server.zygotes()))]
        server.signal(signal.SIGKILL)
        eventually(lambda: not any(map(processes.is_running, own)), "its processes have gone", timeout=40)
        # Another test may have been given the port meanwhile, for a moment.
        eventually(lambda: can_listen(server.address.port), "the port is free")
        eventually(lambda: not processes.is_running(child), "its zygote has ended the child, too")


def get_pid(connection: socket.socket) -> int:
    """Ask for the pid of the worker on a connection that is kept; it has to answer with 200."""
    connection.sendall(b"GET /pid HTTP/1.1\r\nHost: a\r\n\r\n")
    answer = http.client.HTTPResponse(connection)
    answer.begin()
    assert answer.status == 200
    return int(answer.read())


def can_listen(port: int) -> bool:
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True


def targets(pid: int) -> set[str]:
    """What the descriptors of a process refer to."""
    found = set()
    for name in os.listdir(f"/proc/{pid}/fd"):
        try:
            found.add(str(Path(f"/proc/{pid}/fd/{name}").readlink()))
        except FileNotFoundError:
            pass
    return found


def sockets_on(port: int) -> set[str]:
    """The sockets with this port on their side: the listening one, and those of clients (proc(5), /proc/net/tcp)."""
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return {f"socket:[{line[9]}]" for line in lines if line[1].endswith(f":{port:04X}")}
