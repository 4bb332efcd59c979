"""The real program, started with standard streams closed: what is opened later must not become one of them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.address import Address
from tests.support.processes import descendants
from tests.support.waiting import eventually

ROOT = Path(__file__).parents[2]
APPLICATION = """
async def app(scope, receive, send):
    assert scope["type"] == "http"
    print("said by the application")
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"hello"})
"""


@pytest.mark.parametrize("closed", ["<&-", ">&-", pytest.param("2>&-", marks=pytest.mark.long), "<&- >&- 2>&-"])
def test_it_serves_and_stops_with_closed_standard_streams(tmp_path: Path, closed: str) -> None:
    (tmp_path / "main.py").write_text(APPLICATION)
    arguments = f"main:app --workers 1 --bind unix:{tmp_path}/app.sock"
    address = Address(path=f"{tmp_path}/app.sock")
    with subprocess.Popen(
        ["/bin/sh", "-c", f"exec {sys.executable} -P -m appserver {arguments} {closed}"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as server:
        try:
            eventually(lambda: listens(address), "it listens", timeout=40)
            for _ in range(10):
                assert address.request("GET", "/", timeout=30).text == "hello"
            for process in descendants(server.pid):
                for fd in range(3 if process.running else 0):
                    assert str(Path(f"/proc/{process.pid}/fd/{fd}").readlink()) == os.devnull
        finally:
            server.send_signal(signal.SIGTERM)
        assert server.wait(40) == 0


def listens(address: Address) -> bool:
    """A unix socket's file is there a moment before anybody listens on it."""
    try:
        address.connect().close()
    except OSError:
        return False
    return True
