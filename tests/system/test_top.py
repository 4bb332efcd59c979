"""`appserver top` and `status`, of a server with something to show."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.conftest import StartServer
from tests.support.server import ROOT, Server
from tests.support.waiting import eventually

BLOCKING = """
import asyncio, time

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        return
    if scope["path"] == "/block":
        time.sleep(60)
    if scope["path"] == "/wait":
        await asyncio.sleep(60)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})
"""


@pytest.fixture
def server(start_server: StartServer) -> Server:
    settings = {
        "app": {"target": "blocking:app"},
        "admin": {"control": "control.sock"},
        "workers": {"count": 1, "graceful_timeout": 0},
    }
    return start_server(settings, files={"blocking.py": BLOCKING})


def command(server: Server, *words: str) -> list[str]:
    return [sys.executable, "-m", "appserver", *words, "--control", str(server.directory / "control.sock")]


def run(server: Server, *words: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        command(server, *words), capture_output=True, text=True, timeout=30, env=environment, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def ask_in_background(server: Server, path: str) -> None:
    def ask() -> None:
        try:
            server.request(path, timeout=60)
        except OSError:
            pass  # the server has stopped

    threading.Thread(target=ask, daemon=True).start()


@pytest.mark.parametrize("path", ["/wait", "/block"])
@pytest.mark.long
def test_a_running_request_is_shown_also_if_it_blocks_the_event_loop(server: Server, path: str) -> None:
    ask_in_background(server, path)
    shown = eventually(
        lambda: next(
            (line for line in run(server, "top", "--once", "--interval", "0.2").splitlines() if path in line), ""
        ),
        f"a line about {path}",
    )
    seconds, worker, method, found = shown.split()
    assert (worker, method, found) == ("1", "GET", path)
    assert seconds.endswith("s")
    if path == "/block":
        eventually(lambda: "blocked" in run(server, "status"), "a worker that is shown as blocked")
        os.kill(server.workers()[0].pid, signal.SIGKILL)
        (lost,) = server.log.wait_for("worker exited", reason="crashed")["serving"]
        assert (lost["method"], lost["path"], len(lost["request_id"])) == ("GET", "/block", 32)


def test_on_a_terminal_it_goes_on_until_q_is_pressed_and_leaves_no_trace(server: Server) -> None:
    ours, theirs = pty.openpty()
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "80", "LINES": "24"}
    process = subprocess.Popen(
        command(server, "top", "--interval", "0.2"), stdin=theirs, stdout=theirs, stderr=theirs, env=environment
    )
    os.close(theirs)
    seen = b""
    try:
        deadline = time.monotonic() + 30
        while seen.count(b"requests/s") < 2:  # it looks again
            assert time.monotonic() < deadline, seen
            if select.select([ours], [], [], 0.1)[0]:
                seen += os.read(ours, 65536)
        os.write(ours, b"q")
        seen += read_to_the_end(ours)
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()
        os.close(ours)
    assert seen.startswith(b"\x1b[?1049h")
    assert seen.endswith(b"\x1b[?25h\x1b[?1049l")


def read_to_the_end(descriptor: int) -> bytes:
    seen = b""
    while True:
        try:
            piece = os.read(descriptor, 65536)
        except OSError:  # EIO: the other side of the terminal is closed
            return seen
        if not piece:
            return seen
        seen += piece


def test_it_says_so_when_the_server_is_gone(server: Server, tmp_path: Path) -> None:
    assert server.stop() == 0
    done = subprocess.run(
        command(server, "top"),
        capture_output=True,
        text=True,
        timeout=30,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=False,
    )
    assert done.returncode == 1
    assert "the server is not running" in done.stderr
