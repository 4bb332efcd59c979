"""Slots: what is wanted, and the steps that bring what is closer to it.

There are `count` slots, each to be held by one worker of the current generation. A vacant slot is filled. A worker that is to
be replaced, be it for its generation, its age or a blocked event loop, first gets a successor in its slot, and goes when that
is ready. So a replacement never takes capacity away, and `surge`, the bound on successors, is the bound on what there is
beyond `count`.
"""

from __future__ import annotations

from appserver.supervision.actions import ExitReason
from appserver.supervision.backoff import HEALTHY_SPELL
from appserver.supervision.processes import Processes
from appserver.supervision.records import Generation, Slot, State, Worker
from appserver.supervision.states import UNBORN, WorkerState, ZygoteState


class Slots:
    """Brings the slots into line with what is wanted. `settle` does all of it; each step is a rule of its own."""

    def __init__(self, state: State, processes: Processes) -> None:
        self._state = state
        self._processes = processes

    def settle(self) -> None:
        """Take every step that can be taken now."""
        self._forget_failures()
        self._grow()
        self._drop_outdated_boots()
        self._hand_over()
        self._shrink()
        self._relieve()
        self._fill()
        self._replace()

    def note_departures(self) -> list[Worker]:
        """Take the workers out of their slots that have left of their own accord; returns them."""
        departed = []
        for slot in self._state.slots:
            for identity in (slot.occupant, slot.successor):
                worker = self._state.worker(identity)
                if worker and not worker.present:
                    slot.release(worker.id)
                    # A failure of another generation, such as a canary, says nothing about the workers tried here next.
                    if worker.fault and worker.generation == self._state.generation:
                        self._limit(slot, worker)
                    departed.append(worker)
        return departed

    def _limit(self, slot: Slot, failed: Worker) -> None:
        """Settle when the slot may be tried again."""
        if failed.has_served:
            slot.backoff.reset()
            self._spend(slot, failed)
        else:
            self._back_off(slot, failed)

    def _spend(self, slot: Slot, died: Worker) -> None:
        """Have a worker replaced at once that died while it served, unless too much has been spent on that lately."""
        now, budget, count = self._processes.now, self._state.boot_budget, self._state.count
        budget.spend(now, died.boot_cpu, count)
        wait = budget.wait(now, count)
        waits_already, slot.filled_after = slot.filled_after > now, now + wait
        if wait > 0.0 and not waits_already:
            self._processes.log(
                "warning",
                "worker waits",
                worker=died.number,
                generation=died.generation,
                seconds=round(wait, 3),
                reason="workers die while they serve, and replacing them has taken half of their processors; "
                "there is always one that serves or boots",
            )

    def _back_off(self, slot: Slot, failed: Worker) -> None:
        now = self._processes.now
        slot.backoff.fail(now, self._processes.random)
        if not slot.backoff.allows(now):
            self._processes.log(
                "warning",
                "worker backs off",
                worker=failed.number,
                generation=failed.generation,
                failures=slot.backoff.failures,
                seconds=round(slot.backoff.until - now, 3),
            )

    def place_canary(self, generation: Generation) -> Worker | None:
        """Spawn the first worker of a new generation, beside what there is; None while there is no room for it."""
        for slot in self._state.slots:
            if slot.successor is None and self._room_for_successor(generation):
                canary = self._processes.spawn(generation)
                slot.successor = canary.id
                return canary
        return None

    def seat_canary(self) -> None:
        """Put the canary where it is needed most: where nobody serves, if there is such a slot, else where it is."""
        self._grow()
        canary = self._state.canary
        needy = [slot for slot in self._state.slots if slot.successor is None and not self._serves(slot)]
        for slot in self._state.slots:
            if needy and slot.holds(canary) and self._serves(slot):
                slot.successor, needy[0].successor = None, canary
                break

    def _serves(self, slot: Slot) -> bool:
        occupant = self._state.worker(slot.occupant)
        return occupant is not None and occupant.state is WorkerState.READY

    def _forget_failures(self) -> None:
        """A worker that stays healthy long enough resets the failure count of its slot and zygote."""
        healthy_if_ready_at = self._processes.now - HEALTHY_SPELL
        for slot, worker in self._state.occupants():
            settled = slot.successor is None and not worker.replace and not self._state.outdated(worker)
            if settled and worker.state is WorkerState.READY and (worker.ready_at or 0.0) <= healthy_if_ready_at:
                slot.backoff.reset()
        for generation in self._state.generations.values():
            if generation.zygote is ZygoteState.READY and (generation.ready_at or 0.0) <= healthy_if_ready_at:
                generation.backoff.reset()

    def _grow(self) -> None:
        while len(self._state.slots) < self._state.count:
            self._state.slots.append(Slot())

    def _shrink(self) -> None:
        """Do without the slots that are wanted no longer."""
        slots = self._state.slots
        while len(slots) > self._state.count:
            dispensable = min(reversed(slots), key=self._value)
            slots.remove(dispensable)
            for worker in (dispensable.successor, dispensable.occupant):
                self._retire(worker, "scaled_down")

    def _value(self, slot: Slot) -> tuple[bool, ...]:
        """The loss with the slot, as a sort key; of equals the last one goes."""
        worker = self._state.worker(slot.occupant)
        return (
            slot.holds(self._state.canary),
            self._serves(slot),
            worker is not None,
            worker is not None and not self._state.outdated(worker),
            worker is not None and worker.replace is None,
        )

    def _drop_outdated_boots(self) -> None:
        """Give up what still boots of a generation that has been replaced meanwhile."""
        for slot in self._state.slots:
            for identity in (slot.occupant, slot.successor):
                worker = self._state.worker(identity)
                if worker and worker.state in UNBORN and self._state.outdated(worker):
                    slot.release(worker.id)
                    self._processes.retire(worker, "reloaded")

    def _hand_over(self) -> None:
        """Let successors take their places: the one that is ready that of its predecessor, any that of nobody."""
        for slot in self._state.slots:
            successor = self._state.worker(slot.successor)
            if successor is None or successor.id == self._state.canary:
                continue
            occupant = self._state.worker(slot.occupant)
            if occupant is None or successor.state is WorkerState.READY:
                slot.occupant, slot.successor = successor.id, None
                if occupant:
                    self._replaced(occupant)

    def _replaced(self, worker: Worker) -> None:
        if worker.state is WorkerState.STALLED:
            self._processes.condemn(
                worker, "stalled", "its event loop is blocked, and another worker has taken its place"
            )
        elif self._state.outdated(worker):
            self._processes.retire(worker, "reloaded")
        else:
            self._processes.retire(worker, worker.replace or "reloaded")

    def _relieve(self) -> None:
        """Spawn successors for stalled workers; without one a stalled worker has to go at once."""
        for slot, worker in list(self._state.occupants()):
            if worker.state is WorkerState.STALLED and slot.successor is None and not self._succeed(slot):
                # It serves nothing, so waiting for room would only leave the place empty for longer.
                slot.release(worker.id)
                self._processes.condemn(worker, "stalled", "its event loop is blocked")

    def _fill(self) -> None:
        """Spawn workers for vacant slots, as soon as their back-off allows."""
        for slot in self._state.slots:
            if slot.occupant is None and self._may_fill(slot) and self._processes.can_spawn(self._state.current):
                slot.occupant = self._processes.spawn(self._state.current).id

    def _replace(self) -> None:
        """Spawn successors for outdated workers, and then for one that is due."""
        for slot, worker in self._state.occupants():
            if slot.successor is None and self._state.outdated(worker):
                self._succeed(slot)
        if not self._recycling_waits():
            for slot, worker in self._state.occupants():
                if worker.replace and self._succeed(slot):
                    break

    def _recycling_waits(self) -> bool:
        """Never two at once: not while another worker is being replaced, nor while one still drains for its age."""
        return any(slot.successor is not None for slot in self._state.slots) or any(
            worker.leaving == "recycled" for worker in self._state.workers.values()
        )

    def _succeed(self, slot: Slot) -> bool:
        """Spawn a successor, if that is possible now."""
        if self._state.reload and not self._state.reload.committed:
            return False  # the room is the canary's; and what were replaced now might have to be replaced again soon
        if not (self._may_try(slot) and self._room_for_successor(self._state.current)):
            return False
        slot.successor = self._processes.spawn(self._state.current).id
        return True

    def _room_for_successor(self, generation: Generation) -> bool:
        successors = sum(slot.successor is not None for slot in self._state.slots)
        return successors < self._state.surge and self._processes.can_spawn(generation)

    def _may_fill(self, slot: Slot) -> bool:
        """Whether a vacant slot may be tried; what is spent on replacements never leaves an empty house."""
        if not self._may_try(slot):
            return False
        return slot.filled_after <= self._processes.now or not any(
            worker.present for worker in self._state.workers.values()
        )

    def _may_try(self, slot: Slot) -> bool:
        return slot.backoff.allows(self._processes.now)

    def _retire(self, identity: int | None, leaving: ExitReason) -> None:
        worker = self._state.worker(identity)
        if worker:
            self._processes.retire(worker, leaving)
