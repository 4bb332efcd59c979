"""The server starts, says so, and is what an operator expects to see in `ps`."""

from __future__ import annotations

import os
import pwd
import re
import signal
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import StartServer
from tests.support.server import ROOT, Server
from tests.support.waiting import eventually


def test_a_started_server_answers(start_server: StartServer) -> None:
    server = start_server()
    response = server.request("/")
    assert (response.status, response.text) == (200, "hello")


def test_port_0_is_a_free_port_that_the_log_names(start_server: StartServer) -> None:
    server = start_server({"listeners": [{"bind": "127.0.0.1:0"}]})
    assert server.address.port > 0


def test_every_kind_of_process_has_its_title(start_server: StartServer) -> None:
    server = start_server({"workers": {"count": 2}})
    expected = [
        "appserver: master [server.toml]",
        "appserver: worker 1 g1",
        "appserver: worker 2 g1",
        "appserver: zygote g1",
    ]
    # The process between a zygote and its worker, which has the zygote's title, may have a moment more to live.
    eventually(lambda: sorted(process.title for process in server.processes()) == expected, "one title for each")


def test_the_server_serves_when_all_wanted_workers_are_ready_and_not_before(start_server: StartServer) -> None:
    server = start_server({"workers": {"count": 2}})
    events = [record["event"] for record in server.log.records]
    assert events.count("worker ready") == 2
    assert events.index("serving") > max(at for at, event in enumerate(events) if event == "worker ready")


def test_the_master_never_imports_the_application(start_server: StartServer) -> None:
    source = "import os\nprint('imported by', os.getpid())\nfrom application import app\n"
    server = start_server({"app": {"target": "seen:app"}}, files={"seen.py": source})
    server.stop()
    importers = {int(line.split()[-1]) for line in server.output.lines if line.startswith("imported by")}
    assert importers
    assert server.pid not in importers


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
@pytest.mark.parametrize("parser", ["httptools", "h11"])
def test_every_loop_serves_with_every_parser(start_server: StartServer, loop: str, parser: str) -> None:
    server = start_server({"workers": {"loop": loop}, "http": {"parser": parser}})
    assert server.request("/echo", method="POST", body=b"x" * 100_000).body == b"x" * 100_000


def test_the_lifespan_state_reaches_the_requests_of_its_worker(start_server: StartServer) -> None:
    server = start_server()
    assert server.request("/state").text == server.request("/pid").text


def test_the_application_log_and_the_access_log_are_json_lines(start_server: StartServer) -> None:
    server = start_server()
    server.request("/log/something-happened")
    record = server.log.wait_for("something-happened")
    assert (record["level"], record["logger"], record["process"], record["worker"], record["generation"]) == (
        "warning",
        "application",
        "worker",
        1,
        1,
    )
    line = server.output.wait_for("request", path="/log/something-happened")
    assert (line["method"], line["status"], line["http_version"], line["sent_bytes"] > 0) == ("GET", 200, "1.1", True)


class TestPreload:
    IMPORTER = textwrap.dedent("""
        import os
        IMPORTED_IN = os.getpid()

        async def app(scope, receive, send):
            assert scope["type"] == "http"
            body = str(IMPORTED_IN).encode()
            headers = [(b"content-length", str(len(body)).encode())]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": body})
        """)
    THREAD = textwrap.dedent("""
        import threading
        threading.Thread(target=threading.Event().wait, daemon=True, name="a-thread-of-the-application").start()
        """)

    def start(self, start_server: StartServer, source: str, *, preload: bool) -> Server:
        settings = {"app": {"target": "importer:app"}, "workers": {"count": 2, "preload": preload}}
        return start_server(settings, files={"importer.py": source})

    def test_without_it_every_worker_imports_the_application(self, start_server: StartServer) -> None:
        server = self.start(start_server, self.IMPORTER, preload=False)
        assert int(server.request("/").text) in {worker.pid for worker in server.workers()}

    def test_with_it_the_zygote_imports_the_application_once(self, start_server: StartServer) -> None:
        server = self.start(start_server, self.IMPORTER, preload=True)
        [zygote] = server.zygotes()
        assert int(server.request("/").text) == zygote.pid

    def test_an_application_with_threads_is_booted_without_it(self, start_server: StartServer) -> None:
        server = self.start(start_server, self.IMPORTER + self.THREAD, preload=True)
        assert int(server.request("/").text) in {worker.pid for worker in server.workers()}
        assert "a-thread-of-the-application" in server.log.text

    def test_an_application_with_an_open_event_loop_is_booted_without_it(self, start_server: StartServer) -> None:
        loop = "import asyncio\nLOOP = asyncio.new_event_loop()\n"
        server = self.start(start_server, self.IMPORTER + loop, preload=True)
        assert int(server.request("/").text) in {worker.pid for worker in server.workers()}
        assert "event loop" in server.log.wait_for("preload given up")["obstacles"][0]


def test_a_signal_that_comes_while_it_begins_waits_until_it_can_be_handled(tmp_path: Path) -> None:
    settings = tmp_path / "server.toml"
    os.mkfifo(settings)  # so that it goes on beginning until somebody has written them
    program = [sys.executable, "-m", "appserver", "tests.support.application:app", "--config", str(settings)]
    with subprocess.Popen(program, cwd=ROOT, stderr=subprocess.PIPE, text=True) as master:
        eventually(lambda: _holds_back(master.pid, signal.SIGTERM), "it holds signals back")
        master.send_signal(signal.SIGTERM)
        settings.write_text('listeners = [{bind = "127.0.0.1:0"}]\n')
        _, log = master.communicate(timeout=60)
    assert master.returncode == 0, log
    assert '"event":"stopped"' in log


def _holds_back(pid: int, number: signal.Signals) -> bool:
    status = Path(f"/proc/{pid}/status").read_text()
    blocked = int(re.search(r"SigBlk:\s+(\w+)", status)[1], 16)  # type: ignore[index]
    return bool(blocked >> number - 1 & 1)


@pytest.mark.skipif(os.getuid() != 0, reason="only root may change its user")
class TestPrivileges:
    @pytest.fixture
    def directory(self) -> Iterator[Path]:
        """A directory that everybody may read: pytest's own are for their owner alone."""
        with tempfile.TemporaryDirectory() as name:
            Path(name).chmod(0o755)
            yield Path(name)

    def test_zygote_and_workers_run_as_the_user_while_the_master_keeps_its_own(self, directory: Path) -> None:
        nobody = pwd.getpwnam("nobody")
        with Server(directory, {"workers": {"user": "nobody", "group": "nogroup"}}) as server:
            assert server.request("/ids").text == f"{nobody.pw_uid} {nobody.pw_gid} [{nobody.pw_gid}]"
            owners = {process.title: Path(f"/proc/{process.pid}").stat().st_uid for process in server.processes()}
        assert owners == {
            "appserver: master [server.toml]": 0,
            "appserver: worker 1 g1": nobody.pw_uid,
            "appserver: zygote g1": nobody.pw_uid,
        }

    def test_giving_up_a_preload_does_not_need_the_privileges_again(self, directory: Path) -> None:
        settings = {"app": {"target": "importer:app"}, "workers": {"user": "nobody", "preload": True}}
        files = {"importer.py": TestPreload.IMPORTER + TestPreload.THREAD}
        with Server(directory, settings, files=files) as server:
            assert int(server.request("/").text) in {worker.pid for worker in server.workers()}


def without_httptools(directory: Path) -> dict[str, str]:
    """An environment in which httptools cannot be imported."""
    hidden = directory / "hidden"
    hidden.mkdir()
    (hidden / "httptools.py").write_text("raise ImportError('no wheel for this Python')\n")
    return {"PYTHONPATH": f"{hidden}{os.pathsep}{ROOT}"}


def test_h11_reads_requests_where_httptools_cannot_be_imported(start_server: StartServer, tmp_path: Path) -> None:
    server = start_server(environment=without_httptools(tmp_path))
    assert server.request("/").status == 200


def test_where_it_is_asked_for_by_name_the_start_says_what_to_do(tmp_path: Path) -> None:
    settings = {"http": {"parser": "httptools"}}
    server = Server(tmp_path, settings, environment=without_httptools(tmp_path)).start()
    try:
        assert server.wait_for_exit() == 2
        assert "httptools cannot be imported: install it, or leave the choice to the server" in server.log.text
    finally:
        server.close()
