"""What the processes of a server cost: `python -m tests.benchmarks.processes`.

Four workers of an application of usual weight. For each server, medians over the rounds of:

- *boot*: seconds from exec to the first 200;
- *PSS*: the proportional set size of the whole process tree in MB (proc(5)), after each worker has answered requests;
- *replaced*: seconds from the `kill -9` of a worker until the one in its place is ready, as appserver's log has it.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from tests.benchmarks.measurement import free_port
from tests.benchmarks.servers import APPSERVER, PEERS, ROOT, Server, install
from tests.benchmarks.trees import memory, running, wait_for_answer
from tests.support import processes, toml
from tests.support.address import Address
from tests.support.waiting import eventually

WORKERS = 4
APPLICATION = "tests.benchmarks.heavy_application:app"
REQUESTS = 200
LAYOUT = "{:<22}{:>10}{:>12}{:>14}{:>14}"


@dataclass(frozen=True)
class Cost:
    """One round of one server; seconds and bytes."""

    boot: float
    pss: int
    replaced: float | None = None


def main() -> int:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.processes", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cache", type=Path, default=ROOT / ".cache" / "benchmarks", metavar="DIR")
    options = parser.parse_args()
    variants = _variants(options.cache)
    costs: dict[str, list[Cost]] = {name: [] for name in variants}
    for _ in range(options.rounds):
        for name, command in variants.items():
            costs[name].append(_measure(name, command))
    print(LAYOUT.format("server", "boot s", "PSS MB", "ratio of PSS", "replaced s"))
    own = statistics.median(cost.pss for cost in costs["appserver, preload"])
    for name, rounds in costs.items():
        pss = statistics.median(cost.pss for cost in rounds)
        replaced = [cost.replaced for cost in rounds if cost.replaced is not None]
        print(
            LAYOUT.format(
                name,
                f"{statistics.median(cost.boot for cost in rounds):.2f}",
                f"{pss / 1e6:.0f}",
                f"{own / pss:.2f}",
                f"{statistics.median(replaced):.2f}" if replaced else "",
            )
        )
    return 0


def _variants(cache: Path) -> dict[str, Callable[[int, Path], list[str]]]:
    """The servers, each as a function that makes its command line from a port and a directory for its files."""
    variants: dict[str, Callable[[int, Path], list[str]]] = {
        "appserver": lambda port, directory: _appserver(port, directory, preload=False),
        "appserver, preload": lambda port, directory: _appserver(port, directory, preload=True),
    }
    pythons = {peer.name: _python(peer, cache) for peer in PEERS if peer.name != "hypercorn"}
    bind = "127.0.0.1:{}".format
    options: dict[str, Callable[[int], list[str]]] = {
        "uvicorn": lambda port: ["--port", str(port), "--workers", str(WORKERS)],
        "granian": lambda port: ["--interface", "asgi", "--port", str(port), "--workers", str(WORKERS)],
        "gunicorn": lambda port: ["-k", "asgi", "-w", str(WORKERS), "-b", bind(port)],
        "h2corn": lambda port: ["-w", str(WORKERS), "-b", bind(port)],
    }
    for name, make in options.items():
        variants[name] = _peer(pythons[name], name, make)
    return variants


def _peer(python: str, module: str, options: Callable[[int], list[str]]) -> Callable[[int, Path], list[str]]:
    return lambda port, _directory: [python, "-m", module, *options(port), APPLICATION]


def _python(peer: Server, cache: Path) -> str:
    python = install(peer, cache)
    subprocess.run([python, "-m", "pip", "install", "--quiet", "sqlalchemy"], check=True)
    return python


def _appserver(port: int, directory: Path, *, preload: bool) -> list[str]:
    settings = directory / "server.toml"
    listeners = [{"bind": f"127.0.0.1:{port}"}]
    workers = {"count": WORKERS, "preload": preload}
    log = {"file": str(directory / "log"), "format": "json"}
    app = {"target": APPLICATION}
    settings.write_text(toml.dumps({"app": app, "listeners": listeners, "workers": workers, "logging": log}))
    return [sys.executable, "-m", APPSERVER.name, "--config", str(settings)]


def _measure(name: str, command: Callable[[int, Path], list[str]]) -> Cost:
    with tempfile.TemporaryDirectory() as directory:
        address = Address("127.0.0.1", free_port())
        began = time.monotonic()
        with running(command(address.port, Path(directory))) as session:
            wait_for_answer(address, name)
            boot = time.monotonic() - began
            # Not before all workers have come up: they share the memory that is to be divided.
            time.sleep(2.0)
            for _ in range(REQUESTS):
                address.request("GET", "/")
            pss = memory(session)
            replaced = _replacement(session, Path(directory, "log")) if name.startswith("appserver") else None
    return Cost(boot, pss, replaced)


def _replacement(session: int, log: Path) -> float:
    """Kill a worker; the seconds until the log says that another one is ready."""
    victim = next(process for process in processes.in_session(session) if process.worker)
    known = len(_ready(log))
    began = time.time()
    os.kill(victim.pid, signal.SIGKILL)
    eventually(lambda: len(_ready(log)) > known, "the worker is replaced", timeout=30)
    return _ready(log)[known] - began


def _ready(log: Path) -> list[float]:
    """When workers became ready, in seconds since the epoch."""
    records = [json.loads(line) for line in log.read_text().splitlines()]
    moments = [record["timestamp"] for record in records if record["event"] == "worker ready"]
    return [datetime.fromisoformat(moment).timestamp() for moment in moments]


if __name__ == "__main__":
    sys.exit(main())
