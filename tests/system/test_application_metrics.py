"""The application's own metrics on the server's page, whatever becomes of the workers that counted."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families as parse

from tests.conftest import StartServer
from tests.support.address import Address
from tests.support.server import Server
from tests.support.waiting import eventually

SHOP = """
import os
from fastapi import FastAPI
from prometheus_client import Counter, Histogram

app = FastAPI()
ORDERS = Counter("shop_orders", "Orders taken.", ["kind"])
SIZES = Histogram("shop_order_size", "Articles in an order.", buckets=(1, 10))

@app.get("/order/{kind}")
async def order(kind: str):
    ORDERS.labels(kind).inc()
    SIZES.observe(5)
    return os.environ["PROMETHEUS_MULTIPROC_DIR"]
"""

SETTINGS = {
    "app": {"target": "shop:app"},
    "admin": {"bind": "127.0.0.1:0"},
    "metrics": {"application": True},
}


def all_metrics(server: Server) -> dict[str, float]:
    """The page with the application's metrics, which are left out if they are not read in time."""

    def look() -> dict[str, float]:
        found = metrics(server)
        return found if "shop_orders_total book" in found else {}

    return eventually(look, "the metrics of the application are there")


def metrics(server: Server) -> dict[str, float]:
    address = server.log.matching("admin listening", controls=False)[0]["address"]
    page = Address.parse(address).request("GET", "/metrics")
    assert page.status == 200
    return {
        sample.name + "".join(f" {value}" for value in sample.labels.values()): sample.value
        for metric in parse(page.text)
        for sample in metric.samples
    }


def is_settled(server: Server) -> bool:
    """Whether two workers serve, and neither has had so many requests that it is recycled."""
    address = server.log.matching("admin listening", controls=False)[0]["address"]
    workers = json.loads(Address.parse(address).request("GET", "/status").text)["workers"]
    return [worker["state"] for worker in workers] == ["ready"] * 2 and all(w["requests"] < 25 for w in workers)


def directory_of(server: Server) -> Path:
    return Path(server.request("/order/book").text.strip('"'))


@pytest.mark.long
def test_they_are_summed_over_workers_that_die_and_are_replaced(start_server: StartServer) -> None:
    server = start_server(
        {**SETTINGS, "workers": {"count": 2, "preload": True, "max_requests": 25}}, files={"shop.py": SHOP}
    )
    directory = directory_of(server)
    books = 1
    # One worker may take nearly all of them, so it is not known how many make the second one due.
    while len(server.log.matching("worker exited", reason="recycled")) < 2:
        assert server.request("/order/book").status == 200
        books += 1
    # The response leaves before the request is counted.
    eventually(lambda: metrics(server)["appserver_requests_total GET 200"] == books, "every request is counted")
    eventually(lambda: is_settled(server), "no worker is due, or about to go")
    os.kill(next(process.pid for process in server.workers()), signal.SIGKILL)
    server.log.wait_for("worker exited", reason="crashed")
    server.wait_for_workers(2)
    for _ in range(10):
        server.request("/order/pen")
    eventually(lambda: metrics(server)["appserver_requests_total GET 200"] == books + 10, "every request is counted")
    found = all_metrics(server)
    assert (found["shop_orders_total book"], found["shop_orders_total pen"]) == (books, 10)
    orders = books + 10
    assert (found["shop_order_size_bucket 1.0"], found["shop_order_size_bucket 10.0"]) == (0, orders)
    assert (found["shop_order_size_count"], found["shop_order_size_sum"]) == (orders, 5 * orders)
    # Of two workers and two zygotes at most.
    eventually(
        lambda: len({path.stem.rpartition("_")[2] for path in directory.glob("*.db")}) <= 4,
        "the files of the dead are gone",
    )
    assert directory.parent.stat().st_uid == os.geteuid()
    assert directory.stat().st_mode & 0o777 == 0o700
    assert server.stop() == 0
    assert not directory.parent.exists()


@pytest.mark.long
def test_they_survive_a_reload_and_a_new_program(start_server: StartServer) -> None:
    server = start_server(SETTINGS, files={"shop.py": SHOP})
    directory = directory_of(server)
    assert server.reload()["result"] == "ok"
    assert directory_of(server) == directory
    server.signal(signal.SIGUSR2)
    server.log.wait_for("upgraded")
    assert directory_of(server) == directory
    assert all_metrics(server)["shop_orders_total book"] == 3
    assert server.stop() == 0
    assert not directory.parent.exists()


def test_without_them_the_application_finds_no_directory(start_server: StartServer) -> None:
    server = start_server({"app": {"target": "shop:app"}}, files={"shop.py": SHOP})
    assert server.request("/order/book").status == 500


@pytest.mark.long
def test_what_a_killed_server_has_left_is_removed_at_the_next_boot(tmp_path: Path) -> None:
    server = Server(tmp_path, SETTINGS, files={"shop.py": SHOP})
    with server:
        directory = directory_of(server).parent
        server.signal(signal.SIGKILL)
        eventually(lambda: not server.processes(), "the end of all its processes")
    assert directory.exists()
    os.utime(directory, (0, 0))
    with Server(tmp_path, SETTINGS, files={"shop.py": SHOP}) as server:
        assert directory_of(server).parent != directory
        assert not directory.exists()
