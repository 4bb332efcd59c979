"""The table: medians over the rounds, and how each server compares with appserver."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from tests.benchmarks.measurement import Sample
from tests.benchmarks.servers import APPSERVER
from tests.benchmarks.workloads import WORKLOADS, Workload

COLUMNS = ("server", "CPU us/request", "appserver/server", "requests/s", "p50 us", "p99 us", "errors")
LAYOUT = "{:<12}{:>16}{:>18}{:>12}{:>10}{:>10}{:>8}"


def table(samples: Sequence[Sample]) -> str:
    """One block per workload, the cheapest server first."""
    return "\n".join(
        _block(workload, [sample for sample in samples if sample.workload == workload.name])
        for workload in WORKLOADS
        if any(sample.workload == workload.name for sample in samples)
    )


def _block(workload: Workload, samples: Sequence[Sample]) -> str:
    by_server: dict[str, list[Sample]] = {}
    for sample in samples:
        by_server.setdefault(sample.server, []).append(sample)
    own = median([sample.cpu_us for sample in by_server.get(APPSERVER.name, [])])
    rows = []
    for server, runs in sorted(by_server.items(), key=lambda item: median([run.cpu_us for run in item[1]])):
        cpu = median([run.cpu_us for run in runs])
        rows.append(
            LAYOUT.format(
                server,
                f"{cpu:.1f}",
                f"{own / cpu:.2f}" if own and cpu else "",
                f"{median([run.rate for run in runs]):.0f}",
                f"{median([run.p50_us for run in runs]):.0f}",
                f"{median([run.p99_us for run in runs]):.0f}",
                sum(run.errors for run in runs),
            )
        )
    return "\n".join([f"{workload.name}: {workload.about}", LAYOUT.format(*COLUMNS), *rows, ""])


def median(values: Sequence[float]) -> float:
    """The median; 0 of nothing."""
    return statistics.median(values) if values else 0.0
