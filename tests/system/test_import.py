"""What an application may do with event loops while it is imported, under either loop, with and without preload."""

from __future__ import annotations

import itertools
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from typing import Any

import pytest

from tests.conftest import StartServer
from tests.support.server import ROOT

SERVING = textwrap.dedent("""
    async def app(scope, receive, send):
        assert scope["type"] == "http"
        found = FOUND if LOOP is None else LOOP is asyncio.get_running_loop()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": str(found).encode()})
    """)
LOADING = textwrap.dedent("""
    import asyncio, uvloop
    LOOP = None

    async def load():
        await asyncio.sleep(0)
        return "loaded"
    """)
WAYS = {
    "asyncio.run": ("FOUND = asyncio.run(load())", "loaded"),
    "uvloop.run": ("FOUND = uvloop.run(load())", "loaded"),
    "the loop that serves": ("FOUND = asyncio.get_event_loop().run_until_complete(load())", "loaded"),
    "one after the other": (
        "asyncio.get_event_loop().run_until_complete(load())\nFOUND = asyncio.run(load())",
        "loaded",
    ),
    "a loop of its own": (
        "loop = asyncio.new_event_loop()\nFOUND = loop.run_until_complete(load())\nloop.close()",
        "loaded",
    ),
    "keeping the loop": ("LOOP = asyncio.get_event_loop()", "True"),
}


def _combinations() -> Iterator[Any]:
    """Every way with every loop, with and without preload; each way at least once in every run."""
    for (number, way), loop, preload in itertools.product(enumerate(WAYS), ("uvloop", "asyncio"), (False, True)):
        now = (loop, preload) == (("uvloop", True), ("asyncio", True), ("uvloop", False), ("asyncio", True))[number % 4]
        yield pytest.param(loop, preload, way, marks=[] if now else [pytest.mark.long])


@pytest.mark.parametrize(("loop", "preload", "way"), list(_combinations()))
def test_it_serves_and_the_check_agrees(start_server: StartServer, loop: str, preload: bool, way: str) -> None:
    source, answer = WAYS[way]
    settings = {"app": {"target": "looping:app"}, "workers": {"count": 1, "loop": loop, "preload": preload}}
    server = start_server(settings, files={"looping.py": f"{LOADING}\n{source}\n{SERVING}"})
    assert server.request("/").text == answer
    assert bool(server.log.matching("preload given up")) == (preload and way == "keeping the loop")
    check = subprocess.run(
        [sys.executable, "-m", "appserver", "check", "--app", "--config", "server.toml"],
        cwd=server.directory,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert check.returncode == 0, check.stderr
