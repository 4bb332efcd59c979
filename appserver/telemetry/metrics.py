"""Metrics: the scoreboard, and what the master knows of its workers, in the words of Prometheus.

prometheus_client renders; nothing of it is on the path of a request. Names, types and labels are a promise to whoever
has made a dashboard or an alert from them. A label has few values, all known beforehand, and those of a counter are
there from the start, as zeros: a rate over a series that appears with its first event would not see that event.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from math import inf
from typing import Any

from prometheus_client import exposition
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.openmetrics import exposition as openmetrics_exposition
from prometheus_client.registry import Collector

from appserver.telemetry.layout import OTHER
from appserver.telemetry.logs import get_logger
from appserver.telemetry.scoreboard import Totals

__all__ = ["Exposition", "Gauges", "Metric", "WorkerGauges", "render"]

TEXT = "text/plain; version=0.0.4; charset=utf-8"
_logger = get_logger(__name__)
_write_text: Callable[[Collector], bytes] = exposition.generate_latest
_write_openmetrics: Callable[[Collector], bytes] = openmetrics_exposition.generate_latest
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"


@dataclass(frozen=True, slots=True)
class WorkerGauges:
    """The facts about one worker process; `number` is what people see ("worker 2").

    `cpu_seconds` includes that of the earlier workers of this number. None is what could not be found out.
    """

    number: int
    loop_lag: float
    cpu_seconds: float
    resident_bytes: int | None
    open_fds: int | None


@dataclass(frozen=True, slots=True)
class Gauges:
    """The values that the master adds to the scoreboard's totals.

    `deadly_requests` is how many kinds of requests workers keep dying of. `workers_by_state` has every state, with 0 where there is none; `backlogs` are the connections that wait to be
    accepted, by listener; `certificate_expiry` is in seconds since the epoch, by certificate.
    """

    version: str
    python: str
    generation: int
    workers_wanted: int
    last_reload_success: bool
    workers_by_state: Mapping[str, int]
    deadly_requests: int = 0
    workers: Sequence[WorkerGauges] = ()
    backlogs: Mapping[str, int] = field(default_factory=dict)
    certificate_expiry: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Exposition:
    """A page of metrics, and what it is written in."""

    body: bytes
    content_type: str


def render(totals: Totals, gauges: Gauges, application: Iterable[Metric] = (), *, accept: str = "") -> Exposition:
    """Write the page; `accept` is the Accept field of whoever asks, `application` are metrics that are not the server's."""
    own = [*_of_requests(totals), *_of_threads(totals), *_of_server(totals, gauges), *_of_workers(gauges)]
    write, content_type = _write_text, TEXT
    if _prefers_openmetrics(accept):
        write, content_type = _write_openmetrics, OPENMETRICS
    try:
        return Exposition(write(_Collector([*own, *application])), content_type)
    except Exception as error:  # noqa: BLE001  # a name or a value of the application's, whatever is wrong with it
        _logger.warning("application metrics left out", reason=f"they cannot be written: {error!r}")
        return Exposition(write(_Collector(own)), content_type)


class _Collector(Collector):
    """Metrics as prometheus_client wants to be given them."""

    def __init__(self, metrics: Iterable[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[Metric]:
        return self._metrics


def _prefers_openmetrics(accept: str) -> bool:
    """Whether the OpenMetrics text format, version 1.0.0, is what is asked for: Prometheus names it, nobody else does."""
    for choice in accept.split(","):
        kind, *parameters = (part.strip().lower() for part in choice.split(";"))
        if kind == "application/openmetrics-text" and "q=0" not in parameters:
            version = next((value[8:] for value in parameters if value.startswith("version=")), "1.0.0")
            if version == "1.0.0":
                return True
    return False


def _of_requests(totals: Totals) -> Iterator[Metric]:
    requests = CounterMetricFamily(
        "appserver_requests", "Requests that have ended, by method and by status of the response.",
        labels=("method", "status"),
    )  # fmt: skip
    for labels, count in sorted(totals.requests.items()):
        requests.add_metric(labels, count)
    yield requests
    yield _durations(totals)
    yield _gauge("appserver_requests_in_progress", "Requests that are being served.", totals.in_progress)
    received, sent = totals.received_bytes, totals.sent_bytes
    yield _counter("appserver_received_bytes", "Octets received from clients.", received, "bytes")
    yield _counter("appserver_sent_bytes", "Octets sent to clients.", sent, "bytes")
    yield _counter("appserver_connections", "Connections that were accepted.", totals.connections)
    yield _gauge("appserver_connections_open", "Connections that are open.", totals.connections_open)
    yield _counter("appserver_websocket_sessions", "WebSocket sessions that were opened.", totals.sessions)
    yield _gauge("appserver_websocket_sessions_open", "WebSocket sessions that are open.", totals.sessions_open)
    yield _labelled("appserver_websocket_messages", "WebSocket messages.", "direction", totals.messages)
    yield _labelled("appserver_rejected", "Requests and connections that were turned away.", "reason", totals.rejected)
    yield from _of_http2(totals)
    errors = totals.application_errors
    yield _counter("appserver_application_errors", "Requests in which the application raised or gave up.", errors)


def _durations(totals: Totals) -> Metric:
    documentation = "From the head of the request to the end of its response."
    return _histogram("appserver_request_duration_seconds", documentation, totals.duration_buckets, totals.duration_sum)


def _of_http2(totals: Totals) -> Iterator[Metric]:
    connections, streams = totals.http2_connections, totals.http2_streams
    yield _counter("appserver_http2_connections", "Connections of which the client has chosen HTTP/2.", connections)
    open_now = totals.http2_connections_open
    yield _gauge("appserver_http2_connections_open", "Connections that are open and speak HTTP/2.", open_now)
    yield _counter("appserver_http2_streams", "Streams of HTTP/2 that have begun: requests.", streams)
    yield _gauge("appserver_http2_streams_open", "Streams of HTTP/2 that are open.", totals.http2_streams_open)
    resets = CounterMetricFamily(
        "appserver_http2_stream_resets", "Streams that were ended by RST_STREAM, by who has sent it and its error code.",
        labels=("direction", "code"),
    )  # fmt: skip
    for labels, count in totals.http2_resets.items():
        if count or labels[1] != OTHER:
            resets.add_metric(labels, count)
    yield resets
    documentation = "Connections closed since their clients made more work than they may, by the limit."
    yield _labelled("appserver_http2_floods", documentation, "kind", totals.http2_floods)


def _of_threads(totals: Totals) -> Iterator[Metric]:
    """Those of a WSGI application; there are none with another one."""
    if not totals.threads.size and not any(count for _, count in totals.thread_wait_buckets):
        return
    size, busy, waiting = totals.threads
    yield _gauge("appserver_wsgi_threads", "Threads that may run the application.", size)
    yield _gauge("appserver_wsgi_threads_busy", "Threads that run the application.", busy)
    yield _gauge("appserver_wsgi_requests_waiting", "Requests that wait for a thread.", waiting)
    documentation = "How long requests have waited for a thread."
    yield _histogram(
        "appserver_wsgi_thread_wait_seconds", documentation, totals.thread_wait_buckets, totals.thread_wait_sum
    )


def _histogram(name: str, documentation: str, buckets: Sequence[tuple[float, int]], total: float) -> Metric:
    """A histogram of seconds. Its buckets are cumulative; the last one is the count."""
    bounds, counts = zip(*buckets, strict=True)
    names = ["+Inf" if bound == inf else repr(float(bound)) for bound in bounds]
    histogram = HistogramMetricFamily(name, documentation, unit="seconds")
    histogram.add_metric((), list(zip(names, accumulate(counts), strict=True)), total)
    return histogram


def _of_server(totals: Totals, gauges: Gauges) -> Iterator[Metric]:
    build = GaugeMetricFamily("appserver_build_info", "1, by version.", labels=("version", "python"))
    build.add_metric((gauges.version, gauges.python), 1)
    yield build
    yield _gauge("appserver_generation", "The generation of workers that serves.", gauges.generation)
    states = GaugeMetricFamily("appserver_workers", "Worker processes, by state.", labels=("state",))
    for state, count in gauges.workers_by_state.items():
        states.add_metric((state,), count)
    yield states
    yield _gauge("appserver_workers_wanted", "Workers that there should be.", gauges.workers_wanted)
    yield _gauge(
        "appserver_deadly_requests",
        "Requests, by method and path, that were being served when workers died, twice or more within ten minutes.",
        gauges.deadly_requests,
    )
    yield _labelled("appserver_worker_exits", "Workers that have ended, by reason.", "reason", totals.worker_exits)
    yield _labelled("appserver_reloads", "Reloads, by result.", "result", totals.reloads)
    succeeded = int(gauges.last_reload_success)
    yield _gauge("appserver_last_reload_success", "1 unless the last reload did not succeed.", succeeded)
    backlog = GaugeMetricFamily(
        "appserver_listener_backlog", "Connections that wait to be accepted.", labels=("listener",)
    )
    for listener, waiting in gauges.backlogs.items():
        backlog.add_metric((listener,), waiting)
    yield backlog
    dropped = totals.log_lines_dropped
    yield _counter("appserver_log_lines_dropped", "Lines of logs that could not be written.", dropped)
    expiry = GaugeMetricFamily(
        "appserver_tls_certificate_expiry_timestamp_seconds", "When a certificate expires, in seconds since the epoch.",
        labels=("certificate",), unit="seconds",
    )  # fmt: skip
    for certificate, moment in gauges.certificate_expiry.items():
        expiry.add_metric((certificate,), moment)
    yield expiry


def _of_workers(gauges: Gauges) -> Iterator[Metric]:
    lag = GaugeMetricFamily(
        "appserver_event_loop_lag_seconds", "How late the event loop is.",
        labels=("worker",), unit="seconds",
    )  # fmt: skip
    memory = GaugeMetricFamily(
        "appserver_worker_resident_memory_bytes", "Resident memory.", labels=("worker",), unit="bytes"
    )
    cpu = CounterMetricFamily(
        "appserver_worker_cpu_seconds", "Processor time, over all workers of this number.",
        labels=("worker",), unit="seconds",
    )  # fmt: skip
    descriptors = GaugeMetricFamily("appserver_worker_open_fds", "Open file descriptors.", labels=("worker",))
    for worker in gauges.workers:
        labels = (str(worker.number),)
        lag.add_metric(labels, worker.loop_lag)
        cpu.add_metric(labels, worker.cpu_seconds)
        if worker.resident_bytes is not None:
            memory.add_metric(labels, worker.resident_bytes)
        if worker.open_fds is not None:
            descriptors.add_metric(labels, worker.open_fds)
    yield from (lag, memory, cpu, descriptors)


def _counter(name: str, documentation: str, value: float, unit: str = "") -> Metric:
    return CounterMetricFamily(name, documentation, value=value, unit=unit)


def _gauge(name: str, documentation: str, value: float) -> Metric:
    return GaugeMetricFamily(name, documentation, value=value)


def _labelled(name: str, documentation: str, label: str, counts: Mapping[str, int]) -> Metric:
    """A counter by one label; "other", the place for what has no name, only shows once something is there."""
    family: Any = CounterMetricFamily(name, documentation, labels=(label,))
    for value, count in counts.items():
        if count or value != OTHER:
            family.add_metric((value,), count)
    return family  # type: ignore[no-any-return]
