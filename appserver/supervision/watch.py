"""The watch: what the master sees of its workers from second to second, and whether it can trust its own eyes."""

from __future__ import annotations

from appserver.supervision.actions import DumpBoot, DumpStacks, DumpZygoteBoot
from appserver.supervision.events import Sample
from appserver.supervision.policy import Policy, last_look
from appserver.supervision.processes import Processes, describe
from appserver.supervision.records import Generation, State, Worker
from appserver.supervision.states import WorkerCause, WorkerState, ZygoteState

# The master is woken up this often, in seconds, whatever happens ...
PULSE = 1.0

# ... and if it comes back later than that by this much, it did not run: it was stopped (SIGSTOP), or frozen together with all
# of its workers, or had no CPU. Time in which it could not look counts against no worker.
TOLERANCE = 2.0

WATCHED = frozenset({WorkerState.READY, WorkerState.STALLED, WorkerState.DRAINING})


class Watch:
    """Looks for workers that are blocked, or due to be recycled."""

    def __init__(self, state: State, processes: Processes) -> None:
        self._state = state
        self._processes = processes

    def check_the_clock(self) -> None:
        """Take time in which the master did not run out of every account: deadlines move, blocked loops count from now."""
        now, promised = self._processes.now, self._state.promised_at
        if promised is not None and now - promised > TOLERANCE:
            self._state.postpone(now - promised)
            self._state.watching_since = now
            self._processes.log(
                "warning", "master was suspended", seconds=round(now - promised, 3), advice="deadlines have been moved"
            )

    def observe(self, samples: tuple[Sample, ...]) -> None:
        """Judge the workers by their samples."""
        for sample in samples:
            worker = self._state.workers.get(sample.worker)
            if worker is None or worker.ready_at is None:
                continue  # booting has its own deadline: a slow import is no stall
            worker.has_served = worker.has_served or sample.requests > 0
            if worker.state in WATCHED and sample.heartbeat_age is not None:
                # The heartbeat of a worker that has just booted is as old as its import took; and see check_the_clock.
                watched = self._processes.now - max(self._state.watching_since, worker.ready_at)
                self._judge_loop(worker, min(sample.heartbeat_age, watched))
            if worker.state is WorkerState.READY and not worker.replace:
                self._judge_age(worker, sample)

    def observe_boots(self) -> None:
        """Have a boot that takes long show where it is: when a stall would be reported, and before it is given up."""
        for generation in self._state.generations.values():
            if generation.zygote is ZygoteState.BOOTING and (
                seconds := self._report_due(generation, generation.policy)
            ):
                self._processes.log("warning", "zygote boots slowly", generation=generation.number, seconds=seconds)
                self._processes.do(DumpZygoteBoot(generation.number, seconds))
        for worker in self._state.workers.values():
            policy = self._state.generations[worker.generation].policy
            if worker.state is WorkerState.BOOTING and (seconds := self._report_due(worker, policy)):
                self._processes.log("warning", "worker boots slowly", **describe(worker), seconds=seconds)
                self._processes.do(DumpBoot(worker.id, seconds))

    def _report_due(self, booting: Worker | Generation, policy: Policy) -> float:
        """How many seconds it has been booting, if that is to be reported now; else 0.0."""
        if booting.deadline is None:
            return 0.0
        left = booting.deadline - self._processes.now
        taken, last = policy.boot_timeout - left, last_look(policy)
        due = int(0 < policy.stall_report <= min(taken, policy.boot_timeout - last)) + int(left <= last)
        if due <= booting.boot_reports:
            return 0.0
        booting.boot_reports = due
        return round(taken, 3)

    def _judge_loop(self, worker: Worker, blocked: float) -> None:
        policy = self._state.generations[worker.generation].policy
        if policy.stall_report and blocked >= policy.stall_report:
            if not worker.stacks_dumped:
                worker.stacks_dumped = True
                self._processes.do(DumpStacks(worker.id, blocked))
                self._processes.log("warning", "worker blocked", **describe(worker), seconds=round(blocked, 3))
        else:
            worker.stacks_dumped = False
        if policy.stall_timeout and blocked >= policy.stall_timeout:
            if self._processes.hear(worker, WorkerCause.STALLED):
                self._processes.log("error", "worker stalled", **describe(worker), seconds=round(blocked, 3))
        elif policy.stall_timeout:
            self._processes.hear(worker, WorkerCause.RECOVERED)

    def _judge_age(self, worker: Worker, sample: Sample) -> None:
        limit = worker.limits.reached_by(sample)
        if limit:
            worker.replace = "recycled"
            self._processes.log(
                "info",
                "worker due for recycling",
                **describe(worker),
                reason=limit,
                requests=sample.requests,
                rss_bytes=sample.rss_bytes,
                age_seconds=round(sample.age, 3),
            )
