"""The shell around the supervisor: what happens goes in as events, what is to be done comes out as actions."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections import deque
from collections.abc import Callable, Iterator
from functools import singledispatchmethod

from appserver.errors import AppserverError
from appserver.master import signals
from appserver.master.admin import Admin
from appserver.master.children import Child, reap_strangers
from appserver.master.commands import Commands
from appserver.master.handover import Handover, PlansRecord
from appserver.master.listeners import ListenerSet
from appserver.master.log_files import prepare_log_files
from appserver.master.notify import Announcer, Notifier
from appserver.master.observation import Observer
from appserver.master.plan import Plan, refuse_fixed
from appserver.master.upgrade import Command, Upgrade
from appserver.master.verdicts import Verdict, Verdicts
from appserver.master.workers import WorkerHandle
from appserver.master.zygotes import ZygoteHandle
from appserver.settings import Loaded, differences
from appserver.supervision.actions import (
    Action,
    CountExit,
    DrainWorker,
    DumpStacks,
    Exit,
    FinishReload,
    KillWorker,
    KillZygote,
    Log,
    SpawnWorker,
    SpawnZygote,
    StopZygote,
)
from appserver.supervision.events import (
    Event,
    Failure,
    ForkFailed,
    Observed,
    ReloadRequested,
    ScaleRequested,
    StopRequested,
    Tick,
    WorkerExited,
    WorkerForked,
    ZygoteExited,
    ZygoteFailed,
)
from appserver.supervision.supervisor import Supervisor
from appserver.telemetry.logs import LogOutput, get_logger
from appserver.telemetry.scoreboard import Scoreboard
from appserver.worker.messages import Drain, ReopenLogs, ZygoteBoot

# Seconds between two looks at the scoreboard.
OBSERVATION_INTERVAL = 1.0


class Master:
    """Performs what the supervisor decides. `run` is the life of the server after its listeners are bound."""

    def __init__(
        self,
        plan: Plan,
        reread: Callable[[], Loaded],
        listeners: ListenerSet,
        admin: Admin,
        scoreboard: Scoreboard,
        supervisor: Supervisor,
        output: LogOutput,
        notifier: Notifier,
        command: Command,
    ) -> None:
        """`command` is how the program was started, for starting it again in place."""
        self._reread = reread
        self._listeners = listeners
        self._admin = admin
        self._scoreboard = scoreboard
        self._supervisor = supervisor
        self._output = output
        self._observer = Observer(scoreboard, output)
        self._log = get_logger("appserver.master")
        self._serving = plan  # what the current generation was made from
        self._wanted = plan  # what the next generation is made from: the last settings that were read and accepted
        self._plans: dict[int, Plan] = {}
        self._zygotes: dict[int, ZygoteHandle] = {}
        self._workers: dict[int, WorkerHandle] = {}
        self._events: deque[Event] = deque()
        self._handling = False
        self._interrupted = False
        self._timer: asyncio.TimerHandle | None = None
        self.verdicts = Verdicts()
        self.started_at = time.time()
        self._announcer = Announcer(notifier, supervisor, self.verdicts, scoreboard)
        self._upgrade = Upgrade(command, supervisor, self._hand_over, output)

    async def run(self, handover: Handover | None = None) -> int:
        """Supervise until the supervisor says `Exit`; returns the exit code.

        With a `handover` go on from there; the supervisor has been restored from it already.
        """
        self._loop = asyncio.get_running_loop()
        self._exit: asyncio.Future[int] = self._loop.create_future()
        if handover is not None:
            self._take_over(handover)
        self._install_signals()
        self._admin.start(Commands(self, self._supervisor, self._scoreboard, self._listeners))
        if handover is None:
            self._perform_all(self._supervisor.start(time.monotonic()))
        self._announcer.start(self._loop)
        self._observe()
        code = await self._exit
        await self._admin.stop()
        return code

    # ---- events -------------------------------------------------------------------------------------------------------

    def post(self, event: Event) -> None:
        """Have the supervisor handle an event, and perform what it decides.

        An action that fails at once posts an event of its own, so events queue: each is handled after the actions of
        the one before it have been performed.
        """
        self._events.append(event)
        if self._handling:
            return
        self._handling = True
        try:
            while self._events:
                self._handle(self._events.popleft())
        finally:
            self._handling = False
        self._set_timer()
        self._announcer.look()

    def _handle(self, event: Event) -> None:
        match event:
            case WorkerForked():
                if handle := self._workers.get(event.worker):
                    handle.forked(event.pid)
            case WorkerExited():
                event = self._forget(event)
            case ZygoteExited():
                self._lose_zygote(event.generation)
            case _:
                pass
        self._perform_all(self._supervisor.handle(event, time.monotonic()))

    def _forget(self, event: WorkerExited) -> WorkerExited:
        """A worker is gone: it is examined before its scoreboard slot can be given to another."""
        handle = self._workers.pop(event.worker, None)
        if handle is None:
            return event
        handle.close()
        return self._observer.examine(event, handle)

    def _lose_zygote(self, generation: int) -> None:
        """A worker forked but not reported when its zygote died is nobody's: without its channel it ends by itself."""
        self._zygotes.pop(generation, None)
        for handle in list(self._workers.values()):
            if handle.generation == generation and handle.child is None:
                handle.close()
                del self._workers[handle.worker]

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        deadline = self._supervisor.next_deadline()
        if deadline is not None and not self._exit.done():
            delay = max(0.0, deadline - time.monotonic())
            self._timer = self._loop.call_later(delay, self.post, Tick())

    # ---- actions ------------------------------------------------------------------------------------------------------

    def _perform_all(self, actions: list[Action]) -> None:
        for action in actions:
            self._perform(action)

    @singledispatchmethod
    def _perform(self, action: Action) -> None:
        raise TypeError(f"no way to perform {action!r}")

    @_perform.register
    def _(self, action: SpawnZygote) -> None:
        """Start a zygote; one of a new generation is made from the settings last accepted."""
        plan = self._plans.setdefault(action.generation, self._wanted)
        try:
            self._zygotes[action.generation] = ZygoteHandle.start(
                ZygoteBoot(
                    master=os.getpid(),
                    generation=action.generation,
                    settings=plan.settings.model_dump_json(),
                    scoreboard=self._scoreboard.fd,
                    listeners=self._listeners.grants(plan.settings.listeners),
                ),
                plan.environment(),
                self._loop,
                self.post,
            )
        except (OSError, AppserverError) as error:
            self.post(ZygoteFailed(action.generation, Failure("spawn", f"cannot start a zygote: {error}", "", 5)))

    @_perform.register
    def _(self, action: StopZygote) -> None:
        if zygote := self._zygotes.get(action.generation):
            zygote.let_go()

    @_perform.register
    def _(self, action: KillZygote) -> None:
        if zygote := self._zygotes.get(action.generation):
            zygote.kill()

    @_perform.register
    def _(self, action: SpawnWorker) -> None:
        zygote = self._zygotes.get(action.generation)
        try:
            if zygote is None:
                raise BrokenPipeError("the zygote is gone")
            self._workers[action.worker] = WorkerHandle.order(
                action.worker, action.number, zygote, self._loop, self.post
            )
        except OSError as error:
            self.post(ForkFailed(action.worker, str(error)))

    @_perform.register
    def _(self, action: DrainWorker) -> None:
        if worker := self._workers.get(action.worker):
            worker.tell(Drain(action.reason, action.linger))

    @_perform.register
    def _(self, action: KillWorker) -> None:
        if worker := self._workers.get(action.worker):
            worker.kill()

    @_perform.register
    def _(self, action: DumpStacks) -> None:
        if worker := self._workers.get(action.worker):
            worker.dump_stacks(action.blocked, self._observer.serving(worker))

    @_perform.register
    def _(self, action: CountExit) -> None:
        self._scoreboard.worker_exited(action.reason)

    @_perform.register
    def _(self, action: FinishReload) -> None:
        """Settle what is serving now, and let go of the listeners that nobody is to serve any more."""
        self._scoreboard.reload_finished(action.result)
        plan = None if action.generation is None else self._plans[action.generation]
        if plan is None:
            self._wanted = self._serving
        elif action.result == "rolled_back":
            if self._wanted is plan:
                self._wanted = self._serving
        else:
            self._serving = plan
        living = {generation.number for generation in self._supervisor.generations()}
        self._plans = {number: plan for number, plan in self._plans.items() if number in living}
        self._let_go()
        self.verdicts.give(Verdict(action.result, action.reason, action.generation))

    def _let_go(self) -> None:
        """Let go of the addresses that neither what is serving nor what is wanted next has any more."""
        serving, wanted = self._serving.settings, self._wanted.settings
        self._listeners.keep(serving.listeners, wanted.listeners)
        self._admin.keep(serving.admin, wanted.admin)

    @_perform.register
    def _(self, action: Log) -> None:
        getattr(self._log, action.level)(action.event, **action.fields)

    @_perform.register
    def _(self, action: Exit) -> None:
        for zygote in self._zygotes.values():
            zygote.let_go()
        if not self._exit.done():
            self._exit.set_result(action.code)

    # ---- signals ------------------------------------------------------------------------------------------------------

    def _install_signals(self) -> None:
        add = self._loop.add_signal_handler
        add(signal.SIGTERM, self.stop)
        add(signal.SIGINT, self._interrupt)
        add(signal.SIGQUIT, self.post, StopRequested(now=True))
        add(signal.SIGHUP, self.reload)
        add(signal.SIGUSR1, self.reopen_logs)
        add(signal.SIGUSR2, self.upgrade)
        add(signal.SIGTTIN, self.post, ScaleRequested(delta=1))
        add(signal.SIGTTOU, self.post, ScaleRequested(delta=-1))
        add(signal.SIGCHLD, self._reap_strangers)
        signals.unblock()

    def stop(self, *, now: bool = False) -> None:
        """Stop, gracefully unless `now`. Asked for again, a graceful stop stays one: service managers repeat TERM."""
        if now or self._supervisor.state not in ("stopping", "stopped"):
            self.post(StopRequested(now=now))

    def _interrupt(self) -> None:
        self.stop(now=self._interrupted)
        self._interrupted = True

    def _reap_strangers(self) -> None:
        """As PID 1, or as the subreaper: reap what fell to this process and is none of its own."""
        mine = {child.pid for child in self._children()}
        # A worker that has exited before its zygote has reported it looks like a stranger.
        if all(worker.child is not None for worker in self._workers.values()):
            reap_strangers(mine.__contains__)

    def reopen_logs(self) -> None:
        """Open every log file anew, here and in all other processes."""
        prepare_log_files(self._serving.settings)
        self._output.reopen()
        for zygote in self._zygotes.values():
            zygote.reopen_logs()
        for worker in self._workers.values():
            worker.tell(ReopenLogs())

    def reload(self) -> asyncio.Future[Verdict]:
        """Read the settings again, and roll over to a generation made from them; refuse, loudly, what cannot be used.

        What is returned waits for the verdict.
        """
        self._announcer.reload_requested()
        try:
            loaded = self._reread()
            refuse_fixed(self._serving.settings, loaded.settings)
            self._listeners.add(loaded.settings.listeners)
            self._admin.add(loaded.settings.admin)
        except AppserverError as error:
            self._scoreboard.reload_finished("refused")
            self._log.error("reload finished", result="refused", reason=str(error))
            self._let_go()
            verdict = self.verdicts.refuse(str(error))
            self._announcer.look()
            return verdict
        for change in differences(self._serving.settings, loaded.settings):
            self._log.info("setting changed", key=change.key, old=change.old, new=change.new)
        self._wanted = Plan.of(loaded)
        made = max((generation.number for generation in self._supervisor.generations()), default=0)
        verdict = self.verdicts.expect(newer_than=made)
        self.post(ReloadRequested(self._wanted.policy))
        return verdict

    # ---- the program itself -------------------------------------------------------------------------------------------

    def upgrade(self) -> asyncio.Future[str]:
        """Replace the program in place; what is returned says what becomes of that (see `Upgrade.request`)."""
        return self._upgrade.request(self._serving.settings.workers.boot_timeout)

    def _hand_over(self) -> Handover:
        living = [generation.number for generation in self._supervisor.generations()]
        return Handover(
            scoreboard=self._scoreboard.fd,
            supervisor=self._supervisor.dump(),
            plans=PlansRecord.of(self._serving, self._wanted, {number: self._plans[number] for number in living}),
            listeners=self._listeners.records(),
            zygotes=[zygote.record() for zygote in self._zygotes.values()],
            workers=[worker.record() for worker in self._workers.values()],
            sites=self._admin.records(),
            kept=self._listeners.passed(),
            started_at=self.started_at,
            last_reload=self.verdicts.last,
        )

    def _take_over(self, handover: Handover) -> None:
        self._serving, self._wanted, self._plans = handover.plans.restore()
        for zygote in handover.zygotes:
            self._zygotes[zygote.generation] = ZygoteHandle.restore(zygote, self._loop, self.post)
        for worker in handover.workers:
            self._workers[worker.worker] = WorkerHandle.restore(worker, self._loop, self.post)
        self.started_at = handover.started_at
        self.verdicts.last = handover.last_reload

    # ---- looking ------------------------------------------------------------------------------------------------------

    def workers(self) -> list[WorkerHandle]:
        """The workers that have a process, or are about to get one."""
        return list(self._workers.values())

    def _children(self) -> Iterator[Child]:
        yield from (zygote.child for zygote in self._zygotes.values())
        yield from (worker.child for worker in self._workers.values() if worker.child is not None)
        if self._upgrade.child is not None:
            yield self._upgrade.child

    def _observe(self) -> None:
        """Report once a second how the workers are, from the scoreboard and the kernel."""
        self._loop.call_later(OBSERVATION_INTERVAL, self._observe)
        self.post(Observed(self._observer.look(self._workers.values())))
        self._announcer.pulse()
