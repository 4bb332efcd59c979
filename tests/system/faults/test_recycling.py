"""A worker that has served long enough is replaced without a lost request, and never two at once."""

from __future__ import annotations

import signal
from typing import Any

import pytest

from tests.conftest import StartServer
from tests.support.server import Record, Server
from tests.support.waiting import eventually
from tests.system.faults.scene import either_preload, faulty, files, measured_load

MIB = 1024 * 1024


def recycled(server: Server) -> list[Record]:
    """The exits of recycled workers so far."""
    return server.log.matching("worker exited", reason="recycled")


def never_two_at_once(server: Server) -> bool:
    """Whether no worker began to drain before the one before it had gone."""
    leaving: set[int] = set()
    for record in server.log.records:
        if record["event"] == "worker draining" and record["reason"] == "recycle":
            leaving.add(record["worker_pid"])
            if len(leaving) > 1:
                return False
        elif record["event"] == "worker exited":
            leaving.discard(record["worker_pid"])
    return True


@pytest.mark.long
@either_preload
@pytest.mark.parametrize(
    ("limits", "path"),
    [
        pytest.param({"max_requests": 300, "max_requests_jitter": 100}, "/", id="max_requests"),
        pytest.param({"max_lifetime": 3}, "/", id="max_lifetime"),
        pytest.param({"max_rss": 160 * MIB}, "/grow/2", id="max_rss"),
    ],
)
def test_workers_are_recycled_under_load_without_a_failed_request(
    start_server: StartServer, limits: dict[str, Any], path: str, preload: bool
) -> None:
    server = start_server(faulty({"count": 2, "preload": preload, **limits}, reload={"linger": 5}), files=files())
    before = [worker.pid for worker in server.workers()]
    name = next(iter(limits))
    with measured_load(server.address, name, connections=8, pause=(0.01, 0.1), path=path) as load:
        # Among them those that there were at first, which need not be the first to come to the limit.
        eventually(
            lambda: len(recycled(server)) >= 3 and not set(before) & {worker.pid for worker in server.workers()},
            "three workers have been recycled",
            timeout=90,
        )
        load.wait_for_requests(50)
    assert load.tally.failed == 0
    assert set(load.tally.statuses) == {200}
    assert {record["reason"] for record in server.log.matching("worker due for recycling")} == {name}
    assert never_two_at_once(server)


def test_a_worker_is_recycled_after_max_requests(start_server: StartServer) -> None:
    server = start_server({"workers": {"count": 1, "max_requests": 5}, "reload": {"linger": 0.2}})
    [old] = server.workers()
    for _ in range(5):
        assert server.request("/").text == "hello"
    exited = server.log.wait_for("worker exited", reason="recycled")
    assert exited["worker_pid"] == old.pid
    assert server.request("/").text == "hello"


@pytest.mark.long
def test_scaling_up_and_down_in_bursts_loses_no_request(start_server: StartServer) -> None:
    server = start_server({"workers": {"count": 2}, "reload": {"linger": 5}})
    with measured_load(server.address, "2 -> 5 -> 1 -> 3 workers", connections=64, pause=(0, 0.06)) as load:
        load.wait_for_requests(200)
        for number, times, count in ((signal.SIGTTIN, 3, 5), (signal.SIGTTOU, 6, 1), (signal.SIGTTIN, 2, 3)):
            for _ in range(times):
                mark = len(server.log.records)
                server.signal(number)  # equal signals that are pending are one
                server.log.wait_for("scaled", since=mark)
            server.wait_for_workers(count, timeout=40)
            load.wait_for_requests(200)
    assert load.tally.failed == 0
    assert server.log.matching("scaled")[-1]["count"] == 3
