"""USR2 replaces the program of the master in place: same process, same workers, nothing lost; or leaves it as it is."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from appserver.master.upgrade import TAKE_OVER, TRY
from tests.conftest import StartServer
from tests.support import processes
from tests.support.load import Load
from tests.support.server import PYTHONPATH, ROOT, Record, Server
from tests.support.waiting import eventually


def pids(server: Server) -> set[int]:
    return {worker.pid for worker in server.workers()}


def upgrade(server: Server) -> Record:
    mark = len(server.log.records)
    server.signal(signal.SIGUSR2)
    return server.log.wait_for("upgraded", since=mark, timeout=30)


def refusal(server: Server) -> str:
    mark = len(server.log.records)
    server.signal(signal.SIGUSR2)
    return str(server.log.wait_for("upgrade refused", since=mark, timeout=30)["reason"])


@pytest.fixture
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the package, to be run through PYTHONPATH and changed while it runs."""
    folder = tmp_path_factory.mktemp("site")
    shutil.copytree(ROOT / "appserver", folder / "appserver", ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def environment(site: Path) -> dict[str, str]:
    # A shell's current directory comes before PYTHONPATH for -m; the server's own holds no appserver.
    return {"PYTHONPATH": str(site), "PYTHONDONTWRITEBYTECODE": "1"}


def set_version(site: Path, version: str) -> None:
    (site / "appserver/__init__.py").write_text(f'__version__ = "{version}"\n')


# Imported at the beginning of each interpreter; one whose command line has the word that the gate names waits for its end.
GATE = """
import os, sys, time

if os.path.exists("gate") and open("gate").read() in sys.orig_argv:
    open("at the gate", "w").close()
    while os.path.exists("gate"):
        time.sleep(0.01)
"""


@pytest.fixture
def start_gated(start_server: StartServer, tmp_path: Path) -> StartServer:
    """Start a server for `at_its_beginning`."""
    environment = {"PYTHONPATH": f"{tmp_path}:{PYTHONPATH}"}
    return lambda *args: start_server(*args, files={"sitecustomize.py": GATE}, environment=environment)


@contextmanager
def at_its_beginning(server: Server, word: str) -> Iterator[None]:
    """Ask for an upgrade; in the block the new program has begun, and does not go on.

    It is the one on trial (TRY), or the one that has taken the place of the old one (TAKE_OVER).
    """
    gate = server.directory / "gate"
    gate.write_text(word)
    try:
        server.signal(signal.SIGUSR2)
        eventually((server.directory / "at the gate").exists, "the new program has begun")
        yield
    finally:
        gate.unlink()


def test_under_load_nothing_is_lost_and_everything_stays(start_server: StartServer, tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    server = start_server({"workers": {"count": 2}, "admin": {"pid_file": str(pid_file)}})
    workers, zygotes = pids(server), [zygote.pid for zygote in server.zygotes()]
    before = pid_file.stat().st_ino
    with Load(server.address, connections=32, pause=(0, 0.03)) as load:
        load.wait_for_requests(200)
        upgrade(server)
        load.wait_for_requests(200)
        upgrade(server)
        load.wait_for_requests(500)
    assert load.tally.failed == 0, load.tally
    assert not load.tally.closed_by_announcement
    assert pids(server) == workers
    assert [zygote.pid for zygote in server.zygotes()] == zygotes
    assert processes.is_running(server.pid)
    assert pid_file.read_text() == f"{server.pid}\n"
    assert pid_file.stat().st_ino == before
    assert server.stop() == 0
    assert not pid_file.exists()


@pytest.mark.long
def test_a_reload_afterwards_moves_to_a_new_generation(start_server: StartServer) -> None:
    server = start_server({"workers": {"count": 2}})
    before = pids(server)
    with Load(server.address, connections=16, path="/version") as load:
        upgrade(server)
        server.deploy_version("2")
        assert server.reload()["result"] == "ok"
        server.wait_for_workers(2, without=list(before))
        upgrade(server)
        load.wait_for_requests(300)
    assert load.tally.failed == 0, load.tally
    assert server.request("/version").text == "2"
    assert [worker.worker[1] for worker in server.workers() if worker.worker] == [2, 2]
    eventually(lambda: [zygote.zygote for zygote in server.zygotes()] == [2], "the old zygote is gone")


@pytest.mark.long
def test_a_reload_that_is_asked_for_during_the_exec_is_carried_out(start_gated: StartServer) -> None:
    server = start_gated()
    before = pids(server)
    mark = len(server.log.records)
    with at_its_beginning(server, TAKE_OVER):
        server.signal(signal.SIGHUP)
    server.log.wait_for("upgraded", since=mark)
    server.log.wait_for("reload finished", since=mark)
    server.wait_for_workers(1, without=list(before))


@pytest.mark.long
def test_a_worker_killed_around_the_exec_is_noticed_and_replaced(start_gated: StartServer) -> None:
    server = start_gated({"workers": {"count": 2}})
    [first, second] = server.workers()
    mark = len(server.log.records)
    os.kill(first.pid, signal.SIGKILL)
    with at_its_beginning(server, TAKE_OVER):
        os.kill(second.pid, signal.SIGKILL)
    server.log.wait_for("upgraded", since=mark)
    server.wait_for_workers(2, without=[first.pid, second.pid])
    server.log.wait_for("worker exited", since=mark, count=2, reason="crashed")
    eventually(lambda: server.request().text == "hello", "it serves")
    eventually(
        lambda: not [process for process in processes.descendants(server.pid) if process.state == "Z"],
        "everything that has ended is reaped",
    )


@pytest.mark.long
def test_a_zygote_killed_during_the_exec_is_replaced(start_gated: StartServer) -> None:
    server = start_gated()
    [zygote] = server.zygotes()
    with at_its_beginning(server, TAKE_OVER):
        os.kill(zygote.pid, signal.SIGKILL)
    server.log.wait_for("zygote exited")
    eventually(lambda: [z.pid for z in server.zygotes()] not in ([], [zygote.pid]), "another zygote runs")
    [worker] = server.workers()
    os.kill(worker.pid, signal.SIGKILL)
    server.wait_for_workers(1, without=[worker.pid])


@pytest.mark.long
@pytest.mark.parametrize("word", [TRY, TAKE_OVER], ids=["during the trial", "during the exec"])
def test_a_stop_during_it_is_a_stop(start_gated: StartServer, word: str) -> None:
    server = start_gated({"workers": {"count": 2}})
    with at_its_beginning(server, word):
        server.signal(signal.SIGTERM)
        if word == TRY:
            assert server.wait_for_exit() == 0, "the program on trial does not hold it up"
            eventually(lambda: not server.processes(), "nothing is left, of the trial neither")
    assert server.wait_for_exit() == 0
    assert bool(server.log.matching("upgraded")) == (word == TAKE_OVER)
    assert not server.processes()


def test_counters_go_on(start_server: StartServer, tmp_path: Path) -> None:
    server = start_server({"admin": {"control": str(tmp_path / "control")}})
    for _ in range(20):
        server.request()
    # A request is counted when its response is complete, which its client may know earlier.
    eventually(lambda: status(tmp_path / "control")["workers"][0]["requests"] == 20, "all are counted")
    before = status(tmp_path / "control")
    upgrade(server)
    after = status(tmp_path / "control")
    assert after["workers"][0]["requests"] == 20
    for name in ("pid", "started_at", "generation", "listeners", "last_reload"):
        assert after[name] == before[name]
    assert after["state"] == "serving"


def status(control: Path) -> dict[str, Any]:
    import json

    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(control))
        client.sendall(b"GET /status HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        answer = b"".join(iter(lambda: client.recv(65536), b""))
    found = json.loads(answer.partition(b"\r\n\r\n")[2])
    assert isinstance(found, dict)
    return found


@pytest.mark.long
def test_the_command_says_what_becomes_of_it(start_server: StartServer) -> None:
    server = start_server({"admin": {"control": "control"}})

    def run_command() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "appserver", "upgrade", "--control", "control"],
            cwd=server.directory,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )

    done = run_command()
    assert (done.returncode, done.stdout) == (0, "upgraded: the new program takes over\n")
    server.log.wait_for("upgraded")
    server.write("server.toml", "[workers]\ncuont = 1\n")
    done = run_command()
    assert done.returncode == 1
    assert "cuont" in done.stderr


@pytest.mark.long
def test_another_version_takes_over(start_server: StartServer, site: Path) -> None:
    set_version(site, "1.0")
    server = start_server(environment=environment(site))
    workers = pids(server)
    with Load(server.address, connections=8) as load:
        set_version(site, "2.0")
        record = upgrade(server)
        load.wait_for_requests(100)
    assert (record["old_version"], record["new_version"]) == ("1.0", "2.0")
    assert load.tally.failed == 0
    assert pids(server) == workers
    assert server.reload()["result"] == "ok"


class TestANewProgramThatIsNotFit:
    def test_one_that_does_not_start_leaves_the_old_one_running(self, start_server: StartServer, site: Path) -> None:
        server = start_server(environment=environment(site))
        workers = pids(server)
        program = site / "appserver/cli/__init__.py"
        intact = program.read_text()
        program.write_text("raise RuntimeError('broken deployment')\n")
        assert refusal(server) == "the new program exited with code 1: RuntimeError: broken deployment"
        assert pids(server) == workers
        assert server.request().text == "hello"
        program.write_text(intact)
        upgrade(server)
        assert pids(server) == workers

    def test_one_that_ends_at_once_as_if_all_were_well_is_not_taken(
        self, start_server: StartServer, site: Path
    ) -> None:
        server = start_server(environment=environment(site))
        workers = pids(server)
        (site / "appserver/cli/__init__.py").write_text("raise SystemExit(0)\n")
        assert refusal(server) == "the new program is not appserver, or an older one: it cannot take over"
        assert pids(server) == workers
        assert server.request().text == "hello"

    def test_a_bug_in_it_is_told(self, start_server: StartServer, site: Path) -> None:
        server = start_server(environment=environment(site))
        (site / "appserver/master/program.py").write_text("raise LookupError('half a deployment')\n")
        assert refusal(server).endswith(": LookupError: half a deployment")

    @pytest.mark.long
    def test_one_that_hangs_is_given_up(self, start_server: StartServer, site: Path) -> None:
        server = start_server({"workers": {"boot_timeout": 10}}, environment=environment(site))
        (site / "appserver/cli/__init__.py").write_text("import time\ntime.sleep(600)\n")
        workers = pids(server)
        server.signal(signal.SIGUSR2)
        eventually(lambda: len(server.processes()) == 4, "the new program has begun")
        assert refusal(server) == "another upgrade is under way"
        # It goes on supervising meanwhile.
        os.kill(next(iter(workers)), signal.SIGKILL)
        server.wait_for_workers(1, without=list(workers))
        assert len(server.log.matching("upgrade refused")) == 1, "the new program still has time"
        server.log.wait_for(
            "upgrade refused",
            reason="the new program did not come up within 10 s (workers.boot_timeout)",
            timeout=30,
        )
        eventually(lambda: len(server.processes()) == 3, "the new program is gone")

    @pytest.mark.long
    def test_settings_that_have_become_invalid_are_found_before(self, start_server: StartServer) -> None:
        server = start_server()
        server.write("server.toml", "[app]\ntarget = 'application:app'\n[workers]\ncuont = 2\n")
        assert "cuont" in refusal(server)
        assert server.request().text == "hello"

    @pytest.mark.long
    def test_a_format_of_the_state_that_it_does_not_understand_is_found_before(
        self, start_server: StartServer, site: Path
    ) -> None:
        server = start_server(environment=environment(site))
        module = site / "appserver/master/handover.py"
        module.write_text(module.read_text().replace("FORMAT = 1", "FORMAT = 2"))
        assert "hands over in format 1" in refusal(server)
        assert server.request().text == "hello"


@pytest.mark.long
def test_during_a_reload_it_is_refused_with_the_reason(start_server: StartServer) -> None:
    server = start_server()
    server.write(
        "application.py",
        "import os, time\nwhile not os.path.exists('open'):\n    time.sleep(0.01)\n"
        + (server.directory / "application.py").read_text().replace("from __future__ import annotations\n", ""),
    )
    server.signal(signal.SIGHUP)
    server.log.wait_for("reload started")
    assert refusal(server) == "the server is reloading; ask again when it serves"
    (server.directory / "open").touch()
    server.log.wait_for("reload finished", result="ok")
    upgrade(server)
