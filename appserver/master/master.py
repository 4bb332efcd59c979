"""The shell around the supervisor: what happens goes in as events, what is to be done comes out as actions."""

from __future__ import annotations

import asyncio
import signal
import time
from collections import deque
from collections.abc import Callable
from functools import singledispatchmethod

from appserver import signals
from appserver.errors import AppserverError
from appserver.master.admin import Admin
from appserver.master.application_metrics import ApplicationMetricsKeeper
from appserver.master.certificates import Certificates, CertificateWatch
from appserver.master.commands import Commands
from appserver.master.crew import Crew
from appserver.master.handover import Handover, PlansRecord
from appserver.master.listeners import ListenerSet
from appserver.master.log_files import MasterLog
from appserver.master.notify import Announcer, Notifier
from appserver.master.observation import Observer
from appserver.master.plan import Plan, refuse_beyond, refuse_fixed
from appserver.master.upgrade import Command, Upgrade
from appserver.master.verdicts import Verdict, Verdicts
from appserver.master.workers import WorkerHandle
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
    Observed,
    ReloadRequested,
    ScaleRequested,
    StopRequested,
    Tick,
)
from appserver.supervision.supervisor import Supervisor
from appserver.telemetry.logs import get_logger
from appserver.telemetry.scoreboard import Scoreboard
from appserver.worker.messages import Drain

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
        output: MasterLog,
        notifier: Notifier,
        command: Command,
        application_metrics: ApplicationMetricsKeeper,
    ) -> None:
        """`command` is how the program was started, for starting it again in place."""
        self.application_metrics = application_metrics
        self._reread = reread
        self._listeners = listeners
        self._admin = admin
        self._scoreboard = scoreboard
        self._supervisor = supervisor
        self._output = output
        self._crew = Crew(Observer(scoreboard, output), self.post)
        self._log = get_logger("appserver.master")
        self._serving = plan  # what the current generation was made from
        self._wanted = plan  # what the next generation is made from: the last settings that were read and accepted
        self._plans: dict[int, Plan] = {}
        self._events: deque[Event] = deque()
        self._handling = False
        self._interrupted = False
        self._timer: asyncio.TimerHandle | None = None
        self.verdicts = Verdicts()
        self.started_at = time.time()
        self._announcer = Announcer(notifier, supervisor, self.verdicts, scoreboard)
        self._certificates = CertificateWatch(self.certificates, self._crew.renew_tls, self._log)
        self._upgrade = Upgrade(command, supervisor, self._hand_over, output)

    async def run(self, handover: Handover | None = None) -> int:
        """Supervise until the supervisor says `Exit`; returns the exit code.

        With a `handover` go on from there; the supervisor has been restored from it already.
        """
        self._loop = asyncio.get_running_loop()
        self._exit: asyncio.Future[int] = self._loop.create_future()
        if handover is not None:
            self._take_over(handover)
        self._crew.start(self._loop, handover.zygotes if handover else (), handover.workers if handover else ())
        self._install_signals()
        self._admin.start(Commands(self, self._supervisor, self._scoreboard, self._listeners))
        if handover is None:
            self._perform_all(self._supervisor.start(time.monotonic()))
        self._announcer.start(self._loop)
        self._certificates.start(self._loop)
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
        except Exception:  # noqa: BLE001
            # What the supervisor holds for true may not be so any more. Without a master the workers finish what they
            # are serving and go; whoever has started this program starts it anew.
            self._log.exception("bug in appserver", advice="please report it; the server ends")
            self._end(AppserverError.exit_code)
        finally:
            self._handling = False
        self._set_timer()
        self._announcer.look()
        self._refuse_when_stopped()

    def _refuse_when_stopped(self) -> None:
        """During a stop, refuse new connections as soon as no worker takes any from the backlog."""
        if self._supervisor.state == "stopping" and not self._crew.accepts():
            self._listeners.refuse()

    def _handle(self, event: Event) -> None:
        self._perform_all(self._supervisor.handle(self._crew.hear(event), time.monotonic()))

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
        grants = self._listeners.grants(plan.settings.listeners)
        environment = self.application_metrics.environment(plan.settings)
        self._crew.spawn_zygote(action.generation, plan, self._scoreboard.fd, grants, environment)

    @_perform.register
    def _(self, action: StopZygote) -> None:
        self._crew.stop_zygote(action.generation)

    @_perform.register
    def _(self, action: KillZygote) -> None:
        self._crew.kill_zygote(action.generation)

    @_perform.register
    def _(self, action: SpawnWorker) -> None:
        self._crew.spawn_worker(action.worker, action.number, action.generation)

    @_perform.register
    def _(self, action: DrainWorker) -> None:
        if action.reason == "stop":
            self._listeners.turn_away()  # first: the worker is to empty the backlog
        self._crew.tell(action.worker, Drain(action.reason, action.linger))

    @_perform.register
    def _(self, action: KillWorker) -> None:
        self._crew.kill(action.worker)

    @_perform.register
    def _(self, action: DumpStacks) -> None:
        self._crew.dump_stacks(action.worker, action.blocked)

    @_perform.register
    def _(self, action: CountExit) -> None:
        self._scoreboard.worker_exited(action.reason)
        self.application_metrics.tidy()

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
            self._output.apply(plan.settings)
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
        self._end(action.code)

    def _end(self, code: int) -> None:
        self._crew.let_go()
        if not self._exit.done():
            self._exit.set_result(code)

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
        self._crew.reap_strangers([] if self._upgrade.child is None else [self._upgrade.child.pid])

    def reopen_logs(self) -> None:
        """Open every log file anew, here and in all other processes."""
        self._output.reopen(self._serving.settings)
        self._crew.reopen_logs()

    def reload(self) -> asyncio.Future[Verdict]:
        """Read the settings again, and roll over to a generation made from them; refuse, loudly, what cannot be used.

        What is returned waits for the verdict.
        """
        self._announcer.reload_requested()
        try:
            loaded = self._reread()
            refuse_fixed(self._serving.settings, loaded.settings)
            plan = Plan.of(loaded)
            refuse_beyond(self._supervisor.capacity, plan.policy)
            self._listeners.add(loaded.settings.listeners)
            self._admin.add(loaded.settings.admin)
            self.application_metrics.apply(loaded.settings)
        except AppserverError as error:
            self._scoreboard.reload_finished("refused")
            self._log.error("reload finished", result="refused", reason=str(error))
            self._let_go()
            verdict = self.verdicts.refuse(str(error))
            self._announcer.look()
            return verdict
        for change in differences(self._serving.settings, loaded.settings):
            self._log.info("setting changed", key=change.key, old=change.old, new=change.new)
        self._wanted = plan
        made = max((generation.number for generation in self._supervisor.generations()), default=0)
        verdict = self.verdicts.expect(newer_than=made)
        self.post(ReloadRequested(self._wanted.policy))
        return verdict

    # ---- the program itself -------------------------------------------------------------------------------------------

    def upgrade(self) -> asyncio.Future[str]:
        """Replace the program in place; what is returned says what becomes of that (see `Upgrade.request`)."""
        return self._upgrade.request(self._serving.settings.workers.boot_timeout)

    def _hand_over(self) -> Handover:
        self.application_metrics.settle()
        living = [generation.number for generation in self._supervisor.generations()]
        return Handover(
            scoreboard=self._scoreboard.fd,
            supervisor=self._supervisor.dump(),
            plans=PlansRecord.of(self._serving, self._wanted, {number: self._plans[number] for number in living}),
            listeners=self._listeners.records(),
            zygotes=[zygote.record() for zygote in self._crew.zygotes()],
            workers=[worker.record() for worker in self._crew.workers()],
            sites=self._admin.records(),
            kept=self._listeners.passed(),
            started_at=self.started_at,
            last_reload=self.verdicts.last,
            application_metrics=self.application_metrics.record(),
        )

    def _take_over(self, handover: Handover) -> None:
        self._serving, self._wanted, self._plans = handover.plans.restore()
        self.started_at = handover.started_at
        self.verdicts.last = handover.last_reload

    # ---- looking ------------------------------------------------------------------------------------------------------

    def workers(self) -> list[WorkerHandle]:
        """The workers that have a process, or are about to get one."""
        return self._crew.workers()

    def certificates(self) -> dict[int, Certificates | None]:
        """What each generation that lives, and has been begun, uses for TLS."""
        return {number: plan.certificates for number, plan in self._plans.items()}

    def _observe(self) -> None:
        """Report once a second how the workers are, from the scoreboard and the kernel."""
        self._loop.call_later(OBSERVATION_INTERVAL, self._observe)
        self.post(Observed(self._crew.look()))
        self._announcer.pulse()
