"""What a real Prometheus has seen, against what the clients have counted, whatever became of the workers meanwhile."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.conftest import StartServer
from tests.support.address import Address
from tests.support.load import Load
from tests.support.prometheus import MISSING, Prometheus
from tests.support.server import Server
from tests.support.waiting import eventually

SHOP = """
import asyncio, os, signal
from prometheus_client import Counter

ORDERS = Counter("shop_orders", "Orders taken.")

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        return
    if scope["path"] == "/die":
        os.kill(os.getpid(), signal.SIGKILL)
    await asyncio.sleep(0.002)
    ORDERS.inc()
    status = 404 if scope["path"] == "/missing" else 200
    headers = [(b"content-length", b"4")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b"done"})
"""

WORKERS = {"count": 2, "preload": True}

SETTINGS = {
    "app": {"target": "shop:app"},
    "workers": WORKERS,
    "reload": {"linger": 1},
    "admin": {"bind": "127.0.0.1:0"},
    "metrics": {"application": True},
    "access_log": {"enabled": False},
}


@pytest.mark.skipif(MISSING, reason="needs prometheus and promtool (Debian: prometheus)")
@pytest.mark.timeout(180)
@pytest.mark.long
def test_its_figures_are_what_the_clients_have_counted(start_server: StartServer, tmp_path: Path) -> None:
    server = start_server(SETTINGS, files={"shop.py": SHOP})
    target = server.log.matching("admin listening", controls=False)[0]["address"]
    with Prometheus(tmp_path, target) as prometheus:
        pause = (0.0, 0.03)
        with (
            Load(server.address, connections=3, pause=pause) as found,
            Load(server.address, connections=2, pause=pause, path="/missing") as missed,
        ):
            found.wait_for_requests(100)
            kill_one_worker(server)
            found.wait_for_requests(100)
            # From now on, so that those before the reload leave because of that alone.
            server.configure({**SETTINGS, "workers": {**WORKERS, "max_requests": 300}})
            assert server.reload()["result"] == "ok"
            server.log.wait_for("worker exited", reason="reloaded", count=2)
            server.log.wait_for("worker exited", reason="recycled", count=2, timeout=60)
            server.signal(signal.SIGUSR2)
            server.log.wait_for("upgraded")
            found.wait_for_requests(100)
            missed.wait_for_requests(20)
        tallies = found.tally, missed.tally
        assert not any(tally.statuses.keys() - {200, 404} for tally in tallies)
        requests = sum(tally.requests for tally in tallies)
        expected: dict[str, float] = {
            'appserver_requests_total{method="GET",status="200"}': found.tally.requests,
            'appserver_requests_total{method="GET",status="404"}': missed.tally.requests,
            "sum(appserver_requests_total)": requests,
            "appserver_request_duration_seconds_count": requests,
            'appserver_request_duration_seconds_bucket{le="+Inf"}': requests,
            "shop_orders_total": requests,
            "appserver_connections_total": sum(tally.connections for tally in tallies) + 1,
            'appserver_worker_exits_total{reason="crashed"}': 1,
            'appserver_worker_exits_total{reason="reloaded"}': 2,
            'appserver_reloads_total{result="ok"}': 1,
            "appserver_last_reload_success": 1,
            "appserver_generation": 2,
            "appserver_requests_in_progress": 0,
            "appserver_connections_open": 0,
            "appserver_application_errors_total": 0,
            "appserver_workers_wanted": 2,
        }
        seen = {}

        def look() -> bool:
            # One more may end after its last request has been answered.
            recycled = len(server.log.matching("worker exited", reason="recycled"))
            expected['appserver_worker_exits_total{reason="recycled"}'] = recycled
            seen.update({expression: prometheus.value(expression) for expression in expected})
            return seen == expected

        try:
            eventually(look, "the figures of the clients")
        except AssertionError:
            assert seen == expected
        # Of every counter, over all of the time: none went back.
        counters = prometheus.query('count by (__name__) ({__name__=~"(appserver|shop)_.+_(total|count|sum|bucket)"})')
        assert len(counters) > 15
        for counter in (labels["__name__"] for labels, _ in counters):
            assert prometheus.query(f"resets({counter}[10m]) > 0") == [], counter
        assert prometheus.value("changes(appserver_connections_total[10m]) > bool 3") == 1, "it has looked meanwhile"
    checked = subprocess.run(
        ["promtool", "check", "metrics"],
        input=Address.parse(target).request("GET", "/metrics").body,
        capture_output=True,
        check=False,
        timeout=30,
    )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, b"", b"")


def kill_one_worker(server: Server) -> None:
    """Kill -9 between two steps of its event loop, so that what has been answered has been counted."""
    with pytest.raises(OSError):  # noqa: PT011  # closed, or reset
        server.request("/die")
    server.log.wait_for("worker exited", reason="crashed", signal="SIGKILL")


def test_the_page_is_there_at_once_while_every_worker_is_blocked(start_server: StartServer) -> None:
    server = start_server({"admin": {"bind": "127.0.0.1:0", "control": "control.sock"}})
    (worker,) = server.workers()
    os.kill(worker.pid, signal.SIGSTOP)
    addresses = [record["address"] for record in server.log.matching("admin listening")]
    for address in addresses:
        place = Address.parse(address.replace("unix:", f"unix:{server.directory}/"))
        page = place.request("GET", "/metrics")
        assert 'appserver_workers{state="ready"} 1.0' in page.text
    assert len(addresses) == 2
    os.kill(worker.pid, signal.SIGCONT)
