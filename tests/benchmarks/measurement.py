"""One measurement: a server on one core, its load on the other, and the CPU time of the server's process tree per request.

CPU time per request is what holds on a machine that others use too: a neighbour makes a server slower, but hardly lets
it spend more time on a request.
"""

from __future__ import annotations

import os
import signal
import socket
import ssl
import subprocess
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from tests.benchmarks import http2_client
from tests.benchmarks.load import load, pinned
from tests.benchmarks.servers import ROOT, Run, Server, environment
from tests.benchmarks.workloads import Workload
from tests.support import processes
from tests.support.address import Address
from tests.support.certificates import Authority
from tests.support.waiting import eventually

WARM_UP = 0.5
"""Seconds of load before the measurement: imports on first use, connections, caches."""


@dataclass(frozen=True)
class Sample:
    """What one measurement gave. Times per request in microseconds."""

    workload: str
    server: str
    requests: int
    seconds: float
    cpu_us: float
    p50_us: float
    p99_us: float
    errors: int

    @property
    def rate(self) -> float:
        """Requests per second."""
        return self.requests / self.seconds


def measure(server: Server, python: str, workload: Workload, seconds: float) -> Sample:
    """Start the server, load it for `seconds`, stop it."""
    server_core, client_core = cores()
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        run = Run(python, free_port(), workload, directory)
        if workload.tls:
            authority = Authority()
            authority.write(directory)
            authority.issue("localhost").write(directory)
        with _running(server, run, server_core) as pid:
            load(run, WARM_UP, client_core)
            before = processes.tree_cpu_seconds(pid)
            report = load(run, seconds, client_core)
            cpu = processes.tree_cpu_seconds(pid) - before
    cpu_us = cpu / max(report["requests"], 1) * 1e6
    return Sample(
        workload.name,
        server.name,
        int(report["requests"]),
        report["seconds"],
        cpu_us,
        report["p50_us"],
        report["p99_us"],
        int(report["errors"]),
    )


def cores() -> tuple[int, int]:
    """A core for the server and one for the load; the same one where there is no other."""
    usable = sorted(os.sched_getaffinity(0))
    return usable[0], usable[-1]


@contextmanager
def _running(server: Server, run: Run, core: int) -> Iterator[int]:
    """Run a server from its first proper answer to the end of the block; yields the pid of its first process."""
    with (run.directory / "output").open("w+b") as output:
        process = subprocess.Popen(
            server.command(run),
            cwd=ROOT,
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            preexec_fn=pinned(core),  # noqa: PLW1509 - the harness has one thread
        )
        try:
            eventually(lambda: _answers(run, process, output), f"{server.name} answers", timeout=30)
            yield process.pid
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                pass
            for member in processes.in_session(process.pid):
                os.kill(member.pid, signal.SIGKILL)
            process.wait()


def _answers(run: Run, process: subprocess.Popen[bytes], output: IO[bytes]) -> bool:
    if process.poll() is not None:
        output.seek(0)
        raise RuntimeError(f"{process.args!r} ended:\n{output.read().decode(errors='replace')}")
    try:
        if run.workload.tls:
            return _answers_encrypted(run)
        address = Address("127.0.0.1", run.port)
        if run.workload.http2:  # gunicorn takes nothing else where it takes that in clear text
            with address.connect() as connection:
                body = b"x" if run.workload.body_size else b""  # without any, uvicorn does not tell the application so
                return http2_client.request(connection, run.workload.path, body) == "200"
        return address.request(run.workload.method, run.workload.path).status == 200
    except OSError:
        return False


def _answers_encrypted(run: Run) -> bool:
    context = ssl.create_default_context(cafile=run.directory / "authority.crt")
    context.check_hostname = False
    with urllib.request.urlopen(run.url, timeout=5, context=context) as response:
        return bool(response.status == 200)


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port
