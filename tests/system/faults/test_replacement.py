"""How soon another worker serves in place of one that was killed, with an application that takes its time to import."""

from __future__ import annotations

import os
import signal
import statistics
import time

import pytest

from tests.conftest import StartServer
from tests.support import processes
from tests.system.faults.scene import either_preload

FASTAPI = """
from fastapi import FastAPI

app = FastAPI()


@app.get("/")
async def hello() -> str:
    return "hello"
"""


@pytest.mark.long
@either_preload
def test_a_killed_worker_of_a_fastapi_application_is_replaced(start_server: StartServer, preload: bool) -> None:
    pytest.importorskip("fastapi")
    settings = {"app": {"target": "site_of_fastapi:app"}, "workers": {"count": 2, "preload": preload}}
    server = start_server(settings, files={"site_of_fastapi.py": FASTAPI})
    seconds, used = [], []
    for _ in range(3):
        victim, other = server.workers()
        mark = len(server.log.records)
        began = time.monotonic()
        os.kill(victim.pid, signal.SIGKILL)
        server.log.wait_for("worker ready", since=mark)
        seconds.append(time.monotonic() - began)
        [new] = {worker.pid for worker in server.wait_for_workers(2, without=[victim.pid])} - {other.pid}
        used.append(processes.tree_cpu_seconds(new))
    print(f"replaced after {', '.join(f'{1000 * one:.0f}' for one in seconds)} ms")
    # The target is 250 ms with preload, on a machine that has nothing else to do; on a busy one the processor time tells.
    assert statistics.median(used) < (0.5 if preload else 5.0)
