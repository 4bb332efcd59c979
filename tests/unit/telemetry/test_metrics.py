"""The page of metrics."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import replace

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from appserver.telemetry.metrics import OPENMETRICS, TEXT, Gauges, WorkerGauges, render
from appserver.telemetry.scoreboard import Scoreboard, WorkerState
from tests.unit.telemetry.workers import begin, serve

GAUGES = Gauges(
    version="1.2.3",
    python="3.13.1",
    generation=4,
    workers_wanted=2,
    last_reload_success=False,
    workers_by_state={"booting": 0, "ready": 1, "draining": 0},
    workers=[WorkerGauges(1, 0.25, 3.5, 1 << 20, 17), WorkerGauges(2, 0.0, 1.5, None, None)],
    backlogs={"127.0.0.1:8000": 3, 'unix:/run/a "b".sock': 0},
    certificate_expiry={"/etc/certificate.pem": 1_800_000_000.0},
)

# What INTERFACE promises: each name with its labels.
PROMISED = {
    "appserver_requests_total": {"method", "status"},
    "appserver_request_duration_seconds_bucket": {"le"},
    "appserver_request_duration_seconds_sum": set(),
    "appserver_request_duration_seconds_count": set(),
    "appserver_requests_in_progress": set(),
    "appserver_received_bytes_total": set(),
    "appserver_sent_bytes_total": set(),
    "appserver_connections_total": set(),
    "appserver_connections_open": set(),
    "appserver_websocket_sessions_total": set(),
    "appserver_websocket_sessions_open": set(),
    "appserver_websocket_messages_total": {"direction"},
    "appserver_rejected_total": {"reason"},
    "appserver_http2_connections_total": set(),
    "appserver_http2_connections_open": set(),
    "appserver_http2_streams_total": set(),
    "appserver_http2_streams_open": set(),
    "appserver_http2_stream_resets_total": {"direction", "code"},
    "appserver_http2_floods_total": {"kind"},
    "appserver_application_errors_total": set(),
    "appserver_event_loop_lag_seconds": {"worker"},
    "appserver_workers": {"state"},
    "appserver_workers_wanted": set(),
    "appserver_deadly_requests": set(),
    "appserver_worker_exits_total": {"reason"},
    "appserver_generation": set(),
    "appserver_reloads_total": {"result"},
    "appserver_last_reload_success": set(),
    "appserver_listener_backlog": {"listener"},
    "appserver_worker_resident_memory_bytes": {"worker"},
    "appserver_worker_cpu_seconds_total": {"worker"},
    "appserver_worker_open_fds": {"worker"},
    "appserver_log_lines_dropped_total": set(),
    "appserver_tls_certificate_expiry_timestamp_seconds": {"certificate"},
    "appserver_build_info": {"version", "python"},
}


def page(board: Scoreboard, accept: str = "") -> str:
    return render(board.totals(), GAUGES, accept=accept).body.decode()


def samples(board: Scoreboard) -> dict[str, float]:
    """The samples of the page, as they are written there."""
    lines = (line.rpartition(" ") for line in page(board).splitlines() if not line.startswith("#"))
    return {name: float(value) for name, _, value in lines}


def test_every_metric_is_there_from_the_start_with_its_labels(board: Scoreboard) -> None:
    serve(begin(board))
    found = {
        sample.name: set(sample.labels) for metric in parse_text(page(board)) for sample in metric.samples
    }  # fmt: skip
    assert found == PROMISED


def test_counts_and_figures_come_out_as_they_are(board: Scoreboard) -> None:
    slot = begin(board)
    slot.state = WorkerState.READY
    for seconds in (0.05, 0.1, 0.5, 7.0):
        slot.request_started(0.0, "GET", b"/")
        slot.request_finished(1, "GET", 200, seconds, 100, 1000)
    slot.request_started(0.0, "GET", b"/")
    slot.request_finished(1, "BREW", 0, 0.0, 1, 2)
    slot.request_started(0.0, "GET", b"/")
    slot.connection_opened()
    slot.rejected("overload")
    slot.message_sent()
    slot.http2.connection_opened()
    slot.http2.count_streams(5, 2)
    slot.http2.count_streams(0, -1)
    slot.http2.stream_reset("received", 8)
    slot.http2.stream_reset("sent", 0xBAD)
    slot.http2.flood("resets")
    board.worker_exited("crashed")
    board.reload_finished("incomplete")
    found = samples(board)
    expected = {
        'appserver_requests_total{method="GET",status="200"}': 4,
        'appserver_requests_total{method="other",status="other"}': 1,
        'appserver_request_duration_seconds_bucket{le="0.1"}': 3,
        'appserver_request_duration_seconds_bucket{le="1.0"}': 4,
        'appserver_request_duration_seconds_bucket{le="+Inf"}': 5,
        "appserver_request_duration_seconds_count": 5,
        "appserver_request_duration_seconds_sum": 7.65,
        "appserver_requests_in_progress": 1,
        "appserver_received_bytes_total": 401,
        "appserver_sent_bytes_total": 4002,
        "appserver_connections_total": 1,
        "appserver_connections_open": 1,
        'appserver_rejected_total{reason="overload"}': 1,
        'appserver_rejected_total{reason="tls"}': 0,
        'appserver_websocket_messages_total{direction="sent"}': 1,
        "appserver_http2_connections_total": 1,
        "appserver_http2_connections_open": 1,
        "appserver_http2_streams_total": 5,
        "appserver_http2_streams_open": 1,
        'appserver_http2_stream_resets_total{code="CANCEL",direction="received"}': 1,
        'appserver_http2_stream_resets_total{code="REFUSED_STREAM",direction="sent"}': 0,
        'appserver_http2_stream_resets_total{code="other",direction="sent"}': 1,
        'appserver_http2_floods_total{kind="resets"}': 1,
        'appserver_http2_floods_total{kind="control_frames"}': 0,
        'appserver_worker_exits_total{reason="crashed"}': 1,
        'appserver_reloads_total{result="incomplete"}': 1,
        'appserver_workers{state="ready"}': 1,
        "appserver_workers_wanted": 2,
        "appserver_generation": 4,
        "appserver_last_reload_success": 0,
        'appserver_listener_backlog{listener="127.0.0.1:8000"}': 3,
        'appserver_worker_cpu_seconds_total{worker="2"}': 1.5,
        'appserver_worker_open_fds{worker="1"}': 17,
        'appserver_build_info{python="3.13.1",version="1.2.3"}': 1,
    }
    assert {name: found[name] for name in expected} == pytest.approx(expected)
    assert 'appserver_worker_open_fds{worker="2"}' not in found


def test_the_threads_of_a_wsgi_application_are_there_from_the_start_and_only_with_one(board: Scoreboard) -> None:
    slot = begin(board)
    assert "wsgi" not in page(board)
    slot.show_threads(8, 0, 0)
    found = {name: value for name, value in samples(board).items() if "wsgi" in name}
    assert found == {
        "appserver_wsgi_threads": 8,
        "appserver_wsgi_threads_busy": 0,
        "appserver_wsgi_requests_waiting": 0,
        'appserver_wsgi_thread_wait_seconds_bucket{le="0.1"}': 0,
        'appserver_wsgi_thread_wait_seconds_bucket{le="1.0"}': 0,
        'appserver_wsgi_thread_wait_seconds_bucket{le="+Inf"}': 0,
        "appserver_wsgi_thread_wait_seconds_count": 0,
        "appserver_wsgi_thread_wait_seconds_sum": 0,
    }
    slot.show_threads(8, 8, 2)
    slot.thread_waited(0.5)
    board.retire(slot.index)
    found = samples(board)
    assert (found["appserver_wsgi_threads"], found["appserver_wsgi_thread_wait_seconds_count"]) == (0, 1)


def test_what_has_no_name_shows_once_it_has_happened(board: Scoreboard) -> None:
    assert 'appserver_rejected_total{reason="other"}' not in samples(board)
    begin(board).rejected("something new")
    assert samples(board)['appserver_rejected_total{reason="other"}'] == 1


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        ("", TEXT),
        ("*/*", TEXT),
        ("text/html,application/xhtml+xml;q=0.9", TEXT),
        ("application/openmetrics-text", OPENMETRICS),
        (
            "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,*/*;q=0.1",
            OPENMETRICS,
        ),
        ("text/plain;version=0.0.4;q=0.5, Application/OpenMetrics-Text; version=1.0.0", OPENMETRICS),
        ("application/openmetrics-text;version=2.0.0", TEXT),
        ("application/openmetrics-text;version=nonsense", TEXT),
        ("application/openmetrics-text;q=0, text/plain", TEXT),
        (";;,;=,", TEXT),
    ],
)
def test_the_format_is_the_one_that_is_asked_for(board: Scoreboard, accept: str, content_type: str) -> None:
    assert render(board.totals(), GAUGES, accept=accept).content_type == content_type


def test_openmetrics_has_units_and_an_end_and_can_be_parsed(board: Scoreboard) -> None:
    serve(begin(board))
    text = page(board, "application/openmetrics-text")
    assert text.endswith("# EOF\n")
    assert "# UNIT appserver_request_duration_seconds seconds\n" in text
    metrics = parse_openmetrics(text)  # type: ignore[no-untyped-call]
    families = {re.sub("_(total|bucket|sum|count)$", "", name) for name in PROMISED}
    assert {metric.name for metric in metrics} == families


def test_numbers_that_no_honest_worker_writes_do_not_break_the_page(board: Scoreboard) -> None:
    gauges = replace(GAUGES, workers=[WorkerGauges(1, float("nan"), float("inf"), 0, 0)])
    text = render(board.totals(), gauges).body.decode()
    assert 'appserver_event_loop_lag_seconds{worker="1"} NaN\n' in text


@pytest.mark.skipif(shutil.which("promtool") is None, reason="needs promtool (Debian: prometheus)")
def test_promtool_finds_nothing_to_say(board: Scoreboard) -> None:
    serve(begin(board))
    checked = subprocess.run(
        ["promtool", "check", "metrics"], input=page(board), capture_output=True, text=True, check=False, timeout=30
    )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")
