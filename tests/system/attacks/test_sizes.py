"""A worker makes what the master reads from it as large as it can, and writes there what it likes."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families as parse

from tests.conftest import StartServer
from tests.support.address import Address
from tests.support.processes import memory_peak, reset_memory_peak
from tests.support.server import Server
from tests.support.waiting import eventually

SITE = '''
import json, os, struct
from pathlib import Path
from prometheus_client import Counter

import appserver.worker.process
from appserver.worker.messages import TasksReported

GIB = 1024**3
HONEST = Counter("shop_orders", "Orders.")

def sparse_metrics():
    """Files that claim to be full, and are empty."""
    directory = Path(os.environ["PROMETHEUS_MULTIPROC_DIR"])
    for number in range(20):
        path = directory / f"counter_{os.getpid()}{number}.db"
        path.write_bytes(struct.pack("i", 2 * GIB - 1))
        os.truncate(path, 2 * GIB)

def foreign_names():
    keys = [
        ["appserver_requests", "appserver_requests_total", {"method": "GET", "status": "200"}, "Lies."],
        ["shop", "appserver_requests_total", {}, "Lies."],
        ["broken\\nname 1\\n", "broken\\nname 1\\n_total", {}, "Breaks the page."],
    ]
    content = b""
    for key in keys:
        text = json.dumps(key).encode()
        padded = text + b" " * (8 - (len(text) + 4) % 8)
        content += struct.pack("i", len(text)) + padded + struct.pack("dd", 1e9, 0.0)
    path = Path(os.environ["PROMETHEUS_MULTIPROC_DIR"]) / f"counter_{os.getppid()}.db"
    path.write_bytes(struct.pack("i4x", len(content) + 8) + content)

def large_stacks():
    """The file for the stacks of this process grows to 1 GiB, and what it says of its tasks as well."""
    for fd in os.listdir("/proc/self/fd"):
        try:
            if "appserver-stacks" in os.readlink(f"/proc/self/fd/{fd}"):
                os.truncate(int(fd), GIB)
        except OSError:
            pass

    def report(worker, order, file):
        os.truncate(file, GIB)
        worker._send(TasksReported(order.serial))

    appserver.worker.process.Worker._report_tasks = report

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        raise NotImplementedError
    HONEST.inc()
    if scope["path"] != "/":
        globals()[scope["path"][1:]]()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"done"})
'''

MIB = 1024 * 1024
ROOM = 150 * MIB
"""What reading may cost the master at most, for a moment."""


def start(start_server: StartServer, tmp_path: Path) -> Server:
    settings: dict[str, Any] = {
        "app": {"target": "shop:app"},
        "admin": {"bind": "127.0.0.1:0", "control": str(tmp_path / "control")},
        "metrics": {"application": True},
    }
    return start_server(settings, files={"shop.py": SITE})


def ask(server: Server, path: str) -> str:
    """Ask the master, and print what that has cost it."""
    reset_memory_peak(server.pid)
    before, begun = memory_peak(server.pid), time.monotonic()
    control = Address(path=str(server.directory / "control"))
    answer = control.request("GET", path, timeout=60)
    grown = memory_peak(server.pid) - before
    print(f"{path}: {time.monotonic() - begun:.2f} s, {grown / MIB:.0f} MiB more for a moment")
    assert answer.status == 200
    assert grown < ROOM
    return answer.text


def test_sparse_metrics_of_40_gib_cost_little_and_the_rest_is_read(start_server: StartServer, tmp_path: Path) -> None:
    server = start(start_server, tmp_path)
    ask(server, "/metrics")
    assert server.request("/sparse_metrics").text == "done"
    # All of the application's are left out, for once, where a busy machine takes too long to read them.
    eventually(lambda: "shop_orders_total 1.0" in ask(server, "/metrics"), "the rest is read")
    eventually(
        lambda: any(
            "bytes of it are too many" in record["reason"]
            for record in server.log.matching("application metrics left out")
        ),
        "the log says what is left out",
    )


def test_the_servers_names_and_its_page_are_its_own(start_server: StartServer, tmp_path: Path) -> None:
    server = start(start_server, tmp_path)
    assert server.request("/foreign_names").text == "done"
    assert server.request("/").text == "done"
    ask(server, "/metrics")

    def counted() -> str | None:
        """The page, when both requests have been counted: a response leaves before."""
        page = ask(server, "/metrics")
        metrics = [sample for metric in parse(page) for sample in metric.samples]
        requests = [one.value for one in metrics if one.name == "appserver_requests_total"]
        return page if requests == [2.0] and "shop_orders_total 2.0" in page else None

    page = eventually(counted, "two requests and orders, and none of the lies")
    assert page is not None
    assert "1e+09" not in page
    refused = [record for record in server.log.matching("application metrics left out") if "metric" in record]
    assert len(refused) == 3, "each of them once"


def test_stacks_of_1_gib_cost_little(start_server: StartServer, tmp_path: Path) -> None:
    server = start(start_server, tmp_path)
    assert server.request("/large_stacks").text == "done"
    text = ask(server, "/stacks")
    assert "bytes are left out" in text
    assert len(text) < MIB
