"""Exits: what the end of a process was, in words and as a label."""

from __future__ import annotations

from collections.abc import Iterable

from appserver.supervision.actions import ExitReason, Level
from appserver.supervision.events import ExitStatus, Request, WorkerExited
from appserver.supervision.records import Worker
from appserver.supervision.states import WorkerState

# signal(7): the numbers that Linux gives them on every architecture that Python runs on. The module `signal` is not for here.
SIGNAL_NAMES = {
    1: "SIGHUP",
    2: "SIGINT",
    3: "SIGQUIT",
    4: "SIGILL",
    5: "SIGTRAP",
    6: "SIGABRT",
    8: "SIGFPE",
    9: "SIGKILL",
    11: "SIGSEGV",
    13: "SIGPIPE",
    14: "SIGALRM",
    15: "SIGTERM",
}


SIGKILL = 9


def signal_name(number: int) -> str:
    return SIGNAL_NAMES.get(number, f"signal {number}")


def describe_status(status: ExitStatus) -> str:
    """The end of a process as the end of a sentence."""
    if status.signal is not None:
        return f"was killed by {signal_name(status.signal)}"
    return "ended" if status.code is None else f"exited with code {status.code}"


def status_fields(status: ExitStatus) -> dict[str, object]:
    """The end of a process as fields of a log record."""
    if status.signal is not None:
        return {"signal": signal_name(status.signal)}
    return {} if status.code is None else {"exit_code": status.code}


def serving_fields(requests: Iterable[Request], name: str = "serving") -> dict[str, object]:
    """The requests that a worker was serving, as a field of a log record; empty if there were none."""
    serving = [_describe_request(found) for found in requests]
    return {name: serving} if serving else {}


def last_serving_fields(event: WorkerExited) -> dict[str, object]:
    """The requests that a worker was serving when it died, as fields of a log record whose names say what is certain."""
    fields = serving_fields(event.serving) | serving_fields(event.served_shortly_before, "served_shortly_before")
    if event.served_shortly_before or event.in_progress > len(event.serving):
        fields["in_progress"] = event.in_progress
    return fields


def _describe_request(found: Request) -> dict[str, object]:
    fields: dict[str, object] = {"method": found.method, "path": found.path, "age_seconds": round(found.age, 1)}
    if found.request_id is not None:
        fields["request_id"] = found.request_id
    return fields


def hint(worker: Worker, reason: ExitReason, status: ExitStatus) -> dict[str, object]:
    """A hint at what the exit of a worker may mean, as a field of its log record, where that is not obvious."""
    by_us = worker.state is WorkerState.KILLED
    if status.signal == SIGKILL and reason in ("crashed", "boot_failed") and not by_us:
        return {"hint": "killed by somebody else: possibly out of memory (the kernel log says so, then)"}
    if status.code == 0 and reason == "crashed":
        return {"hint": "exited by itself with code 0: a SIGTERM to the worker, or the application ended the process"}
    return {}


def exit_reason(worker: Worker, status: ExitStatus, *, oom: bool) -> ExitReason:
    """The metric label of the exit of a worker."""
    if worker.state is WorkerState.KILLED and worker.leaving:
        return worker.leaving
    if oom:
        return "out_of_memory"
    if worker.leaving is None:
        return "crashed" if worker.ready_at is not None else "boot_failed"
    # One that was asked to leave and dies on the way has taken requests with it.
    died = worker.ready_at is not None and (status.signal is not None or status.code not in (0, None))
    return "crashed" if died else worker.leaving


def exit_level(worker: Worker, reason: ExitReason) -> Level:
    """How loud the exit of a worker is: what has had its own record as an error is not one a second time."""
    if reason in ("crashed", "out_of_memory"):
        return "error"
    if reason == "boot_failed":
        return "warning" if worker.leaving else "error"
    return "warning" if worker.state is WorkerState.KILLED else "info"
