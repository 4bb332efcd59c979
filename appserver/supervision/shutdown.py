"""Shutdown: the way to the end, which is always reached.

Graceful: what serves goes on serving for `shutdown.delay`, then drains; each drain has its deadline, and after that it is
killed. At once: everything is killed. When the last process is gone, or cannot be killed for `UNKILLABLE` seconds, the program
ends. The first boot ends here, too, if it fails.
"""

from __future__ import annotations

from appserver.supervision.actions import Exit
from appserver.supervision.events import Failure
from appserver.supervision.processes import Processes
from appserver.supervision.records import State, Stop
from appserver.supervision.reload import Transaction
from appserver.supervision.states import UNBORN, WorkerState, ZygoteCause, ZygoteState

# How long the end waits, in seconds, for a killed process to be reaped: one that hangs in the kernel (a dead network file
# system) must not keep the server from being started anew.
UNKILLABLE = 10.0


class Shutdown:
    """Leads to `Exit` from the moment on that there is a `state.stop`."""

    def __init__(self, state: State, processes: Processes, transaction: Transaction) -> None:
        self._state = state
        self._processes = processes
        self._transaction = transaction

    def request(self, *, now: bool) -> None:
        """Stop: gracefully, but at once if `now`, or if it is not the first request."""
        if self._state.stop:
            self._state.stop.urgent = True
            self._processes.log("warning", "stopping at once", reason="asked to" if now else "asked a second time")
            return
        delay = 0.0 if now else self._state.current.policy.shutdown_delay
        self._processes.log("info", "stopping", delay=delay, graceful=not now)
        self._begin(Stop(code=0, drain_at=self._processes.now + delay, urgent=now))

    def fail_boot(self, fault: Failure) -> None:
        """Nothing has ever served, and the first generation cannot: trying again would not help."""
        fields = {"exception": fault.traceback} if fault.traceback else {}
        self._processes.log("error", "boot failed", reason=fault.message, exit_code=fault.exit_code, **fields)
        self._begin(Stop(code=fault.exit_code, drain_at=self._processes.now, urgent=True))

    def _begin(self, stop: Stop) -> None:
        self._state.stop = stop
        self._transaction.abandon()
        self._state.slots.clear()

    def settle(self, stop: Stop) -> None:
        """Take every step towards the end that can be taken now."""
        workers = list(self._state.workers.values())
        serving = any(worker.state in (WorkerState.READY, WorkerState.STALLED) for worker in workers)
        drain = not serving or self._processes.now >= stop.drain_at
        for worker in workers:
            if stop.urgent:
                self._processes.condemn(worker, "stopped", "the server stops at once")
            elif drain or worker.state in UNBORN:
                self._processes.retire(worker, "stopped")
        if stop.urgent:
            for generation in self._state.generations.values():
                self._processes.hear_zygote(generation, ZygoteCause.CONDEMNED, why="the server stops at once")
        self._give_up()

    def finish(self, stop: Stop) -> None:
        """End the program when there is nothing left."""
        if not self._state.workers and not self._state.generations:
            self._state.stopped = True
            self._processes.log("info", "stopped", exit_code=stop.code)
            self._processes.do(Exit(stop.code))

    def _give_up(self) -> None:
        """Leave behind what has been killed and is not reaped."""
        long_ago = self._processes.now - UNKILLABLE
        for worker in list(self._state.workers.values()):
            if worker.state is WorkerState.KILLED and worker.since <= long_ago:
                del self._state.workers[worker.id]
                self._processes.log("error", "worker left behind", worker=worker.number, worker_pid=worker.pid)
        for generation in list(self._state.generations.values()):
            if generation.zygote is ZygoteState.KILLED and generation.since <= long_ago:
                self._processes.log("error", "zygote left behind", generation=generation.number)
                self._processes.hear_zygote(generation, ZygoteCause.EXITED)
