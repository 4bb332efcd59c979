"""The view of `appserver top`: what has happened between two looks."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from appserver.cli.activity import as_view, duration, quantile, rate

NOW = datetime(2026, 1, 2, 12, 0, tzinfo=UTC)
BUCKETS = [0.005, 0.1, 1.0]


def worker(number: int = 1, **fields: Any) -> dict[str, Any]:
    return {
        "id": number,
        "pid": 4240 + number,
        "generation": 3,
        "state": "ready",
        "started_at": "2026-01-02T10:00:00.000000Z",
        "in_progress": 2,
        "connections": 17,
        "websockets": 0,
        "http2_connections": 0,
        "http2_streams": 0,
        "rss_bytes": 45 * 1024**2,
        "loop_lag_seconds": 0.0004,
        "heartbeat_age_seconds": 0.2,
        "durations": [0, 0, 0, 0],
        "cpu_seconds": 1.0,
        "running": [],
        **fields,
    }


def look(clock: float, *workers: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {
        "version": "1.2.3",
        "pid": 4200,
        "state": "serving",
        "generation": 3,
        "started_at": "2026-01-01T12:00:00.000000Z",
        "unreadiness": None,
        "clock": clock,
        "buckets": BUCKETS,
        "durations": [sum(counts) for counts in zip(*(worker["durations"] for worker in workers), strict=True)],
        "workers": list(workers),
        **fields,
    }


def view(before: dict[str, Any], after: dict[str, Any], width: int = 100, height: int = 100) -> str:
    return as_view(before, after, width=width, height=height, now=NOW)


def test_it_shows_rates_and_quantiles_of_the_time_between_and_the_longest_requests_first() -> None:
    running = [{"method": "GET", "path": "/report", "age_seconds": 12.3}]
    before = look(100.0, worker(1, durations=[50, 0, 0, 0]), worker(2))
    after = look(
        102.0,
        worker(1, durations=[150, 90, 10, 0], cpu_seconds=2.5, running=running),
        worker(2, durations=[1, 0, 0, 0], running=[{"method": "POST", "path": "/pay", "age_seconds": 75.0}]),
    )
    assert view(before, after) == (
        "appserver 1.2.3: serving, generation 3, pid 4200, up 1d\n"
        "100 requests/s, p50 <5ms, p99 819ms; 4 running, 34 connections\n"
        "\n"
        "ID  PID GEN STATE UP REQ/S  P50   P99 RUN CONNS WS   LAG CPU   MEM\n"
        " 1 4241   3 ready 2h   100 <5ms 820ms   2    17  0 0.4ms 75% 45MiB\n"
        " 2 4242   3 ready 2h   0.5 <5ms  <5ms   2    17  0 0.4ms  0% 45MiB\n"
        "\n"
        "2 longest running requests\n"
        "  AGE WORKER METHOD PATH\n"
        "75.0s      2 POST   /pay\n"
        "12.3s      1 GET    /report\n"
    )


def test_the_threads_of_a_wsgi_application_have_a_column() -> None:
    shown = view(look(1.0, worker(1)), look(2.0, worker(1, threads={"size": 8, "busy": 8, "waiting": 3}), worker(2)))
    assert [line.split()[-1] for line in shown.splitlines()[3:6]] == ["THREADS", "8/8+3", "-"]


def test_http2_has_a_column_where_it_is_spoken() -> None:
    shown = view(look(1.0, worker(1)), look(2.0, worker(1, http2_connections=3, http2_streams=17), worker(2)))
    assert [line.split()[-1] for line in shown.splitlines()[3:6]] == ["H2", "3/17", "0/0"]


def test_of_a_worker_that_was_not_there_before_no_rate_is_known() -> None:
    shown = view(look(1.0, worker(1)), look(2.0, worker(1, pid=9, durations=[500, 0, 0, 0])))
    assert " 1   9   3 ready 2h     -   -   -   2    17  0 0.4ms   - 45MiB\n" in shown


def test_a_worker_whose_heart_does_not_beat_is_blocked_for_so_long() -> None:
    after = look(2.0, worker(1, heartbeat_age_seconds=7.5), worker(2, state="booting", heartbeat_age_seconds=None))
    shown = view(look(1.0, worker(1)), after)
    assert "blocked 2h     0   -   -   2    17  0  7.5s" in shown
    assert "booting" in shown


def test_it_says_why_the_server_is_not_ready() -> None:
    after = look(2.0, worker(1), unreadiness="short of workers: 1 of 2 serve")
    assert view(look(1.0, worker(1)), after).startswith(
        "appserver 1.2.3: serving, generation 3, pid 4200, up 1d; not ready: short of workers: 1 of 2 serve\n"
    )


def test_it_fits_the_terminal_and_says_what_did_not() -> None:
    running = [{"method": "GET", "path": "/" + "x" * 500, "age_seconds": float(age)} for age in range(1, 17)]
    lines = view(look(1.0, worker()), look(2.0, worker(running=running)), width=60, height=12).splitlines()
    assert len(lines) == 12
    assert max(map(len, lines)) <= 60
    assert lines[-1] == "... 13 more lines"


def test_a_client_cannot_talk_to_the_terminal() -> None:
    running = [{"method": "GET", "path": "/\x1b[2J\n\r\u202e", "age_seconds": 1.0}]
    shown = view(look(1.0, worker()), look(2.0, worker(running=running)))
    assert "/\\x1b[2J\\n\\r\\u202e" in shown
    assert "\x1b" not in shown


def test_without_requests_and_workers_there_is_little_to_see() -> None:
    shown = view(look(1.0, durations=[0] * 4), look(1.0, durations=[0] * 4))
    assert "0 requests/s, p50 -, p99 -; 0 running, 0 connections\n" in shown
    assert "no request has been running for long\n" in shown


@pytest.mark.parametrize(
    ("share", "counts", "expected"),
    [
        (0.5, [0, 0, 0, 0], "-"),
        (0.5, [10, 0, 0, 0], "<5ms"),
        (0.5, [0, 10, 0, 0], "52.5ms"),
        (0.99, [0, 0, 100, 0], "991ms"),
        (0.99, [0, 0, 0, 1], ">1.0s"),
        (0.5, [5, 0, 0, 5], "<5ms"),
    ],
)
def test_a_quantile_is_as_exact_as_the_buckets_are(share: float, counts: list[int], expected: str) -> None:
    assert quantile(share, BUCKETS, counts) == expected


@pytest.mark.parametrize(
    ("seconds", "expected"), [(0.0012, "1.2ms"), (0.123, "123ms"), (1.25, "1.2s"), (99.9, "99.9s"), (185, "3m5s")]
)
def test_a_duration_is_short(seconds: float, expected: str) -> None:
    assert duration(seconds) == expected


@pytest.mark.parametrize(
    ("per_second", "expected"), [(0, "0"), (0.04, "0.0"), (12.34, "12.3"), (4711.4, "4711"), (12_345_678, "12.3M")]
)
def test_a_rate_is_short(per_second: float, expected: str) -> None:
    assert rate(per_second) == expected


def test_what_needs_somebody_to_look_at_it_is_red() -> None:
    states = {"ready": "ready", "failing": "failing", "blocked": "ready", "booting": "booting"}
    workers = [
        worker(number, state=state, heartbeat_age_seconds=9.0 if shown == "blocked" else 0.1)
        for number, (shown, state) in enumerate(states.items(), start=1)
    ]
    seen = look(0.0, *workers, unreadiness="short of workers: 1 of 4 serve")
    coloured = as_view(seen, seen, width=100, height=100, now=NOW, colours=True)
    lines = {
        name: line for line in coloured.splitlines() for name in states if f" {name} " in line and "pid" not in line
    }
    colours = {name: line.partition("m")[0] if line.startswith("\x1b") else "" for name, line in lines.items()}
    assert colours == {"ready": "", "failing": "\x1b[31", "blocked": "\x1b[31", "booting": "\x1b[33"}
    assert coloured.startswith("\x1b[31mappserver")
    assert "\x1b" not in as_view(seen, seen, width=100, height=100, now=NOW)
