"""What must hold in every world, whatever happens in it.

Each invariant is a function that returns what is wrong, or nothing; its name is the promise. They are held against what the
world knows to be true and to have been ordered and reported, never against what the supervisor thinks.

Durations allow for `SLACK` beyond what the supervisor promises (news travels, timers are late), and for the time for which the
master did not run.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import get_args

from appserver.supervision.actions import (
    Action,
    DrainWorker,
    DumpBoot,
    DumpStacks,
    DumpZygoteBoot,
    Exit,
    ExitReason,
    FinishReload,
    KillWorker,
    KillZygote,
    Log,
    SpawnWorker,
    SpawnZygote,
    StopZygote,
)
from appserver.supervision.backoff import BOOT_SHARE, BUDGET_DEPTH
from appserver.supervision.events import WorkerExited, WorkerReady
from appserver.supervision.processes import EXIT_GRACE, KILL_INTERVAL
from appserver.supervision.reload import HANDING_OVER
from appserver.supervision.shutdown import UNKILLABLE
from appserver.supervision.watch import PULSE, TOLERANCE
from tests.simulation.world import FakeWorker, FakeZygote, Step, World

# A deadline is looked at with the next pulse at the latest.
SLACK = PULSE + 0.5

# A shorter suspension is not noticed, so the time for it may be missing; a heartbeat is this old when all is well.
UNNOTICED = PULSE + TOLERANCE + 0.1
HEARTBEAT = 1.2

# More boots than these, per worker and in the time until it is calm, are no back-off.
BOOTS_IN_A_CRASH_LOOP = 13


class Violation(AssertionError):
    """An invariant does not hold."""

    def __init__(self, invariant: str, world: World, complaint: str) -> None:
        super().__init__(f"{invariant}: {complaint} (world {world.seed} at {world.now:.3f} s; {world.script})")
        self.invariant = invariant


class Ledger:
    """The observer of a world: holds every invariant, and keeps the books that some of them need."""

    def __init__(self) -> None:
        self.came_up: Counter[int] = Counter()
        self.made_way: Counter[int] = Counter()

    def ordered(self, world: World, action: Action) -> None:
        for check in ON_EVERY_ORDER:
            self._judge(world, check.__name__, check(world, action))
        if isinstance(action, DrainWorker) and action.reason == "reload":
            worker = world.workers[action.worker]
            if worker.serving and worker.generation < world.supervisor.generation:
                self.made_way[world.supervisor.generation] += 1

    def stepped(self, world: World, step: Step) -> None:
        if isinstance(step.event, WorkerReady):
            self.came_up[world.workers[step.event.worker].generation] += 1
        for check in AFTER_EVERY_STEP:
            self._judge(world, check.__name__, check(world, step))
        generation = world.supervisor.generation
        if self.made_way[generation] > self.came_up[generation]:
            complaint = (
                f"{self.made_way[generation]} made way for {self.came_up[generation]} of generation {generation}"
            )
            self._judge(world, OLD_WORKERS_MAKE_WAY, complaint)

    def ended(self, world: World) -> None:
        for check in AT_THE_END:
            self._judge(world, check.__name__, check(world))

    def _judge(self, world: World, invariant: str, complaint: str | None) -> None:
        if complaint:
            raise Violation(invariant, world, complaint)


OLD_WORKERS_MAKE_WAY = "an_old_worker_makes_way_only_for_a_new_one_that_serves"


# ---- for every order ------------------------------------------------------------------------------------------------


def orders_concern_what_is_there(world: World, action: Action) -> str | None:
    match action:
        case KillWorker(worker) | DrainWorker(worker) | DumpStacks(worker) | DumpBoot(worker) if (
            worker not in world.workers
        ):
            return f"{action} concerns nobody"
        case StopZygote(generation) | KillZygote(generation) | DumpZygoteBoot(generation):
            zygote = world.zygotes.get(generation)
            if zygote is None or zygote.reported_gone:
                return f"{action} concerns nobody"
        case SpawnZygote(generation):
            zygote = world.zygotes.get(generation)
            if zygote is not None and not zygote.reported_gone:
                return f"{action} although there is one"
        case SpawnWorker(generation=generation):
            zygote = world.zygotes.get(generation)
            if zygote is None or not zygote.reported_ready or zygote.reported_gone or zygote.killed_at is not None:
                return f"{action} by a zygote that cannot"
        case _:
            pass
    return None


def a_worker_is_drained_once(world: World, action: Action) -> str | None:
    if isinstance(action, DrainWorker):
        worker = world.workers[action.worker]
        if worker.killed_at is not None or (worker.drained_at is not None and not worker.to_be_drained_again):
            return f"{action} for the second time"
    return None


def numbers_are_unique(world: World, action: Action) -> str | None:
    if isinstance(action, SpawnWorker):
        taken = {worker.number for worker in world.workers.values()}
        if action.number in taken or action.number < 1:
            return f"{action} while {sorted(taken)} are taken"
    return None


def only_blocked_loops_are_blamed(world: World, action: Action) -> str | None:
    match action:
        case DumpStacks(identity):
            limit = "stall_report"
        case KillWorker(identity, reason) if "event loop" in reason:
            limit = "stall_timeout"
        case _:
            return None
    worker = world.workers[identity]
    allowed = getattr(world.policies[worker.generation], limit)
    if worker.blocked_since is not None and world.now - worker.blocked_since >= allowed - HEARTBEAT:
        return None
    just_unblocked = world.now - worker.unblocked_at - world.suspended(worker.unblocked_at, world.now)
    return None if just_unblocked <= SLACK else f"{action} although it runs"


def nothing_fires_early(world: World, action: Action) -> str | None:
    if not isinstance(action, KillWorker) or "event loop" in action.reason:
        return None
    worker = world.workers[action.worker]
    policy = world.policies[worker.generation]
    if "boot_timeout" in action.reason:
        since, limit = worker.spawned_at, policy.boot_timeout
    elif "asked to leave" in action.reason and worker.drained_at is not None:
        # One that was still booting gets but a moment.
        since, limit = (
            worker.drained_at,
            policy.drain_bound(worker.drain_reason) if worker.reported_ready else EXIT_GRACE,
        )
    else:
        return None
    unnoticed = sum(UNNOTICED for start, end in world.suspensions if end > since)
    if world.now - since - world.suspended(since, world.now) < limit - unnoticed - 0.01:
        return f"{action} after {world.now - since:.2f} s of {limit:.2f} s"
    return None


def each_reload_gets_one_verdict(world: World, action: Action) -> str | None:
    if not isinstance(action, FinishReload) or action.generation is None:
        return None
    begun, finished = action.generation in world.policies, action.generation in world.verdicts
    return None if begun and not finished else f"{action} after {world.verdicts.get(action.generation)}"


def after_a_reload_no_old_worker_accepts(world: World, action: Action) -> str | None:
    """But for those that do not get to it, for which nobody waits longer than a moment."""
    if not isinstance(action, FinishReload) or action.result != "ok" or action.generation is None:
        return None
    for worker in world.workers.values():
        asked = worker.drained_at
        old = worker.generation < action.generation and worker.reported_ready and not worker.reported_stopped_accepting
        if not old or asked is None or worker.reported_gone or worker.killed_at is not None:
            continue
        unnoticed = sum(UNNOTICED for start, end in world.suspensions if end > asked)
        if world.now - asked - world.suspended(asked, world.now) < HANDING_OVER - unnoticed - 0.01:
            return f"{action}, but worker {worker.number} may still accept"
    return None


def nothing_impossible_happens(world: World, action: Action) -> str | None:
    return f"{action}" if isinstance(action, Log) and action.event == "impossible event" else None


def the_exit_is_the_last_order(world: World, action: Action) -> str | None:
    if world.exit is not None:
        return f"{action} after {world.exit}"
    if isinstance(action, Exit) and action.code == 0 and world.stop_requested_at is None:
        return f"{action} without having been asked to stop"
    if isinstance(action, Exit) and action.code != 0 and world.served:
        return f"{action} after having served"
    return None


# ---- after every step -----------------------------------------------------------------------------------------------


def never_more_than_count_and_surge(world: World, step: Step) -> str | None:
    """What serves, or is on the way to it."""
    present = sum(worker.present for worker in world.workers.values())
    most = step.count + world.policies[world.supervisor.generation].surge
    return f"{present} of at most {most} are there" if present > most and world.stop_requested_at is None else None


def capacity_is_kept(world: World, step: Step) -> str | None:
    return f"{len(world.workers)} are alive" if len(world.workers) > world.policy.capacity else None


def nothing_takes_serving_workers_away(world: World, step: Step) -> str | None:
    """In a world without crashes and stalls: neither reload, recycling nor scaling leaves fewer than are wanted."""
    if not world.script.quiet or world.stop_requested_at is not None:
        return None
    serving = sum(worker.serving for worker in world.workers.values())
    enough = min(step.serving_before, step.count)
    return f"{serving} serve after {step.event}, before it {step.serving_before}" if serving < enough else None


def every_ladder_ends(world: World, step: Step) -> str | None:
    for worker in world.workers.values():
        since, limit, what = _rung(world, worker)
        if _overdue(world, since, limit):
            return f"{what} since {world.now - since:.2f} s, allowed are {limit:.2f} s: {worker}"
    return None


def every_zygote_ladder_ends(world: World, step: Step) -> str | None:
    for zygote in world.zygotes.values():
        since, limit = _zygote_rung(world, zygote)
        if _overdue(world, since, limit):
            return f"{zygote} since {world.now - since:.2f} s, allowed are {limit:.2f} s"
    return None


def blocked_workers_are_replaced(world: World, step: Step) -> str | None:
    for worker in world.workers.values():
        if worker.serving and worker.blocked_since is not None:
            policy = world.policies[worker.generation]
            # A master that was suspended begins to count anew.
            since = max([worker.blocked_since, *(end for _, end in world.suspensions)])
            if policy.stall_timeout and _overdue(world, since, policy.stall_timeout + policy.boot_timeout + HEARTBEAT):
                return f"{worker} is still there"
    return None


def a_stop_ends(world: World, step: Step) -> str | None:
    if world.exit is not None or world.stop_requested_at is None:
        return None
    # Killed and not reaped twice over: the worker, then its zygote.
    end = 2 * UNKILLABLE + EXIT_GRACE
    if world.stop_urgent_at is not None and _overdue(world, world.stop_urgent_at, end):
        return f"stop at once asked for at {world.stop_urgent_at:.2f} s"
    delay = max(policy.shutdown_delay for policy in world.policies.values())
    drain = max(policy.drain_bound(reason) for policy in world.policies.values() for reason in ("stop", "reload"))
    if _overdue(world, world.stop_requested_at, delay + drain + end):
        return f"stop asked for at {world.stop_requested_at:.2f} s"
    return None


def nobody_is_supervised_who_is_not_there(world: World, step: Step) -> str | None:
    if world.exit is not None:
        return None
    phantoms = {worker.id for worker in world.supervisor.workers()} - world.workers.keys()
    return f"{sorted(phantoms)}" if phantoms else None


def who_misbehaves_is_ended(world: World, step: Step) -> str | None:
    if world.exit is not None:
        return None
    processes: list[FakeWorker | FakeZygote] = [*world.workers.values(), *world.zygotes.values()]
    for process in processes:
        if process.misbehaved_at is not None and process.killed_at is None and not process.reported_gone:
            return f"{process} has not been killed"
    return None


def every_exit_is_recorded_once(world: World, step: Step) -> str | None:
    records = [action for action in step.actions if isinstance(action, Log) and action.event == "worker exited"]
    wanted = 1 if isinstance(step.event, WorkerExited) else 0
    known = all(record.fields["reason"] in get_args(ExitReason) for record in records)
    return None if len(records) == wanted and known else f"{records} for {step.event}"


def one_is_recycled_at_a_time(world: World, step: Step) -> str | None:
    recycled = [worker.number for worker in world.supervisor.workers() if worker.leaving == "recycled"]
    return f"{recycled} are" if len(recycled) > 1 else None


def it_always_promises_to_come_back(world: World, step: Step) -> str | None:
    promise = world.supervisor.next_deadline()
    if world.exit is not None:
        return None if promise is None else f"{promise} after the exit"
    return None if promise is not None and world.now < promise <= world.now + PULSE else f"{promise}"


def back_off_bounds_the_boots(world: World, step: Step) -> str | None:
    script = world.script
    if not script.crash_loop or script.reloads or script.scalings or world.calm:
        return None
    boots = len(world.spawns)
    return f"{boots} boots in {world.now:.1f} s" if boots > world.policy.count * BOOTS_IN_A_CRASH_LOOP else None


def replacements_keep_to_their_budget(world: World, step: Step) -> str | None:
    """Beyond it there is one boot at a time, which is what keeps the house from being empty."""
    script, count = world.script, world.policy.count
    if not script.poison or script.reloads or script.scalings:
        return None
    allowed = BOOT_SHARE * count * (world.now + BUDGET_DEPTH) + world.now + count
    return f"{world.spent:.1f} s of {allowed:.1f} s" if world.spent > allowed else None


def there_is_never_an_empty_house(world: World, step: Step) -> str | None:
    """What dies while it serves is replaced at once if nobody else is there."""
    zygote = world.zygotes.get(world.supervisor.generation)
    if not world.script.poison or world.stop_requested_at is not None or world.exit is not None:
        return None
    if zygote is None or not zygote.reported_ready or not world.spawns:
        return None
    return None if any(worker.present for worker in world.workers.values()) else "nobody serves or boots"


# ---- at the end -----------------------------------------------------------------------------------------------------


def a_stop_has_ended(world: World) -> str | None:
    return "it has not" if world.stop_requested_at is not None and world.exit is None else None


def it_ends_in_the_last_requested_state(world: World) -> str | None:
    """Everything has been well for a while: as many as wanted serve, of the last generation that was accepted, and no more."""
    if world.exit is not None or world.stop_requested_at is not None:
        return None
    supervisor = world.supervisor
    accepted = [number for number, results in world.verdicts.items() if number and results[-1] in ("ok", "incomplete")]
    generation = max(accepted, default=1)
    # One may be being recycled just then: it may still drain, or its successor may be booting.
    recycled = any(worker.replace or worker.leaving == "recycled" for worker in supervisor.workers())
    spare = (
        supervisor.count + recycled - sum(worker.alive and not worker.unreapable for worker in world.workers.values())
    )
    found = (
        supervisor.state,
        supervisor.generation,
        {worker.generation for worker in world.workers.values() if worker.serving},
        sum(worker.serving for worker in world.workers.values()) >= supervisor.count,
        spare >= 0,
        {zygote.generation for zygote in world.zygotes.values() if zygote.alive},
    )
    unreaped = {worker.generation for worker in world.workers.values() if worker.unreapable}
    wanted = ("serving", generation, {generation}, True, True, {generation} | found[-1] & unreaped)
    return None if found == wanted else f"{found} instead of {wanted}"


def the_last_reload_asked_for_has_been_tried(world: World) -> str | None:
    if not world.requested or world.stop_requested_at is not None or world.exit is not None:
        return None
    return None if any(policy is world.requested[-1] for policy in world.policies.values()) else "it has been forgotten"


def every_reload_has_its_verdict(world: World) -> str | None:
    missing = [number for number in world.policies if number > 1 and len(world.verdicts.get(number, ())) != 1]
    return f"not so {missing}" if missing else None


# ---- how long what may take -----------------------------------------------------------------------------------------


def _rung(world: World, worker: FakeWorker) -> tuple[float, float, str]:
    """On which rung of its ladder a worker stands: since when, how long that may last, and what it is."""
    policy = world.policies[worker.generation]
    if worker.unreapable and worker.killed_at is not None and world.stop_requested_at is not None:
        return world.now, 0.0, "left behind"
    if worker.killed_at is not None:
        return worker.killed_at, KILL_INTERVAL, "killed"
    if worker.drained_at is not None:
        return worker.drained_at, policy.drain_bound(worker.drain_reason), "draining"
    if worker.failed_at is not None:
        return worker.failed_at, EXIT_GRACE, "failed"
    if not worker.reported_ready or not worker.reported_pid:
        return worker.spawned_at, policy.boot_timeout, "booting"
    return world.now, 0.0, "serving"


def _zygote_rung(world: World, zygote: FakeZygote) -> tuple[float, float]:
    if zygote.reported_gone:
        return world.now, 0.0
    if zygote.killed_at is not None:
        return zygote.killed_at, KILL_INTERVAL
    if zygote.stopped_at is not None:
        return zygote.stopped_at, EXIT_GRACE
    if zygote.failed_at is not None:
        return zygote.failed_at, EXIT_GRACE
    if not zygote.reported_ready:
        return zygote.spawned_at, world.policies[zygote.generation].boot_timeout
    return world.now, 0.0


def _overdue(world: World, since: float, limit: float) -> bool:
    return world.now - since - world.suspended(since, world.now) > limit + SLACK


ON_EVERY_ORDER: tuple[Callable[[World, Action], str | None], ...] = (
    orders_concern_what_is_there,
    a_worker_is_drained_once,
    numbers_are_unique,
    only_blocked_loops_are_blamed,
    nothing_fires_early,
    each_reload_gets_one_verdict,
    after_a_reload_no_old_worker_accepts,
    nothing_impossible_happens,
    the_exit_is_the_last_order,
)
AFTER_EVERY_STEP: tuple[Callable[[World, Step], str | None], ...] = (
    never_more_than_count_and_surge,
    capacity_is_kept,
    nothing_takes_serving_workers_away,
    every_ladder_ends,
    every_zygote_ladder_ends,
    blocked_workers_are_replaced,
    a_stop_ends,
    nobody_is_supervised_who_is_not_there,
    who_misbehaves_is_ended,
    every_exit_is_recorded_once,
    one_is_recycled_at_a_time,
    it_always_promises_to_come_back,
    back_off_bounds_the_boots,
    replacements_keep_to_their_budget,
    there_is_never_an_empty_house,
)
AT_THE_END: tuple[Callable[[World], str | None], ...] = (
    a_stop_has_ended,
    every_reload_has_its_verdict,
    the_last_reload_asked_for_has_been_tried,
    it_ends_in_the_last_requested_state,
)


def names() -> Iterator[str]:
    """The names of all invariants."""
    for check in (*ON_EVERY_ORDER, *AFTER_EVERY_STEP, *AT_THE_END):
        yield check.__name__
    yield OLD_WORKERS_MAKE_WAY
