"""The application's metrics: real files of real processes, put together."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from appserver.telemetry.application_metrics import VARIABLE, ApplicationMetrics

PROGRAM = """
import sys
from prometheus_client import Counter, Gauge, Histogram, Summary
orders = Counter("shop_orders", "Orders.", ["kind"])
orders.labels("book").inc(int(sys.argv[1]))
Histogram("shop_seconds", "Seconds.", buckets=(1, 10)).observe(int(sys.argv[1]))
Summary("shop_sizes", "Sizes.").observe(int(sys.argv[1]))
for mode in ("all", "liveall", "sum", "livesum", "min", "max", "mostrecent", "livemax"):
    Gauge(f"shop_{mode}", mode, multiprocess_mode=mode).set(int(sys.argv[1]))
Counter("appserver_requests", "Not to be mistaken for the server's.").inc()
print(flush=True)
sys.stdin.read()
"""


class Worker:
    """A process with metrics, which lives until it is ended."""

    def __init__(self, metrics: ApplicationMetrics, number: int) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(number)],
            env={**os.environ, VARIABLE: str(metrics.workers)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self.process.stdout is not None
        self.process.stdout.readline()

    def end(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def metrics(tmp_path: Path) -> ApplicationMetrics:
    made = ApplicationMetrics(tmp_path)
    made.create()
    return made


def samples(metrics: ApplicationMetrics) -> dict[str, float]:
    return {
        sample.name + "".join(f" {name}={value}" for name, value in sorted(sample.labels.items())): sample.value
        for metric in metrics.collect()
        for sample in metric.samples
    }


def test_the_metrics_of_all_processes_are_summed_also_of_those_that_are_gone(metrics: ApplicationMetrics) -> None:
    first, second, third = Worker(metrics, 5), Worker(metrics, 2), Worker(metrics, 1)
    pid = first.process.pid
    try:
        expected = {
            "shop_orders_total kind=book": 8,
            "shop_seconds_bucket le=1.0": 1,
            "shop_seconds_bucket le=10.0": 3,
            "shop_seconds_bucket le=+Inf": 3,
            "shop_seconds_count": 3,
            "shop_seconds_sum": 8,
            "shop_sizes_count": 3,
            "shop_sizes_sum": 8,
            "shop_sum": 8,
            "shop_min": 1,
            "shop_max": 5,
            "shop_mostrecent": 1,
        }
        alive = samples(metrics)
        assert {name: alive[name] for name in expected} == expected
        assert (alive["shop_livesum"], alive["shop_livemax"], alive[f"shop_all pid={pid}"]) == (8, 5, 5)
        first.end()
        third.end()
        for _ in range(2):  # what has been merged is not merged again
            left = samples(metrics)
            assert {name: left[name] for name in expected} == expected
            assert (left["shop_livesum"], left["shop_livemax"]) == (2, 2)
            assert not {name for name in left if f"pid={pid}" in name}
        second.end()
        gone = samples(metrics)
        assert {name: gone[name] for name in expected} == expected
        assert not {name for name in gone if "live" in name}
        assert not any(metrics.workers.iterdir()), "the directory does not grow"
    finally:
        for worker in (first, second, third):
            worker.end()


def test_what_calls_itself_the_servers_is_left_out(metrics: ApplicationMetrics) -> None:
    worker = Worker(metrics, 1)
    try:
        assert not [metric for metric in metrics.collect() if metric.name.startswith("appserver")]
    finally:
        worker.end()


@pytest.mark.timeout(20)
def test_whatever_lies_in_the_directory_the_rest_is_read(metrics: ApplicationMetrics, tmp_path: Path) -> None:
    worker = Worker(metrics, 3)
    try:
        folder = metrics.workers
        sound = (folder / f"counter_{worker.process.pid}.db").read_bytes()
        (folder / "counter_1.db").write_bytes(b"")
        (folder / "counter_2.db").write_bytes(b"\xff" * 100)
        (folder / f"counter_{os.getpid()}.db").write_bytes(sound.replace(b'"shop_orders"', b'["op_orders"]'))
        (folder / "gauge_nonsense.db").write_bytes(sound)
        (folder / "counter_3.db").mkdir()
        os.mkfifo(folder / "counter_4.db")
        (tmp_path / "elsewhere").write_bytes(sound)
        (folder / "counter_5.db").symlink_to(tmp_path / "elsewhere")
        assert samples(metrics)["shop_orders_total kind=book"] == 3
    finally:
        worker.end()


def test_no_metrics_are_no_mistake(metrics: ApplicationMetrics) -> None:
    assert metrics.collect() == []
    metrics.merge_the_dead()


def test_a_full_file_system_loses_nothing_of_those_that_are_gone(metrics: ApplicationMetrics) -> None:
    worker = Worker(metrics, 5)
    worker.end()
    kept = metrics.directory / "past" / "counter_past.new"
    kept.symlink_to("/dev/full")
    assert samples(metrics)["shop_orders_total kind=book"] == 5
    kept.symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left"):
        metrics.merge_the_dead()
    assert samples(metrics)["shop_orders_total kind=book"] == 5
    assert list(metrics.workers.glob("counter_*")) == []


def test_a_file_that_is_written_for_those_that_are_gone_is_never_sparse(metrics: ApplicationMetrics) -> None:
    """Writing through the mapping of one would end the process where the file system is full."""
    Worker(metrics, 5).end()
    metrics.merge_the_dead()
    for file in (metrics.directory / "past").iterdir():
        status = file.stat()
        assert status.st_blocks * 512 >= status.st_size
