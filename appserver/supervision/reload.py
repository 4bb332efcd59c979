"""Reload: a transaction that puts a new generation in the place of the current one, or leaves everything as it was.

    IMPORTING → CANARY → SOAKING → ROLLING → HANDING_OVER → finished
        └─────────┴─────────┴──→ rolled back

The canary, the first new worker, boots beside the old ones. When it has become ready, and stayed healthy for `soak`, the new
generation becomes the current one; that is the moment from which there is no way back, as the first old worker is asked to
leave. The rest is what `slots` does with workers that are outdated. A failure before that moment rolls back: the new zygote
and the canary go, and nothing else has been touched. After it, the supervisor keeps trying for ever.
The verdict waits for a moment until the old workers have heard that they are to accept no more: whoever connects after it is
served by the new code.

A request that comes while a reload is under way is remembered, only the last one of several, and begins when that has its
verdict. Every reload that has begun gets exactly one.
"""

from __future__ import annotations

from appserver.supervision.actions import FinishReload, Level, ReloadResult
from appserver.supervision.events import Failure
from appserver.supervision.policy import Policy
from appserver.supervision.processes import Processes
from appserver.supervision.records import PendingReload, Reload, ReloadPhase, State
from appserver.supervision.slots import Slots
from appserver.supervision.states import WorkerState, ZygoteState

# After how many failures in a row, of one slot or of the zygote, a reload beyond the point of no return gets its verdict
# without being complete. Clients that wait for the verdict have to be told at some time; the trying goes on.
PATIENCE = 3

# How long the verdict waits for each old worker to stop accepting, in seconds. One whose event loop is blocked never does so.
HANDING_OVER = 1.0

STOPPING = "the server is stopping"


class Transaction:
    """Begins, advances and finishes the reload in `state.reload`."""

    def __init__(self, state: State, processes: Processes, slots: Slots) -> None:
        self._state = state
        self._processes = processes
        self._slots = slots

    def request(self, policy: Policy) -> None:
        """Reload, now or as soon as that is possible."""
        if self._state.stop:
            self._refuse()
            return
        self._state.pending = PendingReload(policy)
        if self._state.reload or not self._state.served:
            waits = "another reload is under way" if self._state.reload else "the server is booting"
            self._processes.log("info", "reload remembered", reason=waits)

    def advance(self) -> None:
        """Take the steps towards the point of no return that can be taken now."""
        if self._state.pending and not self._state.reload and self._state.served:
            self._begin(self._state.pending)
        reload = self._state.reload
        if not reload or reload.committed:
            return
        if reload.phase is ReloadPhase.IMPORTING:
            self._send_canary(reload)
        canary = self._state.worker(reload.canary)
        if canary is None:
            return
        if canary.state is WorkerState.READY and reload.phase is ReloadPhase.CANARY:
            reload.phase = ReloadPhase.SOAKING
            reload.deadline = self._processes.now + self._state.generations[reload.generation].policy.soak
        soaked = reload.deadline is not None and self._processes.now >= reload.deadline
        if canary.state is WorkerState.STALLED or (soaked and canary.stacks_dumped):
            self.roll_back(Failure("timeout", f"the event loop of the first new worker ({canary.number}) is blocked"))
        elif soaked:
            self._commit(reload)

    def conclude(self) -> None:
        """Give the verdict on a reload that is beyond the point of no return, when there is one."""
        reload = self._state.reload
        if not reload or not reload.committed:
            return
        if self._state.complete():
            asked = self._state.last_asked_to_leave()
            if asked is None or self._processes.now >= asked + HANDING_OVER:
                self._finish("ok", f"generation {reload.generation} serves")
            else:
                reload.phase, reload.deadline = ReloadPhase.HANDING_OVER, asked + HANDING_OVER
            return
        reload.phase, reload.deadline = ReloadPhase.ROLLING, None
        patience = 1 if self._state.pending else PATIENCE
        failures = max(self._state.current.backoff.failures, *(slot.backoff.failures for slot in self._state.slots))
        if failures >= patience:
            self._finish(
                "incomplete",
                f"not every worker of generation {reload.generation} comes up; they are tried again for ever",
            )

    def roll_back(self, fault: Failure) -> None:
        """Undo a reload that has failed before the point of no return."""
        self._undo()
        self._finish("rolled_back", fault.message, fault.traceback)

    def abandon(self) -> None:
        """The server stops: no reload has a future, and its processes go with all the others."""
        reload = self._state.reload
        if reload:
            self._finish("incomplete" if reload.committed else "rolled_back", STOPPING)
        if self._state.pending:
            self._state.pending = None
            self._refuse()

    def _refuse(self) -> None:
        self._processes.log("warning", "reload refused", reason=STOPPING)
        self._processes.do(FinishReload("refused", STOPPING))

    def _begin(self, pending: PendingReload) -> None:
        self._state.pending = None
        number = self._state.last_generation + 1
        self._state.reload = Reload(number, started_at=self._processes.now, rescaled=pending.rescaled)
        self._processes.log("info", "reload started", generation=number, old_generation=self._state.generation)
        self._processes.add_generation(number, pending.policy)

    def _send_canary(self, reload: Reload) -> None:
        generation = self._state.generations[reload.generation]
        if generation.zygote is ZygoteState.READY:
            canary = self._slots.place_canary(generation)
            if canary:
                reload.canary = canary.id
                reload.phase = ReloadPhase.CANARY

    def _commit(self, reload: Reload) -> None:
        """The point of no return: from here on `slots` sees the old workers as outdated, and the canary as one of its own."""
        old, new = self._state.current.policy, self._state.generations[reload.generation].policy
        if new.count != old.count and not reload.rescaled:
            self._state.count = self._state.bound_count(new.count)
        self._slots.seat_canary()
        reload.phase = ReloadPhase.ROLLING
        reload.deadline = None
        self._state.generation = reload.generation
        for slot in self._state.slots:
            slot.backoff.reset()  # what failed before was of the old generation

    def _undo(self) -> None:
        canary = self._state.worker(self._state.canary)
        if canary and canary.present:
            for slot in self._state.slots:
                slot.release(canary.id)
            self._processes.retire(canary, "reloaded")

    def _finish(self, result: ReloadResult, reason: str, traceback: str = "") -> None:
        reload = self._state.reload
        assert reload is not None
        self._state.reload = None
        levels: dict[ReloadResult, Level] = {"ok": "info", "rolled_back": "error", "incomplete": "error"}
        fields: dict[str, object] = {"result": result, "reason": reason, "generation": reload.generation}
        fields["seconds"] = round(self._processes.now - reload.started_at, 3)
        if traceback:
            fields["exception"] = traceback
        self._processes.log("info" if self._state.stop else levels[result], "reload finished", **fields)
        self._processes.do(FinishReload(result, reason, reload.generation))
