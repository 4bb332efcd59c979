"""The commands to a running server, as a shell sees them, and the control socket that they use."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import appserver.cli.commands  # noqa: F401 - `main` would import it as another user, who may not be able to read it
from appserver.cli import main
from tests.conftest import StartServer
from tests.support.address import Address
from tests.support.server import ROOT, Server
from tests.support.waiting import eventually

CONTROL: dict[str, Any] = {"admin": {"control": "control.sock"}}
LIMIT = 50


def command(server: Server, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command in the directory of the server, with its settings unless another way is given."""
    way = [] if {"--control", "--config"} & set(arguments) else ["--config", "server.toml"]
    return subprocess.run(
        [sys.executable, "-m", "appserver", *arguments, *way],
        cwd=server.directory,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )


def control(server: Server) -> Address:
    return Address(path=str(server.directory / "control.sock"))


def status(server: Server) -> Any:
    return json.loads(control(server).request("GET", "/status").text)


@pytest.fixture
def server(start_server: StartServer) -> Server:
    server = start_server({**CONTROL, "workers": {"count": 2}})
    # A worker may say that it is ready before its zygote has said who it is.
    eventually(lambda: all(worker["pid"] for worker in status(server)["workers"]), "the pids are known")
    return server


class TestWithoutASetting:
    """The control socket that every server has: found by the settings file, or by the directory."""

    @pytest.mark.long
    def test_a_server_is_found_by_its_settings_file_and_from_its_directory(self, start_server: StartServer) -> None:
        server = start_server(environment={"RUNTIME_DIRECTORY": ""})
        [record] = server.log.matching("admin listening", controls=True)
        try:
            assert (
                f"pid {server.pid}"
                in command(server, "status", "--config", str(server.directory / "server.toml")).stdout
            )
            assert command(server, "reload", "--config", "server.toml").returncode == 0
            bare = subprocess.run(
                [sys.executable, "-m", "appserver", "stop"],
                cwd=server.directory,
                env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)},
                capture_output=True,
                text=True,
                timeout=LIMIT,
                check=False,
            )
            assert (bare.returncode, bare.stdout, bare.stderr) == (0, "stopped\n", "")
        finally:
            Path(record["address"].removeprefix("unix:")).unlink(missing_ok=True)

    def test_a_unit_of_systemd_has_it_in_its_runtime_directory(self, start_server: StartServer, tmp_path: Path) -> None:
        runtime = tmp_path / "runtime"
        runtime.mkdir()
        server = start_server(environment={"RUNTIME_DIRECTORY": str(runtime)})
        assert (runtime / "control.sock").is_socket()
        assert command(server, "status", "--control", str(runtime / "control.sock")).returncode == 0

    @pytest.mark.long
    def test_a_second_server_of_the_same_settings_does_without(self, start_server: StartServer, tmp_path: Path) -> None:
        first = start_server()
        with Server(tmp_path) as second:
            warning = second.log.wait_for("no control socket")
            assert warning["path"] == str(tmp_path / "control.sock")
            assert second.request("/").text == "hello"
        assert command(first, "status", "--control", "control.sock").returncode == 0


class TestStatus:
    def test_it_shows_the_server_and_its_workers(self, server: Server) -> None:
        run = command(server, "status")
        assert (run.returncode, run.stderr) == (0, "")
        lines = run.stdout.splitlines()
        assert lines[0].startswith("appserver ")
        assert f"pid {server.pid}," in lines[0]
        assert lines[1:3] == ["ready", f"listening on {server.address}"]
        assert [line.split()[:4] for line in lines[-2:]] == [
            [str(number), str(worker.pid), "1", "ready"] for number, worker in enumerate(server.workers(), start=1)
        ]

    def test_as_json_it_holds_exactly_what_is_promised(self, server: Server) -> None:
        for _ in range(3):
            server.request("/")
        # A response leaves before the request is counted.
        eventually(lambda: sum(worker["requests"] for worker in status(server)["workers"]) == 3, "all are counted")
        run = command(server, "status", "--json", "--control", "control.sock")
        shown = json.loads(run.stdout)
        assert list(shown) == [
            "version", "pid", "state", "generation", "started_at", "listeners", "last_reload", "workers",
            "deadly_requests",
        ]  # fmt: skip
        assert (shown["pid"], shown["state"], shown["generation"]) == (server.pid, "serving", 1)
        assert (shown["listeners"], shown["last_reload"]) == ([str(server.address)], None)
        assert list(shown["workers"][0]) == [
            "id", "pid", "generation", "state", "started_at", "requests", "in_progress", "connections", "websockets",
            "http2_connections", "http2_streams", "rss_bytes", "loop_lag_seconds", "heartbeat_age_seconds",
        ]  # fmt: skip
        assert [worker["id"] for worker in shown["workers"]] == [1, 2]
        assert [worker["pid"] for worker in shown["workers"]] == [worker.pid for worker in server.workers()]
        assert sum(worker["requests"] for worker in shown["workers"]) == 3
        assert all(worker["rss_bytes"] > 1_000_000 for worker in shown["workers"])


class TestReload:
    def test_it_exits_with_0_when_the_new_generation_serves(self, server: Server) -> None:
        server.deploy_version("2")
        run = command(server, "reload")
        assert (run.returncode, run.stdout, run.stderr) == (0, "reloaded: generation 2 serves\n", "")
        assert server.request("/version").text == "2"
        last = status(server)["last_reload"]
        assert (last["result"], last["reason"]) == ("ok", "generation 2 serves")

    @pytest.mark.parametrize(
        ("name", "content", "result", "expected"),
        [
            ("application.py", "def app(:\n", "rolled_back", "SyntaxError"),
            ("application.py", "raise RuntimeError('boom at import')\n", "rolled_back", "boom at import"),
            ("server.toml", "[admin]\ncontrol = 'control.sock'\n[workers]\ncuont = 2\n", "refused", "cuont"),
        ],
        ids=["syntax", "import", "settings"],
    )
    def test_it_exits_with_1_and_the_reason_when_the_old_one_goes_on(
        self, server: Server, name: str, content: str, result: str, expected: str
    ) -> None:
        before = {worker.pid for worker in server.workers()}
        server.write(name, content)
        run = command(server, "reload")
        assert (run.returncode, run.stdout) == (1, "")
        assert run.stderr.startswith(f"appserver: reload {result.replace('_', ' ')}: ")
        assert expected in run.stderr
        eventually(lambda: {worker.pid for worker in server.workers()} == before, "the new worker has gone")
        last = status(server)["last_reload"]
        assert last["result"] == result
        assert expected in last["reason"]
        assert f"{result}," in command(server, "status", "--control", "control.sock").stdout

    @pytest.mark.long
    def test_each_of_several_at_once_hears_of_a_reload_that_began_after_it(self, server: Server) -> None:
        runs: list[subprocess.CompletedProcess[str]] = []
        threads = [threading.Thread(target=lambda: runs.append(command(server, "reload"))) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [run.returncode for run in runs] == [0, 0, 0], [run.stderr for run in runs]
        assert max(run.stdout for run in runs) == f"reloaded: generation {status(server)['generation']} serves\n"

    def test_it_is_told_when_the_server_stops_meanwhile(self, start_server: StartServer) -> None:
        server = start_server({**CONTROL, "workers": {"boot_timeout": 40}})
        server.write("application.py", "import time\ntime.sleep(600)\n")
        runs: list[subprocess.CompletedProcess[str]] = []
        thread = threading.Thread(target=lambda: runs.append(command(server, "reload")))
        thread.start()
        server.log.wait_for("reload started")
        assert server.stop() == 0
        thread.join()
        assert (runs[0].returncode, runs[0].stderr) == (1, "appserver: reload rolled back: the server is stopping\n")

    @pytest.mark.long
    def test_the_addresses_for_control_and_watching_can_be_moved(self, server: Server) -> None:
        server.configure({"admin": {"control": "moved.sock", "bind": "127.0.0.1:0"}, "workers": {"count": 2}})
        assert command(server, "reload", "--control", "control.sock").returncode == 0
        eventually(lambda: not (server.directory / "control.sock").exists(), "the old socket is gone")
        assert command(server, "status").returncode == 0
        assert admin(server).request("GET", "/readyz").status == 200
        server.configure({**CONTROL, "workers": {"cuont": 2}})
        assert command(server, "reload", "--control", "moved.sock").returncode == 1
        assert not (server.directory / "control.sock").exists()
        assert admin(server).request("GET", "/readyz").status == 200


def admin(server: Server) -> Address:
    return Address.parse(server.log.wait_for("admin listening", controls=False)["address"])


class TestScale:
    def test_it_sets_the_number_of_workers(self, server: Server) -> None:
        run = command(server, "scale", "3")
        assert (run.returncode, run.stdout) == (0, "3 workers wanted now, 2 before\n")
        server.wait_for_workers(3)
        assert command(server, "scale", "1").stdout == "1 worker wanted now, 3 before\n"
        server.wait_for_workers(1)

    def test_more_than_there_is_room_for_is_refused(self, server: Server) -> None:
        run = command(server, "scale", "100000")
        assert run.returncode == 1
        assert run.stderr == "appserver: this server has room for 63 workers, until it is started anew\n"
        assert len(server.workers()) == 2

    def test_one_more_or_fewer_can_be_asked_for(self, server: Server) -> None:
        assert command(server, "scale", "+1").stdout == "3 workers wanted now, 2 before\n"
        assert command(server, "scale", "-2").stdout == "1 worker wanted now, 3 before\n"

    def test_no_workers_are_refused(self, server: Server) -> None:
        run = command(server, "scale", "0")
        assert (run.returncode, run.stderr) == (1, "appserver: count: 0: expected at least 1 worker\n")
        assert command(server, "scale", "many").returncode == 2

    def test_one_more_or_fewer_can_be_asked_for_on_the_socket(self, server: Server) -> None:
        answer = control(server).request("POST", "/scale", body=b'{"delta": 1}')
        assert json.loads(answer.text) == {"count": 3, "before": 2}
        server.wait_for_workers(3)


class TestStop:
    def test_it_waits_for_a_clean_end(self, server: Server) -> None:
        run = command(server, "stop")
        assert (run.returncode, run.stdout) == (0, "stopped\n")
        assert server.wait_for_exit() == 0
        assert not (server.directory / "control.sock").exists()
        run = command(server, "stop")
        assert run.returncode == 1
        assert "control.sock: no such socket: the server is not running" in run.stderr

    @pytest.mark.long
    def test_now_does_not_wait_for_requests(self, start_server: StartServer) -> None:
        server = start_server({**CONTROL, "workers": {"graceful_timeout": 40}})
        with server.address.connect() as connection:
            connection.sendall(b"GET /sleep/45 HTTP/1.1\r\nHost: x\r\n\r\n")
            eventually(lambda: status(server)["workers"][0]["in_progress"], "the request is being served")
            assert control(server).request("POST", "/stop").status == 202
            assert control(server).request("POST", "/stop").status == 202  # still graceful
            assert control(server).request("GET", "/readyz").text == "stopping\n"
            refused = command(server, "scale", "2")
            assert (refused.returncode, refused.stderr) == (1, "appserver: the server is stopping\n")
            assert command(server, "stop", "--now").returncode == 0
        assert server.wait_for_exit() == 0


class TestStacks:
    def test_they_show_threads_and_tasks(self, server: Server) -> None:
        with server.address.connect() as connection:
            connection.sendall(b"GET /sleep/30 HTTP/1.1\r\nHost: x\r\n\r\n")
            eventually(
                lambda: sum(worker["in_progress"] for worker in status(server)["workers"]), "the request is served"
            )
            # On a busy machine an event loop may be late for the report.
            run = eventually(lambda: stacks_with(server, "await asyncio.sleep("), "the task is shown")
        assert run.returncode == 0
        assert run.stdout.count(": threads\n") == 2
        assert "await asyncio.sleep(float(argument))" in run.stdout
        assert "application.py" in run.stdout
        server.signal(signal.SIGQUIT)

    def test_they_name_the_line_that_blocks_a_worker(self, server: Server) -> None:
        blocked = block(server)
        worker = next(worker for worker in status(server)["workers"] if worker["in_progress"])
        line = next(
            number
            for number, text in enumerate((server.directory / "application.py").read_text().splitlines(), start=1)
            if "time.sleep(" in text
        )
        place = f'application.py", line {line} in _answer'
        # It counts as in progress before the application has been called.
        run = eventually(lambda: stacks_with(server, place, str(worker["id"])), "the line is shown")
        blocked.close()
        assert run.returncode == 0
        assert "the event loop is blocked" in run.stdout
        server.signal(signal.SIGQUIT)

    def test_a_worker_that_there_is_not_is_told_with_those_that_there_are(self, server: Server) -> None:
        run = command(server, "stacks", "9")
        assert (run.returncode, run.stderr) == (1, "appserver: there is no worker 9; there are: 1, 2\n")


def stacks_with(server: Server, text: str, *arguments: str) -> Any:
    """The command, when what it shows has this text."""
    run = command(server, "stacks", *arguments)
    return run if text in run.stdout else None


def block(server: Server) -> Any:
    """Have one worker block its event loop; returns the connection, and when that worker has taken the request."""
    connection = server.address.connect()
    connection.sendall(b"GET /block/30 HTTP/1.1\r\nHost: x\r\n\r\n")
    eventually(lambda: any(worker["in_progress"] for worker in status(server)["workers"]), "a worker is blocked")
    return connection


def test_log_files_are_reopened(start_server: StartServer) -> None:
    server = start_server({**CONTROL, "access_log": {"file": "access.log"}})
    log = server.directory / "access.log"
    log.rename(server.directory / "access.log.1")
    assert command(server, "reopen-logs").stdout == "log files reopened\n"
    eventually(log.exists, "a new log file")
    # Again and again: the master has the file made, and a worker goes on in it when it is told.
    eventually(lambda: server.request("/").status and log.read_text(), "a line in it", interval=0.2)


def test_log_files_that_cannot_be_reopened_are_told_with_the_reason(start_server: StartServer) -> None:
    server = start_server({**CONTROL, "access_log": {"file": "access.log"}})
    log = server.directory / "access.log"
    log.rename(server.directory / "access.log.1")
    log.mkdir()
    run = command(server, "reopen-logs")
    assert (run.returncode, run.stdout) == (1, "")
    expected = 'access_log.file = "access.log": cannot be opened: Is a directory; the old file is still in use'
    assert run.stderr == f"appserver: {expected}\n"
    log.rmdir()
    assert command(server, "reopen-logs").returncode == 0


class TestErrors:
    def test_without_a_control_socket_the_key_to_set_is_told(self, start_server: StartServer) -> None:
        server = start_server({"admin": {"control": ""}})
        run = command(server, "status")
        assert run.returncode == 1
        assert 'server.toml: admin.control is ""' in run.stderr
        assert "name one in [admin]" in run.stderr

    def test_without_a_server_the_places_where_it_might_be_are_told(self, tmp_path: Path) -> None:
        (tmp_path / "server.toml").write_text('[app]\ntarget = "a:b"')
        run = subprocess.run(
            [sys.executable, "-m", "appserver", "status"],
            cwd=tmp_path,
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "XDG_RUNTIME_DIR": "/run/user/x"},
            capture_output=True,
            text=True,
            timeout=LIMIT,
            check=False,
        )
        assert run.returncode == 1
        assert "server.toml: admin.control is not set, and no server with these settings answers at" in run.stderr
        for place in ("/run/appserver/server/control.sock", "/run/appserver/server-", "/run/user/x/appserver/server-"):
            assert f"\n    {place}" in run.stderr

    def test_without_a_word_about_the_server_the_ways_to_name_it_are_told(self, tmp_path: Path) -> None:
        run = subprocess.run(
            [sys.executable, "-m", "appserver", "reload"],
            cwd=tmp_path,
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=LIMIT,
            check=False,
        )
        assert run.returncode == 2
        assert "appserver reload --config server.toml" in run.stderr
        assert "appserver reload --control " in run.stderr

    def test_a_stopped_master_is_not_waited_for_forever(self, server: Server) -> None:
        server.signal(signal.SIGSTOP)
        run = command(server, "status", "--timeout", "0.3")
        server.signal(signal.SIGCONT)
        assert (run.returncode, run.stderr) == (
            1,
            "appserver: control.sock: the server does not answer within 0.3 s\n",
        )

    def test_settings_that_are_broken_do_not_keep_anybody_from_stopping_the_server(self, server: Server) -> None:
        server.write("server.toml", "[admin]\ncontrol = 'control.sock'\n[wrokers]\n")
        assert command(server, "stop").returncode == 0


class TestTheSocket:
    @pytest.mark.long
    def test_one_left_by_a_killed_server_does_not_block_the_next(self, start_server: StartServer) -> None:
        first = start_server(CONTROL)
        first.kill_everything()
        assert (first.directory / "control.sock").is_socket()
        assert "nobody listens there any more" in command(first, "status").stderr
        second = start_server(CONTROL)
        assert f"pid {second.pid}," in command(second, "status").stdout

    @pytest.mark.long
    def test_that_of_a_running_server_is_not_taken_away(self, server: Server) -> None:
        other = Server(server.directory, {**CONTROL, "workers": {"count": 2}}).start()
        assert other.wait_for_exit() == 3
        other.close()
        assert "control.sock: another server is listening on it" in other.log.text
        assert f"pid {server.pid}," in command(server, "status").stdout


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
class TestOtherUsers:
    @pytest.fixture
    def public(self) -> Iterator[Path]:
        """A directory that everybody can look into, as pytest's are for one user alone."""
        directory = Path(tempfile.mkdtemp())
        directory.chmod(0o755)
        yield directory
        shutil.rmtree(directory)

    @pytest.fixture
    def nobody(self) -> Iterator[None]:
        """What this process does, it does as nobody; the kernel notes that when a connection is made (unix(7))."""
        os.seteuid(pwd.getpwnam("nobody").pw_uid)
        yield
        os.seteuid(0)

    @pytest.fixture
    def socket_of_root(self, public: Path) -> Iterator[Path]:
        with Server(public, CONTROL):
            yield public / "control.sock"

    def test_the_file_keeps_them_out(
        self, socket_of_root: Path, nobody: None, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(["stop", "--control", str(socket_of_root)]) == 1
        assert capsys.readouterr().err == (f"appserver: {socket_of_root}: not permitted: run this as root\n")

    def test_the_server_itself_does_where_the_file_does_not(
        self, public: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        with Server(public, CONTROL) as server:
            path = public / "control.sock"
            path.chmod(0o666)
            os.seteuid(pwd.getpwnam("nobody").pw_uid)
            try:
                assert main(["stop", "--control", str(path)]) == 1
                assert Address(path=str(path)).request("GET", "/status").status == 403
            finally:
                os.seteuid(0)
            assert "not permitted: this server takes commands from uid 0" in capsys.readouterr().err
            assert server.request("/").text == "hello"
