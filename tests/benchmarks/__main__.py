"""The command line of the benchmarks: `python -m tests.benchmarks --help`."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import platform
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.benchmarks.applications import FILES
from tests.benchmarks.load import PACKAGES, program
from tests.benchmarks.measurement import Sample, measure
from tests.benchmarks.report import table
from tests.benchmarks.servers import APPSERVER, FLOOR, NGINX, PEERS, ROOT, install
from tests.benchmarks.workloads import WORKLOADS, Workload


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmarks and print the table; 1 if a request to appserver failed."""
    options = _parser().parse_args(arguments)
    workloads = [workload for workload in WORKLOADS if workload.name in options.only]
    for needed in sorted({program(workload) for workload in workloads}):
        if shutil.which(needed) is None:
            sys.exit(f"these benchmarks need {needed} (Debian package {PACKAGES.get(needed, needed)})")
    servers = [APPSERVER, FLOOR, *(peer for peer in PEERS if peer.name in options.peers)]
    if shutil.which("nginx"):
        servers.append(NGINX)
    pythons = {server.name: install(server, options.cache) for server in servers}
    workloads = [_prepared(workload, options) for workload in workloads]
    samples: list[Sample] = []
    for round_number in range(options.rounds):
        for workload in workloads:
            # Rotated, so that no server always comes first, or behind the same one.
            start = round_number % len(servers)
            for server in servers[start:] + servers[:start]:
                if not server.takes(workload):
                    continue
                sample = measure(server, pythons[server.name], workload, options.seconds)
                samples.append(sample)
                progress = f"{round_number + 1}/{options.rounds} {workload.name} {server.name} {sample.cpu_us:.1f} us"
                print(progress, file=sys.stderr)
    print(table(samples))
    if options.json:
        machine = {"python": platform.python_version(), "kernel": platform.release(), "machine": platform.machine()}
        document = {"machine": machine, "samples": [dataclasses.asdict(sample) for sample in samples]}
        options.json.write_text(json.dumps(document, indent=2))
    return int(any(sample.errors for sample in samples if sample.server == APPSERVER.name))


def _prepared(workload: Workload, options: argparse.Namespace) -> Workload:
    """Write the file that is served; find out how fast a part of what uvicorn can do is."""
    if workload.file_size:
        FILES.mkdir(exist_ok=True)
        with (FILES / str(workload.file_size)).open("wb") as file:
            for _ in range(workload.file_size // 1024):
                file.write(os.urandom(1024))
    if not workload.load:
        return workload
    uvicorn = PEERS[0]
    sample = measure(uvicorn, install(uvicorn, options.cache), workload, options.seconds)
    return dataclasses.replace(workload, pace=workload.load * sample.rate)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    workloads = [workload.name for workload in WORKLOADS]
    peers = [peer.name for peer in PEERS]
    parser.add_argument("--only", type=_choice(workloads), default=workloads, metavar="NAME,...", help="the workloads")
    parser.add_argument("--peers", type=_choice(peers), default=peers, metavar="NAME,...", help='the peers, or "none"')
    parser.add_argument("--rounds", type=int, default=5, help="rounds, of which the median counts (default: 5)")
    parser.add_argument("--seconds", type=float, default=5, help="seconds of each measurement (default: 5)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every sample into this file")
    parser.add_argument(
        "--cache",
        type=Path,
        default=ROOT / ".cache" / "benchmarks",
        metavar="DIR",
        help="where the peers are installed",
    )
    return parser


def _choice(known: Sequence[str]) -> Callable[[str], list[str]]:
    """A type for argparse: some of the known names, separated by commas, or "none"."""

    def parse(text: str) -> list[str]:
        names = [] if text == "none" else text.split(",")
        if unknown := [name for name in names if name not in known]:
            raise argparse.ArgumentTypeError(f"{', '.join(unknown)}: known are {', '.join(known)}")
        return names

    return parse


if __name__ == "__main__":
    sys.exit(main())
