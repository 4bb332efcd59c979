"""The load that a server is put under: wrk, h2load, or a program of ours where neither can send what is wanted.

Each reports the requests that were answered, in how many seconds, how long half of them took and all but one in a hundred
(microseconds), and how many failed.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from tests.benchmarks.servers import ROOT, Run
from tests.benchmarks.workloads import Workload

PACKAGES = {"h2load": "nghttp2-client"}
"""The Debian packages of programs whose packages have other names."""

UNITS = {"s": 1.0, "ms": 1e-3, "us": 1e-6}
"""What h2load gives times in, in seconds."""

Report = dict[str, float]


def program(workload: Workload) -> str:
    """The program that makes the load."""
    if workload.message_size or (workload.http2 and workload.varied):
        return sys.executable
    return "h2load" if workload.http2 else "wrk"


def load(run: Run, seconds: float, core: int) -> Report:
    """Put the server under load from one core; the report."""
    workload = run.workload
    if workload.message_size:
        return _websocket(run, seconds, core)
    if workload.http2:
        return (_varied if workload.varied else _h2load)(run, seconds, core)
    return _wrk(run, seconds, core)


def pinned(core: int) -> Callable[[], None]:
    """What a process calls before it begins, to stay on one core."""
    return lambda: os.sched_setaffinity(0, {core})


def _output(command: list[str], core: int) -> str:
    finished = subprocess.run(
        command,
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
        preexec_fn=pinned(core),
    )
    return finished.stdout


def _json(command: list[str], core: int) -> Report:
    report: Report = json.loads(_output(command, core).splitlines()[-1])
    return report


def _wrk(run: Run, seconds: float, core: int) -> Report:
    """Run wrk; its report as the script of the workload prints it."""
    script = run.directory / "wrk.lua"
    script.write_text(run.workload.script)
    # wrk takes whole seconds only.
    options = ["-t1", f"-c{run.workload.connections}", f"-d{max(1, round(seconds))}s", "-s", str(script)]
    return _json(["wrk", *options, run.url], core)


def _websocket(run: Run, seconds: float, core: int) -> Report:
    workload = run.workload
    options = [f"--sessions={workload.connections}", f"--size={workload.message_size}", f"--seconds={seconds}"]
    options += ["--compressed"] if workload.compressed else []
    return _json([sys.executable, "-m", "tests.benchmarks.websocket_load", str(run.port), *options], core)


def _varied(run: Run, seconds: float, core: int) -> Report:
    workload = run.workload
    options = [f"--connections={workload.connections}", f"--streams={workload.streams}", f"--seconds={seconds}"]
    return _json([sys.executable, "-m", "tests.benchmarks.http2_load", str(run.port), *options], core)


def _h2load(run: Run, seconds: float, core: int) -> Report:
    """Run h2load; what is under way when the time is over does not count."""
    workload = run.workload
    log = run.directory / "h2load.log"
    log.unlink(missing_ok=True)
    # h2load takes whole seconds only.
    options = [f"-c{workload.connections}", f"-m{workload.streams}", f"-D{max(1, round(seconds))}", f"--log-file={log}"]
    options += [f"--header={name}: {value}" for name, value in workload.headers.items()]
    if workload.body_size:
        body = run.directory / "body"
        body.write_bytes(b"x" * workload.body_size)
        options.append(f"--data={body}")
    return h2load_report(_output(["h2load", *options, run.url], core), log)


def h2load_report(output: str, log: Path) -> Report:
    """The report of h2load: totals from what it prints, times from the log that has a line for each request."""
    time = re.search(r"^finished in ([\d.]+)(s|ms|us)", output, re.MULTILINE)
    counts = re.search(r"(\d+) done, (\d+) succeeded, (\d+) failed, (\d+) errored, (\d+) timeout", output)
    if time is None or counts is None:
        raise RuntimeError(f"h2load reports nothing:\n{output}")
    done, succeeded, *bad = map(int, counts.groups())
    times = sorted(int(line.split("\t")[2]) for line in log.read_text().splitlines()) or [0]
    return {
        "requests": succeeded,
        "seconds": float(time[1]) * UNITS[time[2]],
        "p50_us": times[len(times) // 2],
        "p99_us": times[len(times) * 99 // 100],
        "errors": max(done - succeeded, sum(bad)),
    }
