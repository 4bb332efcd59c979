"""The table of `appserver status`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from appserver.cli.status import WIDTH, as_table
from appserver.telemetry.figures import age, lag, number, size

NOW = datetime(2026, 1, 2, 12, 0, tzinfo=UTC)


def worker(**fields: Any) -> dict[str, Any]:
    return {
        "id": 1,
        "pid": 4242,
        "generation": 3,
        "state": "ready",
        "started_at": "2026-01-02T10:00:00.000000Z",
        "requests": 12345,
        "in_progress": 2,
        "connections": 17,
        "websockets": 0,
        "http2_connections": 0,
        "http2_streams": 0,
        "rss_bytes": 45 * 1024**2,
        "loop_lag_seconds": 0.0004,
        "heartbeat_age_seconds": 0.2,
        **fields,
    }


def status(**fields: Any) -> dict[str, Any]:
    return {
        "version": "1.2.3",
        "pid": 4200,
        "state": "serving",
        "generation": 3,
        "started_at": "2026-01-01T12:00:00.000000Z",
        "listeners": ["127.0.0.1:8000"],
        "last_reload": None,
        "workers": [worker()],
        **fields,
    }


def test_it_says_how_the_server_and_each_worker_is() -> None:
    assert as_table(status(), "", NOW) == (
        "appserver 1.2.3: serving, generation 3, pid 4200, up 1d\n"
        "ready\n"
        "listening on 127.0.0.1:8000\n"
        "no reload so far\n"
        "\n"
        "ID  PID GEN STATE UP REQUESTS RUNNING CONNS WS MEMORY   LAG\n"
        " 1 4242   3 ready 2h    12345       2    17  0  45MiB 0.4ms\n"
    )


def test_the_threads_of_a_wsgi_application_have_a_column() -> None:
    busy = worker(threads={"size": 8, "busy": 8, "waiting": 12})
    shown = as_table(status(workers=[busy, worker(threads={"size": 8, "busy": 0, "waiting": 0}), worker()]), "", NOW)
    assert [line.split()[-1] for line in shown.splitlines()[-4:]] == ["THREADS", "8/8+12", "0/8", "-"]


def test_http2_has_a_column_where_it_is_spoken() -> None:
    shown = as_table(status(workers=[worker(http2_connections=3, http2_streams=17), worker()]), "", NOW)
    assert [line.split()[-1] for line in shown.splitlines()[-3:]] == ["H2", "3/17", "0/0"]
    assert max(map(len, shown.splitlines())) <= WIDTH


def test_it_names_the_requests_that_workers_keep_dying_of() -> None:
    request = {"method": "GET", "path": "/poison", "deaths": 12, "alone": 9, "last_at": "2026-01-02T11:59:30Z"}
    text = " ".join(as_table(status(deadly_requests=[request]), "", NOW).split())
    assert "12 workers have died while they served GET /poison (9 nothing else), the last one 30s ago" in text
    shown = as_table(status(deadly_requests=[{**request, "path": "/\x1b]0;owned\x07"}]), "", NOW)
    assert "GET /\\x1b]0;owned\\x07 (" in " ".join(shown.split())


def test_a_worker_whose_heart_does_not_beat_is_blocked_for_so_long() -> None:
    shown = as_table(status(workers=[worker(heartbeat_age_seconds=12.0)]), "", NOW)
    assert " blocked " in shown
    assert shown.endswith(" 12.0s\n")


def test_it_says_why_the_server_is_not_ready_and_how_the_last_reload_ended() -> None:
    reload = {"result": "rolled_back", "reason": "no module named 'x'", "at": "2026-01-02T11:58:30Z"}
    text = as_table(status(last_reload=reload), "short of workers: 1 of 2 serve", NOW)
    assert "\nnot ready: short of workers: 1 of 2 serve\n" in text
    assert "\nlast reload 1m30s ago: rolled_back, no module named 'x'\n" in text


def test_a_worker_that_is_only_being_forked_has_its_row_too() -> None:
    boots = worker(pid=None, state="booting", started_at=None, rss_bytes=0, requests=0)
    assert as_table(status(workers=[boots]), "", NOW).splitlines()[-1].split()[:5] == ["1", "-", "3", "booting", "-"]


def test_it_fits_a_terminal_whatever_the_numbers_are() -> None:
    huge = worker(
        id=64,
        pid=4194304,
        generation=999,
        state="draining",
        started_at="2025-01-01T00:00:00Z",
        requests=987654321012,
        in_progress=12345,
        connections=98765,
        websockets=9999,
        rss_bytes=700 * 1024**3,
        loop_lag_seconds=12.34,
    )
    reload = {"result": "rolled_back", "reason": "a long reason, " * 20, "at": "2026-01-02T11:58:30Z"}
    listeners = [f"127.0.0.1:{port}" for port in range(8000, 8020)]
    text = as_table(status(workers=[huge], last_reload=reload, listeners=listeners), "", NOW)
    assert max(map(len, text.splitlines())) <= WIDTH


@pytest.mark.parametrize(
    ("since", "expected"),
    [
        ("2026-01-02T12:00:00Z", "0s"),
        ("2026-01-02T12:00:05Z", "0s"),  # clocks differ
        ("2026-01-02T11:59:01Z", "59s"),
        ("2026-01-02T11:58:59Z", "1m1s"),
        ("2026-01-02T10:57:59Z", "1h2m"),
        ("2026-01-01T12:00:00Z", "1d"),
        ("2025-12-31T11:00:00Z", "2d1h"),
        (None, "-"),
    ],
)
def test_an_age_is_told_in_its_two_largest_units(since: str | None, expected: str) -> None:
    assert age(since, NOW) == expected


def test_numbers_are_short() -> None:
    assert [number(count) for count in (0, 999_999, 12_345_678, 4_500_000_000)] == ["0", "999999", "12.3M", "4.5G"]
    assert [size(octets) for octets in (0, 500, 36 * 1024, 3 * 1024**3)] == ["-", "500B", "36KiB", "3.0GiB"]
    assert [lag(seconds) for seconds in (0.0, 0.0123, 2.5)] == ["0.0ms", "12.3ms", "2.5s"]
