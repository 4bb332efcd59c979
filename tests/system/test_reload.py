"""HUP puts new code and new settings in place without losing a request, or leaves everything as it was."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import StartServer
from tests.support.load import Load
from tests.support.server import Server
from tests.support.stream import Stream
from tests.support.waiting import eventually


def pids(server: Server) -> set[int]:
    return {worker.pid for worker in server.workers()}


def generations(server: Server) -> list[int]:
    return [worker.worker[1] for worker in server.workers() if worker.worker]


def test_a_reload_under_load_deploys_new_code_without_a_failed_request(start_server: StartServer) -> None:
    server = start_server({"workers": {"count": 2}})
    before = pids(server)
    with Load(server.address, connections=64, pause=(0, 0.06), path="/version") as load:
        load.wait_for_requests(200)
        server.deploy_version("2")
        assert server.reload()["result"] == "ok"
        load.wait_for_requests(200)
        after = {worker.pid for worker in server.wait_for_workers(2, without=list(before))}
        load.wait_for_requests(500)
    assert load.tally.failed == 0, load.tally
    assert set(load.tally.bodies) == {b"1", b"2"}
    assert not before & after
    assert generations(server) == [2, 2]
    assert server.request("/version").text == "2"


@pytest.mark.long
def test_whoever_connects_after_the_verdict_is_served_by_the_new_code(start_server: StartServer) -> None:
    server = start_server({"workers": {"count": 2}})
    for version in ("2", "3", "4", "5", "6"):
        server.deploy_version(version)
        assert server.reload()["result"] == "ok"
        assert _versions(server) == {version}


def test_a_reload_replaces_the_zygote(start_server: StartServer) -> None:
    server = start_server()
    [old] = server.zygotes()
    assert server.reload()["result"] == "ok"
    eventually(lambda: [zygote.zygote for zygote in server.zygotes()] == [2], "there is the new zygote")
    # While it ends it has no title any more.
    eventually(lambda: old.pid not in {process.pid for process in server.processes()}, "the old zygote is gone")


def test_a_response_in_progress_outlives_the_reload(start_server: StartServer) -> None:
    server = start_server({"workers": {"count": 2}})
    with Stream(server.address, 100) as stream:
        server.reload()
        stream.finish()


def test_a_reload_applies_new_settings(start_server: StartServer) -> None:
    server = start_server()
    server.configure({"workers": {"count": 3}, "http": {"server_header": "another"}})
    # The listener of port 0 stays on the port that it has: its text in the settings did not change.
    address = server.address
    assert server.reload()["result"] == "ok"
    eventually(lambda: generations(server) == [2, 2, 2], "three new workers")
    assert address.request().headers["server"] == "another"


def test_reloads_on_top_of_each_other_end_in_the_last_state(start_server: StartServer) -> None:
    server = start_server({"workers": {"count": 2}})
    for _ in range(5):
        server.signal(signal.SIGHUP)
    server.deploy_version("last")
    server.signal(signal.SIGHUP)
    eventually(lambda: _versions(server) == {"last"}, "the last code serves")
    eventually(lambda: len(server.zygotes()) == 1 and len(server.workers()) == 2, "one generation is left")
    assert _versions(server) == {"last"}


def _versions(server: Server) -> set[str]:
    return {server.request("/version").text for _ in range(10)}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        pytest.param({"application.py": "def app(:\n"}, "SyntaxError", id="syntax", marks=pytest.mark.long),
        pytest.param({"application.py": "raise RuntimeError('boom at import')\n"}, "boom at import", id="import"),
        pytest.param(
            {"application.py": "async def app(scope, receive, send):\n    raise OSError('boom at start-up')\n"},
            "boom at start-up",
            id="start-up",
        ),
        pytest.param(
            {"server.toml": "[app]\ntarget = 'application:app'\n[workers]\ncuont = 2\n"},
            "cuont",
            id="key",
            marks=pytest.mark.long,
        ),
        pytest.param({"server.toml": "this is not TOML\n"}, "server.toml", id="toml"),
        pytest.param(
            {"server.toml": "[app]\ntarget = 'application:app'\n[workers]\ncount = 500\n"},
            "room for 63 workers",
            id="too many",
        ),
    ],
)
def test_a_broken_deployment_leaves_the_old_generation_serving(
    start_server: StartServer, change: dict[str, str], expected: str
) -> None:
    settings: dict[str, Any] = {"app": {"lifespan": "on"}, "workers": {"count": 2}}
    server = start_server(settings)
    before = pids(server)
    with Load(server.address, connections=16, path="/version") as load:
        load.wait_for_requests(50)
        for name, content in change.items():
            server.write(name, content)
        finished = server.reload()
        assert finished["result"] != "ok"
        assert expected in server.log.text
        load.wait_for_requests(200)
    assert load.tally.failed == 0, load.tally
    eventually(lambda: pids(server) == before, "the new generation has gone")
    eventually(lambda: [zygote.zygote for zygote in server.zygotes()] == [1], "nothing is left of the attempt")

    server.configure(settings)
    server.deploy_version("repaired")
    assert server.reload()["result"] == "ok"
    eventually(lambda: not before & pids(server), "the old workers are gone")
    assert server.request("/version").text == "repaired"


def test_a_new_generation_that_hangs_is_given_up_at_boot_timeout(start_server: StartServer, tmp_path: Path) -> None:
    server = start_server()
    before = pids(server)
    server.configure({"workers": {"boot_timeout": 2}})
    server.write("application.py", "import time\ntime.sleep(600)\n")
    assert server.reload()["result"] != "ok"
    assert server.request("/").text == "hello"
    # The verdict comes with the order to kill the new worker; until it is reaped it is still to be seen.
    eventually(lambda: pids(server) == before, "only the old worker is left")
    eventually(lambda: len(server.processes()) == 3, "the hanging generation is gone")


def test_a_reload_moves_the_log_of_the_master_too(start_server: StartServer, tmp_path: Path) -> None:
    server = start_server()
    server.configure({"logging": {"file": "new.log"}})
    os.kill(server.pid, signal.SIGHUP)
    log = tmp_path / "new.log"
    eventually(lambda: log.exists() and '"event":"worker exited"' in log.read_text(), "what follows is in the new file")
