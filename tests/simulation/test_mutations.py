"""Each invariant can fail: for each of them the supervisor is broken in one place, and worlds are played until it shows."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from appserver.supervision import backoff, processes, supervisor
from appserver.supervision.actions import FinishReload
from appserver.supervision.events import Failure
from appserver.supervision.policy import Policy
from appserver.supervision.processes import Processes
from appserver.supervision.records import Generation, Slot, State, Stop
from appserver.supervision.reload import Transaction
from appserver.supervision.reports import Reports
from appserver.supervision.shutdown import Shutdown
from appserver.supervision.slots import Slots
from appserver.supervision.states import (
    WORKER_TRANSITIONS,
    ZYGOTE_TRANSITIONS,
    Impossible,
    Stay,
    WorkerCause,
    WorkerCell,
    WorkerState,
    ZygoteCause,
    ZygoteCell,
    ZygoteState,
)
from appserver.supervision.watch import Watch
from tests.simulation.invariants import OLD_WORKERS_MAKE_WAY, Violation, names
from tests.simulation.world import Script
from tests.simulation.worlds import make_world

Mutation = Callable[[pytest.MonkeyPatch], None]

MUTATIONS: dict[str, Mutation] = {}

TROUBLE = Script(
    duration=80.0,
    calm=0.25,
    early_stop=0.3,
    zygote_fates=(6, 1, 1, 1, 1),
    worker_fates=(6, 1, 1, 1, 1),
    crash=0.3,
    block=0.3,
    slow_drain=0.3,
    ignored_drain=0.3,
    unreapable=0.1,
    zygote_death=0.2,
    reloads=2,
)
PEACE = Script(duration=80.0, calm=0.25, stop=0.5, reloads=2, scalings=1)
CROWD = Script(duration=80.0, calm=0.25, slow_drain=1.0, ignored_drain=0.5, reloads=8, scalings=4)
SLEEP = Script(duration=80.0, calm=0.5, slow_drain=1.0, reloads=6, suspensions=8)
DEAFNESS = Script(duration=80.0, calm=0.5, reloads=3, zygote_deafness=0.8)
HOSTILITY = Script(duration=80.0, calm=0.5, crash=0.5, reloads=4, hostile_worker=0.1, hostile_zygote=0.8)
POISON = Script(duration=80.0, calm=0.9, poison=True, stop=0.0)

SCRIPTS: dict[str, Script] = {
    "orders_concern_what_is_there": TROUBLE,
    "nothing_takes_serving_workers_away": PEACE,
    "capacity_is_kept": CROWD,
    "nothing_fires_early": SLEEP,
    "every_zygote_ladder_ends": DEAFNESS,
    "a_stop_ends": TROUBLE,
    OLD_WORKERS_MAKE_WAY: TROUBLE,
    "nobody_is_supervised_who_is_not_there": HOSTILITY,
    "who_misbehaves_is_ended": HOSTILITY,
    "replacements_keep_to_their_budget": POISON,
    "there_is_never_an_empty_house": POISON,
}
"""Where the breakage shows soonest; the others are played in worlds as they come."""


def breaks(invariant: str) -> Callable[[Mutation], Mutation]:
    def register(mutation: Mutation) -> Mutation:
        MUTATIONS[invariant] = mutation
        return mutation

    return register


def change_worker_table(patch: pytest.MonkeyPatch, state: WorkerState, cause: WorkerCause, cell: WorkerCell) -> None:
    patch.setitem(WORKER_TRANSITIONS, state, {**WORKER_TRANSITIONS[state], cause: cell})


def change_zygote_table(patch: pytest.MonkeyPatch, state: ZygoteState, cause: ZygoteCause, cell: ZygoteCell) -> None:
    patch.setitem(ZYGOTE_TRANSITIONS, state, {**ZYGOTE_TRANSITIONS[state], cause: cell})


@pytest.mark.parametrize("invariant", list(names()))
def test_an_invariant_fails_when_the_supervisor_is_broken(invariant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    MUTATIONS[invariant](monkeypatch)
    for seed in range(400):
        try:
            make_world(seed, SCRIPTS.get(invariant)).play()
        except Violation as violation:
            if violation.invariant == invariant:
                return
    pytest.fail(f"{invariant} holds although the supervisor is broken")


# ---- changes of the tables ------------------------------------------------------------------------------------------


@breaks("orders_concern_what_is_there")
def drain_the_dead(patch: pytest.MonkeyPatch) -> None:
    change_worker_table(patch, WorkerState.READY, WorkerCause.EXITED, WorkerState.DRAINING)


@breaks("a_worker_is_drained_once")
def drain_again_and_again(patch: pytest.MonkeyPatch) -> None:
    change_worker_table(patch, WorkerState.DRAINING, WorkerCause.RETIRED, WorkerState.DRAINING)


@breaks("after_a_reload_no_old_worker_accepts")
def _(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(State, "last_asked_to_leave", lambda state: None)


@breaks("nothing_impossible_happens")
def expect_the_zygote_to_speak_first(patch: pytest.MonkeyPatch) -> None:
    change_worker_table(patch, WorkerState.FORKING, WorkerCause.READY, Impossible("a worker is reported first"))


@breaks("every_ladder_ends")
def wait_for_the_draining_without_end(patch: pytest.MonkeyPatch) -> None:
    change_worker_table(patch, WorkerState.DRAINING, WorkerCause.OVERDUE, Stay("it will end some day"))


@breaks("every_zygote_ladder_ends")
def wait_for_the_zygote_without_end(patch: pytest.MonkeyPatch) -> None:
    change_zygote_table(patch, ZygoteState.STOPPING, ZygoteCause.OVERDUE, Stay("it will end some day"))


@breaks("blocked_workers_are_replaced")
def overlook_blocked_loops(patch: pytest.MonkeyPatch) -> None:
    change_worker_table(patch, WorkerState.READY, WorkerCause.STALLED, Stay("it will go on some day"))


@breaks("nobody_is_supervised_who_is_not_there")
def believe_in_workers_that_have_been_denied(patch: pytest.MonkeyPatch) -> None:
    change_worker_table(patch, WorkerState.READY, WorkerCause.FORK_REFUSED, Stay("it has spoken itself"))


# ---- changes of the rules -------------------------------------------------------------------------------------------


@breaks("numbers_are_unique")
def call_every_worker_the_first(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(processes, "lowest_free", lambda taken: 1)


@breaks("only_blocked_loops_are_blamed")
def trust_heartbeats_after_a_suspension(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Watch, "check_the_clock", lambda self: None)


@breaks("nothing_fires_early")
def leave_deadlines_where_they_are(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(State, "postpone", lambda self, seconds: None)


@breaks("each_reload_gets_one_verdict")
def give_every_verdict_twice(patch: pytest.MonkeyPatch) -> None:
    finish = Transaction._finish

    def finish_twice(self: Transaction, *verdict: str) -> None:
        reload = self._state.reload
        assert reload is not None
        finish(self, *verdict)  # type: ignore[arg-type]
        self._processes.do(FinishReload("ok", "once more", reload.generation))

    patch.setattr(Transaction, "_finish", finish_twice)


@breaks("the_exit_is_the_last_order")
def call_a_failed_boot_a_success(patch: pytest.MonkeyPatch) -> None:
    def fail_boot(self: Shutdown, fault: Failure) -> None:
        self._begin(Stop(code=0, drain_at=self._processes.now, urgent=True))

    patch.setattr(Shutdown, "fail_boot", fail_boot)


@breaks("never_more_than_count_and_surge")
def take_more_room_than_there_is(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(State, "surge", property(lambda self: self.current.policy.surge + 1))


@breaks("capacity_is_kept")
def overlook_the_scoreboard(patch: pytest.MonkeyPatch) -> None:
    def can_spawn(self: Processes, generation: Generation) -> bool:
        return generation.zygote is ZygoteState.READY

    patch.setattr(Processes, "can_spawn", can_spawn)


@breaks("nothing_takes_serving_workers_away")
@breaks(OLD_WORKERS_MAKE_WAY)
def stop_old_workers_before_new_ones_are_ready(patch: pytest.MonkeyPatch) -> None:
    commit = Transaction._commit

    def commit_at_once(self: Transaction, reload: object) -> None:
        for worker in self._state.workers.values():
            if worker.present and worker.id != self._state.canary:
                for slot in self._state.slots:
                    slot.release(worker.id)
                self._processes.retire(worker, "reloaded")
        commit(self, reload)  # type: ignore[arg-type]

    patch.setattr(Transaction, "_commit", commit_at_once)


@breaks("a_stop_ends")
def wait_for_the_unkillable(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Shutdown, "_give_up", lambda self: None)


@breaks("who_misbehaves_is_ended")
def let_the_hostile_live(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Reports, "_end_misbehaving", lambda self, worker, reason: None)


@breaks("every_exit_is_recorded_once")
def keep_exits_quiet(patch: pytest.MonkeyPatch) -> None:
    log = Processes.log

    def log_all_else(self: Processes, level: object, event: str, **fields: object) -> None:
        if event != "worker exited":
            log(self, level, event, **fields)  # type: ignore[arg-type]

    patch.setattr(Processes, "log", log_all_else)


@breaks("one_is_recycled_at_a_time")
def recycle_all_that_are_due(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Slots, "_recycling_waits", lambda self: False)


@breaks("it_always_promises_to_come_back")
def sleep_until_the_next_deadline(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(supervisor, "PULSE", 100.0)


@breaks("back_off_bounds_the_boots")
def try_again_at_once(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(backoff, "delay", lambda failures: 0.0)


@breaks("replacements_keep_to_their_budget")
def replace_whatever_it_costs(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(backoff.BootBudget, "wait", lambda self, now, workers: 0.0)


@breaks("there_is_never_an_empty_house")
def save_until_nobody_is_left(patch: pytest.MonkeyPatch) -> None:
    def may_fill(self: Slots, slot: Slot) -> bool:
        return self._may_try(slot) and slot.filled_after <= self._processes.now

    patch.setattr(Slots, "_may_fill", may_fill)


@breaks("a_stop_has_ended")
def never_exit(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Shutdown, "finish", lambda self, stop: None)


@breaks("it_ends_in_the_last_requested_state")
def give_up_after_one_failure(patch: pytest.MonkeyPatch) -> None:
    def may_try(self: Slots, slot: Slot) -> bool:
        return slot.backoff.failures == 0

    patch.setattr(Slots, "_may_try", may_try)


@breaks("the_last_reload_asked_for_has_been_tried")
def forget_what_was_asked_for_during_a_reload(patch: pytest.MonkeyPatch) -> None:
    request = Transaction.request

    def request_unless_busy(self: Transaction, policy: Policy) -> None:
        if not self._state.reload:
            request(self, policy)

    patch.setattr(Transaction, "request", request_unless_busy)


@breaks("every_reload_has_its_verdict")
def never_conclude(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Transaction, "conclude", lambda self: None)


def test_there_is_a_mutation_for_every_invariant() -> None:
    assert set(MUTATIONS) == set(names())
