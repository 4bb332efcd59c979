"""A simulated world: processes, a kernel and an operator that the supervisor cannot tell from real ones.

A world plays itself through from one seed. What happens lies in a heap ordered by time; what the master hears of it comes
later, by a delay that is drawn anew for each piece of news, in order for each channel and not beyond. The master of this
world does nothing but what the real one does: it hands events to the supervisor and performs the actions.

Nothing here looks into the supervisor. What it is held against (`invariants`) is kept in the records of this world: what
was ordered, what was reported, and what is true.
"""

from __future__ import annotations

import heapq
import json
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Literal, Protocol

from appserver.errors import ChannelError
from appserver.master.conversation import WorkerConversation, ZygoteConversation
from appserver.supervision.actions import (
    Action,
    CountExit,
    DrainWorker,
    DumpBoot,
    DumpStacks,
    DumpZygoteBoot,
    Exit,
    FinishReload,
    KillWorker,
    KillZygote,
    Log,
    SpawnWorker,
    SpawnZygote,
    StopZygote,
)
from appserver.supervision.backoff import CHEAPEST_BOOT
from appserver.supervision.events import (
    Event,
    ExitStatus,
    Failure,
    Forked,
    ForkRefused,
    Observed,
    ReloadRequested,
    Sample,
    ScaleRequested,
    StopRequested,
    Tick,
    WorkerExited,
    WorkerFailed,
    WorkerMisbehaved,
    WorkerReady,
    WorkerStoppedAccepting,
    ZygoteExited,
    ZygoteFailed,
    ZygoteMisbehaved,
    ZygoteReady,
)
from appserver.supervision.policy import Policy
from appserver.supervision.supervisor import Supervisor
from appserver.worker.messages import (
    BootFailed,
    Drain,
    Imported,
    Message,
    PreloadGivenUp,
    Ready,
    StoppedAccepting,
    TasksReported,
)

Fate = Literal["well", "fails", "dies", "hangs", "refused"]
"""How a boot turns out: it succeeds, says that it failed, dies without a word, never ends, or never begins."""

KILLED = ExitStatus(signal=9)
SEGMENTATION_FAULT = ExitStatus(signal=11)
CLEAN = ExitStatus(code=0)


@dataclass(frozen=True, slots=True)
class Script:
    """What kind of world it is: how likely what is, per occasion unless said otherwise. All zero is a world without fault."""

    duration: float = 60.0
    calm: float = 0.6
    """The share of the duration after which nothing goes wrong any more, and nothing is asked for."""
    delay: float = 0.02
    """The longest that news takes to reach the master."""

    zygote_fates: tuple[float, ...] = (1.0, 0.0, 0.0, 0.0, 0.0)
    worker_fates: tuple[float, ...] = (1.0, 0.0, 0.0, 0.0, 0.0)
    """Weights of the fates, in the order of `Fate`."""
    first_boot_well: bool = True
    """The first generation comes up, so that there is something to supervise."""
    broken_generation: float = 0.0
    """A new generation cannot boot at all."""
    crash: float = 0.0
    """A serving worker dies some time, be it early or late."""
    crash_loop: bool = False
    """Until it is calm every worker dies soon after it has become ready."""
    poison: bool = False
    """Until it is calm every worker serves something soon after it has become ready, and dies of it."""
    block: float = 0.0
    """The loop of a serving worker is blocked for some time, short or long or for ever."""
    slow_drain: float = 0.0
    ignored_drain: float = 0.0
    slow_reap: float = 0.0
    unreapable: float = 0.0
    zygote_death: float = 0.0
    """A ready zygote dies some time."""
    zygote_deafness: float = 0.0
    """A ready zygote stops answering some time."""
    hostile_worker: float = 0.0
    """A worker is in wrong hands: besides what it has to say it says whatever its messages allow, at any time."""
    hostile_zygote: float = 0.0
    """A zygote likewise; it also keeps quiet of workers that run, and denies them."""

    reloads: int = 0
    scalings: int = 0
    suspensions: int = 0
    """Of the master alone, or of all processes together."""
    re_execs: int = 0
    """The master replaces itself, with its state written out and read back."""
    stop: float = 1.0
    """There is a stop at some time after it is calm; otherwise the end of the world is looked at while it serves."""
    early_stop: float = 0.0
    """The stop comes at any time, without waiting for calm."""
    second_stop: float = 0.0
    stop_at_once: float = 0.0

    @property
    def quiet(self) -> bool:
        """No worker that has become ready ever fails: what is missing then, the supervisor has taken away."""
        return not (
            self.crash or self.crash_loop or self.poison or self.block or self.hostile_worker or self.hostile_zygote
        )


@dataclass(slots=True)
class FakeWorker:
    """A worker process, as it is, and what the master has said and heard of it."""

    id: int
    number: int
    generation: int
    spawned_at: float
    conversation: WorkerConversation
    misbehaved_at: float | None = None
    pid: int | None = None
    alive: bool = True
    ready: bool = False
    blocked_since: float | None = None
    unblocked_at: float = -1000.0
    boot_time: float = 0.0
    last_beat: float = 0.0
    requests: int = 0
    deaf: bool = False
    unreapable: bool = False

    # What the master has said and heard.
    reported_pid: bool = False
    reported_ready: bool = False
    reported_gone: bool = False
    failed_at: float | None = None
    drained_at: float | None = None
    drain_reason: str = ""
    reported_stopped_accepting: bool = False
    to_be_drained_again: bool = False
    """It became ready after it had been asked to give up booting."""
    killed_at: float | None = None

    @property
    def present(self) -> bool:
        """As far as the master knows, it serves or is on the way to it."""
        return not self.reported_gone and self.failed_at is None and self.drained_at is None and self.killed_at is None

    @property
    def serving(self) -> bool:
        """As far as the master knows, it serves."""
        return self.present and self.reported_ready


@dataclass(slots=True)
class FakeZygote:
    """A zygote process, likewise."""

    generation: int
    spawned_at: float
    conversation: ZygoteConversation
    misbehaved_at: float | None = None
    hostile: bool = False
    alive: bool = True
    ready: bool = False
    deaf: bool = False
    stopped_at: float | None = None
    failed_at: float | None = None
    reported_ready: bool = False
    reported_gone: bool = False
    killed_at: float | None = None


@dataclass(frozen=True, slots=True)
class Said:
    """What a process has sent over its channel; no message is something that is none."""

    by: FakeWorker | FakeZygote
    message: Message | None


@dataclass(slots=True)
class Step:
    """One event, and what the supervisor made of it."""

    at: float
    event: Event | None
    actions: list[Action]
    serving_before: int = 0
    count: int = 0


class Observer(Protocol):
    """Who looks on. Raises what it likes where something is not as it should be."""

    def ordered(self, world: World, action: Action) -> None:
        """The supervisor has said what to do; it is about to be done."""

    def stepped(self, world: World, step: Step) -> None:
        """An event has been handled, and what followed has been done."""

    def ended(self, world: World) -> None:
        """The world is over."""


@dataclass(slots=True)
class World:
    """A world under way. `play` runs it to its end."""

    seed: int
    script: Script
    policy: Policy
    supervisor: Supervisor
    observer: Observer
    make_policy: Callable[[random.Random], Policy]
    now: float = 0.0
    workers: dict[int, FakeWorker] = field(default_factory=dict)
    """Those whose end has not been reported."""
    zygotes: dict[int, FakeZygote] = field(default_factory=dict)
    policies: dict[int, Policy] = field(default_factory=dict)
    broken: dict[int, bool] = field(default_factory=dict)
    verdicts: dict[int | None, list[str]] = field(default_factory=dict)
    requested: list[Policy] = field(default_factory=list)
    scaled_at: float | None = None
    exit: Exit | None = None
    exited_at: float = 0.0
    stop_requested_at: float | None = None
    stop_urgent_at: float | None = None
    suspended_until: float = 0.0
    suspensions: list[tuple[float, float]] = field(default_factory=list)
    """When the master did not run: from, to."""
    steps: int = 0
    served: bool = False
    misbehaved: Counter[str] = field(default_factory=Counter)
    """How many zygotes and workers have been found out."""
    spent: float = 0.0
    """The processor time of the boots of those that have died after they had come up."""
    spawns: list[float] = field(default_factory=list)
    chance: random.Random = field(init=False)
    end: float = field(init=False)
    resumed_at: float = 0.0
    """Until then the workers have not had the time to beat again."""
    _heap: list[tuple[float, int, Callable[[], None]]] = field(default_factory=list)
    _order: int = 0
    _channels: dict[object, float] = field(default_factory=dict)
    _held: list[Event | Said] = field(default_factory=list)  # what was said while the master was suspended
    _tick: int = 0
    _next_pid: int = 1000

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)
        self.end = self.script.duration

    # ---- time ---------------------------------------------------------------------------------------------------------

    @property
    def calm_at(self) -> float:
        return self.script.duration * self.script.calm

    @property
    def calm(self) -> bool:
        return self.now >= self.calm_at

    def happens(self, probability: float) -> bool:
        """Whether something goes wrong on this occasion."""
        return not self.calm and self.chance.random() < probability

    def later(self, delay: float, what: Callable[[], None]) -> None:
        self.at(self.now + delay, what)

    def at(self, moment: float, what: Callable[[], None]) -> None:
        self._order += 1
        heapq.heappush(self._heap, (moment, self._order, what))

    def suspended(self, since: float, until: float) -> float:
        """For how long the master did not run between two moments."""
        return sum(max(0.0, min(until, end) - max(since, start)) for start, end in self.suspensions)

    # ---- the master ---------------------------------------------------------------------------------------------------

    def play(self) -> None:
        """Live this world to its end: until the program has exited, or until time is up."""
        self.policies[1] = self.policy
        self.broken[1] = False
        self._perform(Step(0.0, None, self.supervisor.start(0.0)))
        self._plan()
        self.later(1.0, self._observe)
        while self._heap and self.exit is None:
            moment, _, what = heapq.heappop(self._heap)
            if moment > self.end:
                break
            self.now = max(self.now, moment)
            what()
        self.observer.ended(self)

    def say(self, process: FakeWorker | FakeZygote, message: Message | None) -> None:
        """Have a process send something over its channel; None is something that is no message."""
        self.tell(_channel(process), Said(process, message))

    def tell(self, channel: object, event: Event | Said, also: object = None) -> None:
        """Have the master hear of `event` some time later, after what was said before on `channel` (and on `also`)."""
        heard = max(
            self.now + self.chance.random() * self.script.delay,
            self._channels.get(channel, 0.0),
            self._channels.get(also, 0.0),
        )
        self._channels[channel] = heard
        self.at(heard, lambda: self._hear(event))

    def _hear(self, event: Event | Said) -> None:
        """The master comes to read of an event; not while it is suspended, and then in the order in which they came."""
        if self.now < self.suspended_until or self._held:
            self._held.append(event)
            if len(self._held) == 1:
                self.at(self.suspended_until, self._hear_what_is_held)
        else:
            self.post(event)

    def _hear_what_is_held(self) -> None:
        if self.now < self.suspended_until:  # suspended again, before it could read any of it
            self.at(self.suspended_until, self._hear_what_is_held)
            return
        held, self._held = self._held, []
        for event in held:
            self.post(event)

    def post(self, news: Event | Said) -> None:
        """Let the supervisor handle an event now, and do what it says."""
        event = self._understand(news) if isinstance(news, Said) else news
        if self.exit is not None or event is None:
            return
        if isinstance(event, WorkerExited) and not self._watched(event.worker):
            return  # to the master it was a stranger
        serving = sum(worker.serving for worker in self.workers.values())
        self._note(event)
        self._perform(Step(self.now, event, self.supervisor.handle(event, self.now), serving))

    def _watched(self, worker: int) -> bool:
        return worker in self.workers and self.workers[worker].reported_pid

    def _understand(self, said: Said) -> Event | None:
        """What the master makes of what a process says, by the rules that it goes by in reality, too."""
        process = said.by
        if process.misbehaved_at is not None or process.reported_gone:
            return None
        try:
            if said.message is None:
                raise ChannelError("it sends what is no message")
            event = process.conversation.hear(said.message)
            if isinstance(event, WorkerReady) and isinstance(process, FakeWorker):
                return WorkerReady(event.worker, process.boot_time)
            return event
        except ChannelError as error:
            process.misbehaved_at = self.now
            self.misbehaved[type(process).__name__] += 1
            if isinstance(process, FakeWorker):
                return WorkerMisbehaved(process.id, str(error))
            return ZygoteMisbehaved(process.generation, str(error))

    def _claim(self, pid: int) -> None:
        """As for the master: a pid counts if it is that of a child which is nobody else's."""
        if not any(worker.pid == pid and not worker.reported_pid for worker in self.workers.values()):
            raise ChannelError(f"it names process {pid}")

    def _note(self, event: Event) -> None:
        """Keep the records of what the master has been told."""
        match event:
            case Forked(worker):
                self.workers[worker].reported_pid = True
            case WorkerReady(worker):
                fake = self.workers[worker]
                fake.reported_ready = True
                fake.to_be_drained_again = fake.drained_at is not None
                self.served = self.served or fake.serving
            case WorkerStoppedAccepting(worker):
                self.workers[worker].reported_stopped_accepting = True
            case WorkerFailed(worker):
                self.workers[worker].failed_at = self.now
            case WorkerExited(worker) | ForkRefused(worker):
                self._bury(self.workers[worker])
            case ZygoteReady(generation):
                self.zygotes[generation].reported_ready = True
            case ZygoteExited(generation):
                self.zygotes[generation].reported_gone = True
                self._lose_unreported(generation)
            case ZygoteFailed(generation, failure):
                self.zygotes[generation].failed_at = self.now
                self.zygotes[generation].reported_gone |= failure.kind == "spawn"
            case ReloadRequested() | ScaleRequested() | StopRequested():
                self._note_request(event)
            case _:
                pass

    def _note_request(self, request: ReloadRequested | ScaleRequested | StopRequested) -> None:
        match request:
            case ReloadRequested(policy):
                self.requested.append(policy)
            case ScaleRequested():
                self.scaled_at = self.now
            case StopRequested(at_once):
                if self.stop_requested_at is None:
                    self.stop_requested_at = self.now
                    at_once_at = self.now if at_once else None
                else:
                    at_once_at = self.now
                self.stop_urgent_at = at_once_at if self.stop_urgent_at is None else self.stop_urgent_at

    def _bury(self, worker: FakeWorker) -> None:
        worker.reported_gone = True
        del self.workers[worker.id]

    def _lose_unreported(self, generation: int) -> None:
        """What a zygote had not reported when it died is nobody's; it ends for want of a channel."""
        for worker in list(self.workers.values()):
            if worker.generation == generation and not worker.reported_pid:
                worker.alive = False
                self._bury(worker)

    def _perform(self, step: Step) -> None:
        self.steps += 1
        step.count = self.supervisor.count
        for action in step.actions:
            self.observer.ordered(self, action)
            self._act(action)
        self.observer.stepped(self, step)
        deadline = self.supervisor.next_deadline()
        self._tick += 1
        if deadline is not None and self.exit is None:
            tick = self._tick
            lateness = self.chance.random() * 0.01
            self.at(max(self.now, deadline) + lateness, lambda: self._tick_if_due(tick))

    def _tick_if_due(self, tick: int) -> None:
        if tick == self._tick:
            self._hear(Tick())

    def _observe(self) -> None:
        self.later(1.0, self._observe)
        if self.now < self.suspended_until:
            return
        samples = [
            Sample(worker.id, self._heartbeat_age(worker), worker.requests, 0, self.now - worker.spawned_at)
            for worker in self.workers.values()
            if worker.reported_pid
        ]
        self.post(Observed(tuple(samples)))

    def _heartbeat_age(self, worker: FakeWorker) -> float:
        self._beat_if_due(worker)
        return self.now - worker.last_beat

    def _beat_if_due(self, worker: FakeWorker) -> None:
        runs = worker.alive and worker.ready and worker.blocked_since is None and self.now >= self.resumed_at
        if runs and worker.last_beat < self.now - 1.0:
            worker.last_beat = self.now - self.chance.random()

    # ---- performing actions -------------------------------------------------------------------------------------------

    def _act(self, action: Action) -> None:
        match action:
            case SpawnZygote(generation):
                self._spawn_zygote(generation)
            case StopZygote(generation):
                zygote = self.zygotes[generation]
                zygote.stopped_at = self.now
                if not zygote.deaf:
                    self.later(self.chance.random() * 0.1, lambda: self._end_zygote(zygote, CLEAN))
            case KillZygote(generation):
                zygote = self.zygotes[generation]
                zygote.killed_at = self.now
                self.later(self._reap_time(), lambda: self._end_zygote(zygote, KILLED))
            case SpawnWorker(identity, number, generation):
                self.spawns.append(self.now)
                worker = self.workers[identity] = FakeWorker(
                    identity, number, generation, self.now, WorkerConversation(identity)
                )
                self.zygotes[generation].conversation.fork_ordered(identity)
                self.later(self.chance.random() * 0.02, lambda: self._fork(worker))
            case DrainWorker(identity, reason):
                self._drain(self.workers[identity], reason)
            case KillWorker(identity):
                self._kill(self.workers[identity])
            case FinishReload(result, _, generation):
                self.verdicts.setdefault(generation, []).append(result)
            case Exit():
                self.exit = action
                self.exited_at = self.now
            case DumpStacks() | DumpBoot() | DumpZygoteBoot() | CountExit() | Log():
                pass

    def _reap_time(self) -> float:
        return self.chance.uniform(0.5, 4.0) if self.happens(self.script.slow_reap) else self.chance.random() * 0.02

    def _fate(self, weights: tuple[float, ...], *, first: bool, broken: bool) -> Fate:
        fates: tuple[Fate, ...] = ("well", "fails", "dies", "hangs", "refused")
        if self.calm or (first and self.script.first_boot_well):
            return "well"
        return self.chance.choices(fates, (0.0, 1.0, 1.0, 1.0, 0.0) if broken else weights)[0]

    # ---- zygotes ------------------------------------------------------------------------------------------------------

    def _spawn_zygote(self, generation: int) -> None:
        if generation not in self.policies:  # a new one is made from what was asked for last
            self.policies[generation] = self.requested[-1]
            self.broken[generation] = self.happens(self.script.broken_generation)
        zygote = self.zygotes[generation] = FakeZygote(
            generation, self.now, ZygoteConversation(generation, self._claim), hostile=self._is_hostile(generation)
        )
        fate = self._fate(self.script.zygote_fates, first=generation == 1, broken=self.broken[generation])
        boot_time = self.chance.uniform(0.02, 0.6)
        if zygote.hostile:
            self.later(self._some_time(), lambda: self._babble(zygote))
        match fate:
            case "well":
                self.later(boot_time, lambda: self._zygote_comes_up(zygote))
            case "fails":
                failure = BootFailed("import", "no module named app", "Traceback", 4)
                self.later(boot_time, lambda: self.say(zygote, failure))
                self.later(boot_time + 0.01, lambda: self._end_zygote(zygote, ExitStatus(code=4)))
            case "dies":
                self.later(boot_time, lambda: self._end_zygote(zygote, SEGMENTATION_FAULT))
            case "hangs":
                pass
            case "refused":
                zygote.alive = False
                self.tell(_channel(zygote), ZygoteFailed(generation, Failure("spawn", "no more processes")))

    def _zygote_comes_up(self, zygote: FakeZygote) -> None:
        if not zygote.alive:
            return
        zygote.ready = True
        self.say(zygote, Imported(preloaded=False))
        if self.happens(self.script.zygote_death):
            self.later(self._some_time(), lambda: self._die_unless_calm(lambda: self._end_zygote(zygote, KILLED)))
        if self.happens(self.script.zygote_deafness):
            self.later(self._some_time(), lambda: setattr(zygote, "deaf", True))

    def _end_zygote(self, zygote: FakeZygote, status: ExitStatus) -> None:
        if zygote.alive:
            zygote.alive = False
            self.tell(_channel(zygote), ZygoteExited(zygote.generation, status))

    def _is_hostile(self, generation: int) -> bool:
        return (generation > 1 or self.served) and self.happens(self.script.hostile_zygote)

    def _babble(self, process: FakeWorker | FakeZygote) -> None:
        """Say something, whatever it may be, and then something else: until somebody puts an end to it, or it is calm."""
        if not process.alive or self.calm:
            return
        worker = self.chance.randrange(-1, self.chance.choice((3, 50)))
        pid = self.chance.choice((-1, 0, 1, self._next_pid, self._next_pid + 1))
        self.say(process, self.chance.choice((None, Drain("stop", 0.0), Imported(preloaded=True), PreloadGivenUp(),
            BootFailed("bug", "it is broken", "", self.chance.randrange(300)), Forked(worker, pid), ForkRefused(worker, "no"),
            Ready(), StoppedAccepting(), TasksReported(worker))))  # fmt: skip
        self.later(self._some_time(), lambda: self._babble(process))

    def _some_time(self) -> float:
        return self.chance.expovariate(1.0 / self.chance.choice((0.1, 2.0, 15.0)))

    def _die_unless_calm(self, die: Callable[[], None]) -> None:
        if not self.calm:
            die()

    # ---- workers ------------------------------------------------------------------------------------------------------

    def _fork(self, worker: FakeWorker) -> None:
        zygote = self.zygotes[worker.generation]
        if not zygote.alive or zygote.deaf or worker.reported_gone or not worker.alive:
            return
        generation = worker.generation
        fate = self._fate(self.script.worker_fates, first=not self.served, broken=self.broken[generation])
        if fate == "refused":
            worker.alive = False
            self.say(zygote, ForkRefused(worker.id, "resource temporarily unavailable"))
            return
        self._next_pid += 1
        worker.pid = self._next_pid
        worker.last_beat = self.now
        worker.unreapable = self.happens(self.script.unreapable)
        answer = self.chance.choice(("report", "deny", "conceal")) if zygote.hostile and not self.calm else "report"
        if answer == "report":
            self.say(zygote, Forked(worker.id, worker.pid))
        elif answer == "deny":
            self.later(self._some_time(), lambda: self.say(zygote, ForkRefused(worker.id, "there is none")))
        if self.happens(self.script.hostile_worker):
            self.later(self._some_time(), lambda: self._babble(worker))
        worker.boot_time = boot_time = self.chance.uniform(0.02, 0.8)
        match fate:
            case "fails":
                failure = BootFailed("startup", "start-up failed", "Traceback", 5)
                self.later(boot_time, lambda: self._say_failed(worker, failure))
                if self.chance.random() < 0.8:
                    self.later(boot_time + 0.01, lambda: self._end_worker(worker, ExitStatus(code=5)))
            case "dies":
                self.later(boot_time, lambda: self._end_worker(worker, SEGMENTATION_FAULT))
            case "hangs":
                worker.deaf = True
                worker.blocked_since = self.now  # whatever somebody who writes to its channel makes it say
            case _:
                self.later(boot_time, lambda: self._come_up(worker))

    def _say_failed(self, worker: FakeWorker, failure: BootFailed) -> None:
        if worker.alive:
            self.say(worker, failure)

    def _come_up(self, worker: FakeWorker) -> None:
        if not worker.alive:
            return
        worker.ready = True
        worker.last_beat = self.now
        self.say(worker, Ready())
        if (self.script.crash_loop or self.script.poison) and not self.calm:
            life = self.chance.random() * (0.05 if self.script.poison else 0.5)
            self.later(life, lambda: self._end_worker(worker, SEGMENTATION_FAULT))
        elif self.happens(self.script.crash):
            status = self.chance.choice((KILLED, SEGMENTATION_FAULT, CLEAN, ExitStatus(code=3)))
            self.later(self._some_time(), lambda: self._die_unless_calm(lambda: self._end_worker(worker, status)))
        if self.happens(self.script.block):
            self.later(self._some_time(), lambda: self._block(worker))
        worker.requests = 0 if self.script.crash_loop else 1 + self.chance.randrange(100)
        self.later(1.0, lambda: self._serve(worker))

    def _serve(self, worker: FakeWorker) -> None:
        if worker.alive:
            worker.requests += self.chance.randrange(20)
            self.later(1.0, lambda: self._serve(worker))

    def _block(self, worker: FakeWorker) -> None:
        if self.now < self.resumed_at:
            self.at(self.resumed_at, lambda: self._block(worker))  # for that it has to run, and then it beats as well
        elif worker.alive and not self.calm:
            self._beat_if_due(worker)
            worker.blocked_since = self.now
            if self.chance.random() < 0.6:
                self.later(self.chance.uniform(0.5, 12.0), lambda: self._unblock(worker))

    def _unblock(self, worker: FakeWorker) -> None:
        worker.blocked_since = None
        worker.unblocked_at = self.now
        if worker.alive and worker.drained_at is not None:
            self.later(self.chance.random() * 0.2, lambda: self._end_worker(worker, CLEAN))

    def _drain(self, worker: FakeWorker, reason: str) -> None:
        worker.drained_at = self.now
        worker.drain_reason = reason
        worker.to_be_drained_again = False
        if worker.deaf or worker.blocked_since is not None or self.happens(self.script.ignored_drain):
            return
        if worker.ready:
            self.later(self.chance.random() * 0.1, lambda: self._say_stopped_accepting(worker))
        slow = self.happens(self.script.slow_drain)
        drain_time = self.chance.uniform(1.0, 12.0) if slow else self.chance.random() * 0.3
        self.later(drain_time, lambda: self._end_worker(worker, CLEAN))

    def _say_stopped_accepting(self, worker: FakeWorker) -> None:
        if worker.alive:
            self.say(worker, StoppedAccepting())

    def _kill(self, worker: FakeWorker) -> None:
        worker.killed_at = self.now
        if worker.pid is not None and worker.reported_pid and not worker.unreapable:
            self.later(self._reap_time(), lambda: self._end_worker(worker, KILLED))

    def _end_worker(self, worker: FakeWorker, status: ExitStatus) -> None:
        if worker.alive:
            worker.alive = False
            exited = WorkerExited(worker.id, status, requests=worker.requests)
            self.tell(_channel(worker), exited, also=("zygote", worker.generation))
            if worker.ready:
                self.spent += max(CHEAPEST_BOOT, worker.boot_time)

    # ---- the operator, and the machine --------------------------------------------------------------------------------

    def _plan(self) -> None:
        """Draw when what is asked for, and when the machine stands still."""
        script, chance = self.script, self.chance
        for _ in range(script.reloads):
            self.at(chance.uniform(0.0, self.calm_at), lambda: self._hear(ReloadRequested(self.make_policy(chance))))
            if chance.random() < 0.3:  # and another on top of it
                self.at(
                    chance.uniform(0.0, self.calm_at), lambda: self._hear(ReloadRequested(self.make_policy(chance)))
                )
        for _ in range(script.scalings):
            wish = (
                ScaleRequested(chance.randrange(1, 6))
                if chance.random() < 0.5
                else ScaleRequested(delta=chance.choice((-1, 1)))
            )
            self.at(chance.uniform(0.0, self.calm_at), partial(self._hear, wish))
        for _ in range(script.suspensions):
            self.at(chance.uniform(0.0, script.duration), self._suspend)
        for _ in range(script.re_execs):
            self.at(chance.uniform(0.0, script.duration), self._re_exec)
        self._plan_stop()

    def _plan_stop(self) -> None:
        script, chance = self.script, self.chance
        if chance.random() < script.early_stop:
            moment = chance.uniform(0.0, self.calm_at)
        elif chance.random() < script.stop:
            moment = chance.uniform(0.75, 0.8) * script.duration
        else:
            return
        at_once = chance.random() < script.stop_at_once
        self.at(moment, lambda: self._hear(StopRequested(now=at_once)))
        if chance.random() < script.second_stop:
            self.at(moment + chance.uniform(0.0, 3.0), lambda: self._hear(StopRequested()))

    def _suspend(self) -> None:
        """Stop the master, or everything: then nothing that was under way comes any further."""
        length = self.chance.choice((0.5, 3.0, 8.0, 40.0))
        start = max(self.now, self.suspended_until)
        end = start + length
        self.suspensions.append((start, end))
        self.end += length
        if self.chance.random() < 0.5:
            self.suspended_until = end
            return
        self.suspended_until = end
        self.resumed_at = self.suspended_until + self.chance.random()
        self._heap = [(moment + length, order, what) for moment, order, what in self._heap]
        heapq.heapify(self._heap)
        self._channels = {channel: moment + length for channel, moment in self._channels.items()}
        for worker in self.workers.values():
            if worker.blocked_since is not None:
                worker.blocked_since += length

    def _re_exec(self) -> None:
        snapshot = json.loads(json.dumps(self.supervisor.dump()))
        successor = type(self.supervisor).restore(snapshot, random=self.chance.random)
        assert successor.dump() == self.supervisor.dump()
        assert successor.next_deadline() == self.supervisor.next_deadline()
        self.supervisor = successor


def _channel(process: FakeWorker | FakeZygote) -> tuple[str, int]:
    return ("worker", process.id) if isinstance(process, FakeWorker) else ("zygote", process.generation)
