"""The states of a worker and of a zygote, and every answer to everything that can happen in them.

Two tables. Each has a row for every state and in it a cell for every cause, and a cell is one of three things: the state that
comes next (which may be the same one: it is then entered anew), `Stay` with the reason why nothing changes, or `Impossible`
with the reason why the cause cannot occur. What entering a state orders to be done is in `processes`; it depends on the state
alone and not on the way to it.

The usual life of a worker goes down the rows:

    FORKING → BOOTING → READY → DRAINING → GONE

A worker is *present* in its slot in the first four states (`PRESENT`), and *serving* when it is READY. It leaves its slot with
the first step out of these, not only when its process is gone: a slow end never holds up what comes after it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class WorkerState(StrEnum):
    """The state of a worker, as the supervisor knows it."""

    FORKING = "forking"
    """Its zygote has been asked to fork it. Then BOOTING."""

    BOOTING = "booting"
    """It runs: imports the application, runs its start-up. Then READY, or FAILING."""

    READY = "ready"
    """It accepts connections. Then DRAINING, or STALLED, or it dies. Its zygote may still owe its pid: for that it has a
    deadline, as nobody could notice its end."""

    STALLED = "stalled"
    """Its event loop has been blocked for `stall_timeout`. Then KILLED, or READY again."""

    DRAINING = "draining"
    """It has been asked to leave. Then GONE, or KILLED if that takes too long."""

    FAILING = "failing"
    """It has said that it cannot boot, and is about to exit. Then GONE, or KILLED if it does not."""

    KILLED = "killed"
    """It has been sent SIGKILL, perhaps more than once. Then GONE."""

    GONE = "gone"
    """There is no process. The record is dropped as soon as its end has been taken note of."""


class WorkerCause(StrEnum):
    """The causes of a worker's transitions: from outside (events), by the clock (OVERDUE), by decision (the last four)."""

    FORKED = "forked"
    FORK_REFUSED = "fork_refused"
    """There is no process for it, and none will come."""
    READY = "ready"
    """It says that it is ready."""
    FAILED = "failed"
    """It says that it cannot boot."""
    EXITED = "exited"
    ORPHANED = "orphaned"
    """Its zygote is gone and had not reported it: its process, if there is one, cannot be known."""
    OVERDUE = "overdue"
    """The deadline of its present state has passed."""
    STALLED = "stalled"
    RECOVERED = "recovered"
    RETIRED = "retired"
    """It is wanted no longer and may take its time."""
    CONDEMNED = "condemned"
    """It has to go at once."""


class ZygoteState(StrEnum):
    """The state of the zygote of a generation, as the supervisor knows it."""

    WAITING = "waiting"
    """There is no process; one is started when the back-off is over. Then BOOTING."""

    BOOTING = "booting"
    """It has been started: imports the application, if that is to be preloaded. Then READY, or FAILING."""

    READY = "ready"
    """It forks workers. Then STOPPING, or it dies: WAITING."""

    FAILING = "failing"
    """It has said that it cannot boot, and is about to exit. Then WAITING."""

    STOPPING = "stopping"
    """Its channel has been closed. Then GONE, or KILLED if that takes too long."""

    KILLED = "killed"
    """It has been sent SIGKILL. Then WAITING, from where it goes if it is wanted no longer."""

    GONE = "gone"
    """There is no process and none is wanted. The record is dropped when the last worker of the generation is gone."""


class ZygoteCause(StrEnum):
    """The causes of a zygote's transitions; as for workers."""

    SPAWN_FAILED = "spawn_failed"
    READY = "ready"
    FAILED = "failed"
    EXITED = "exited"
    OVERDUE = "overdue"
    RETIRED = "retired"
    CONDEMNED = "condemned"


@dataclass(frozen=True, slots=True)
class Stay:
    """Nothing changes."""

    why: str


@dataclass(frozen=True, slots=True)
class Impossible:
    """Cannot occur. If it does, somebody has a bug: it is logged as an error, and nothing changes."""

    why: str


WorkerCell = WorkerState | Stay | Impossible
ZygoteCell = ZygoteState | Stay | Impossible

PRESENT = frozenset({WorkerState.FORKING, WorkerState.BOOTING, WorkerState.READY, WorkerState.STALLED})
UNBORN = frozenset({WorkerState.FORKING, WorkerState.BOOTING})

_LEAVING = Stay("it is leaving already")
_HAS_PROCESS = Impossible("it has a process: it has been reported, or has spoken itself")
_SAID_ONCE = Impossible("a worker says once what became of its boot")
_NOT_WATCHED = Impossible("only workers that have been ready are watched for stalls")
_LATE_NEWS = Stay("its own word was read before the zygote's; now its pid is known as well")
_DENIED = WorkerState.GONE  # what has spoken for it is a process that nobody can watch: its channel is closed
_DROPPED = Impossible("the record of a worker that is gone is dropped; what is reported of it finds none")


def _worker_table() -> Mapping[WorkerState, Mapping[WorkerCause, WorkerCell]]:
    state, cause = WorkerState, WorkerCause
    return {
        state.FORKING: {
            cause.FORKED: state.BOOTING,
            cause.FORK_REFUSED: state.GONE,
            cause.READY: state.READY,  # two channels: its own may be read before the zygote's
            cause.FAILED: state.FAILING,
            cause.EXITED: state.GONE,
            cause.ORPHANED: state.GONE,
            cause.OVERDUE: state.KILLED,
            cause.STALLED: _NOT_WATCHED,
            cause.RECOVERED: _NOT_WATCHED,
            cause.RETIRED: state.KILLED,  # nobody is there yet who could be asked
            cause.CONDEMNED: state.KILLED,
        },
        state.BOOTING: {
            cause.FORKED: Impossible("a zygote reports a fork once"),
            cause.FORK_REFUSED: _HAS_PROCESS,
            cause.READY: state.READY,
            cause.FAILED: state.FAILING,
            cause.EXITED: state.GONE,
            cause.ORPHANED: _HAS_PROCESS,
            cause.OVERDUE: state.KILLED,
            cause.STALLED: _NOT_WATCHED,
            cause.RECOVERED: _NOT_WATCHED,
            cause.RETIRED: state.DRAINING,
            cause.CONDEMNED: state.KILLED,
        },
        state.READY: {
            cause.FORKED: state.READY,  # two channels; it has a pid now, and no deadline any more
            cause.FORK_REFUSED: _DENIED,
            cause.READY: _SAID_ONCE,
            cause.FAILED: _SAID_ONCE,
            cause.EXITED: state.GONE,
            cause.ORPHANED: state.GONE,
            cause.OVERDUE: state.KILLED,  # its zygote has not reported it
            cause.STALLED: state.STALLED,
            cause.RECOVERED: Stay("it has not been given up"),
            cause.RETIRED: state.DRAINING,
            cause.CONDEMNED: state.KILLED,
        },
        state.STALLED: {
            cause.FORKED: _LATE_NEWS,
            cause.FORK_REFUSED: _DENIED,
            cause.READY: _SAID_ONCE,
            cause.FAILED: _SAID_ONCE,
            cause.EXITED: state.GONE,
            cause.ORPHANED: state.GONE,
            cause.OVERDUE: state.KILLED,
            cause.STALLED: Stay("it is known to be stalled"),
            cause.RECOVERED: state.READY,
            cause.RETIRED: state.DRAINING,  # a long computation may end yet; the drain is bounded
            cause.CONDEMNED: state.KILLED,
        },
        state.DRAINING: {
            cause.FORKED: _LATE_NEWS,
            cause.FORK_REFUSED: _DENIED,
            cause.READY: state.DRAINING,  # it became ready just then: it is asked again, and gets the time of a ready one
            cause.FAILED: _LEAVING,
            cause.EXITED: state.GONE,
            cause.ORPHANED: state.GONE,
            cause.OVERDUE: state.KILLED,
            cause.STALLED: Stay("the deadline of its drain ends it"),
            cause.RECOVERED: Stay("it is draining as before"),
            cause.RETIRED: _LEAVING,
            cause.CONDEMNED: state.KILLED,
        },
        state.FAILING: {
            cause.FORKED: _LATE_NEWS,
            cause.FORK_REFUSED: _DENIED,
            cause.READY: _SAID_ONCE,
            cause.FAILED: _SAID_ONCE,
            cause.EXITED: state.GONE,
            cause.ORPHANED: state.GONE,
            cause.OVERDUE: state.KILLED,
            cause.STALLED: _NOT_WATCHED,
            cause.RECOVERED: _NOT_WATCHED,
            cause.RETIRED: _LEAVING,
            cause.CONDEMNED: state.KILLED,
        },
        state.KILLED: {
            cause.FORKED: state.KILLED,  # only now is there a pid to kill
            cause.FORK_REFUSED: state.GONE,
            cause.READY: Stay("it was on its way when the worker was killed"),
            cause.FAILED: Stay("it was on its way when the worker was killed"),
            cause.EXITED: state.GONE,
            cause.ORPHANED: state.GONE,
            cause.OVERDUE: state.KILLED,
            cause.STALLED: _NOT_WATCHED,
            cause.RECOVERED: _NOT_WATCHED,
            cause.RETIRED: _LEAVING,
            cause.CONDEMNED: _LEAVING,
        },
        state.GONE: dict.fromkeys(cause, _DROPPED),
    }


_NO_PROCESS = Impossible("there is no process")
_ONE_ANSWER = Impossible("a zygote says once what became of its boot, and after that nothing of itself")
_RUNS = Impossible("it runs, so it was not refused")


def _zygote_table() -> Mapping[ZygoteState, Mapping[ZygoteCause, ZygoteCell]]:
    state, cause = ZygoteState, ZygoteCause
    return {
        state.WAITING: {
            cause.SPAWN_FAILED: _NO_PROCESS,
            cause.READY: _NO_PROCESS,
            cause.FAILED: _NO_PROCESS,
            cause.EXITED: _NO_PROCESS,
            cause.OVERDUE: state.BOOTING,
            cause.RETIRED: state.GONE,
            cause.CONDEMNED: state.GONE,
        },
        state.BOOTING: {
            cause.SPAWN_FAILED: state.WAITING,
            cause.READY: state.READY,
            cause.FAILED: state.FAILING,
            cause.EXITED: state.WAITING,
            cause.OVERDUE: state.KILLED,
            cause.RETIRED: state.KILLED,  # while it imports it does not look at its channel
            cause.CONDEMNED: state.KILLED,
        },
        state.READY: {
            cause.SPAWN_FAILED: _RUNS,
            cause.READY: _ONE_ANSWER,
            cause.FAILED: _ONE_ANSWER,
            cause.EXITED: state.WAITING,
            cause.OVERDUE: Impossible("a ready zygote has no deadline"),
            cause.RETIRED: state.STOPPING,
            cause.CONDEMNED: state.KILLED,
        },
        state.FAILING: {
            cause.SPAWN_FAILED: _RUNS,
            cause.READY: _ONE_ANSWER,
            cause.FAILED: _ONE_ANSWER,
            cause.EXITED: state.WAITING,
            cause.OVERDUE: state.KILLED,
            cause.RETIRED: _LEAVING,
            cause.CONDEMNED: state.KILLED,
        },
        state.STOPPING: {
            cause.SPAWN_FAILED: _RUNS,
            cause.READY: _ONE_ANSWER,
            cause.FAILED: _ONE_ANSWER,
            cause.EXITED: state.GONE,
            cause.OVERDUE: state.KILLED,
            cause.RETIRED: _LEAVING,
            cause.CONDEMNED: state.KILLED,
        },
        state.KILLED: {
            cause.SPAWN_FAILED: state.WAITING,  # it was killed before the news that it never was
            cause.READY: Stay("it was on its way when the zygote was killed"),
            cause.FAILED: Stay("it was on its way when the zygote was killed"),
            cause.EXITED: state.WAITING,
            cause.OVERDUE: state.KILLED,
            cause.RETIRED: _LEAVING,
            cause.CONDEMNED: _LEAVING,
        },
        state.GONE: {
            **dict.fromkeys(cause, _NO_PROCESS),
            cause.RETIRED: Stay("it is gone already"),
            cause.CONDEMNED: Stay("it is gone already"),
        },
    }


WORKER_TRANSITIONS = _worker_table()
ZYGOTE_TRANSITIONS = _zygote_table()
