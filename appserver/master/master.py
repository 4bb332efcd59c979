"""The shell around the supervisor: what happens goes in as events, what is to be done comes out as actions."""

from __future__ import annotations

import asyncio
import signal
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial, singledispatchmethod

from appserver import signals
from appserver.errors import AppserverError, ControlError, Problem
from appserver.master.admin import Admin
from appserver.master.application_metrics import ApplicationMetricsKeeper
from appserver.master.belongings import Belongings, unusable_log_files
from appserver.master.certificates import CertificateWatch
from appserver.master.configuration import Configuration, Configurations, refuse_beyond, refuse_fixed
from appserver.master.handover import ConfigurationsRecord, Handover, Inheritance
from appserver.master.listeners import ListenerSet
from appserver.master.log_files import MasterLog
from appserver.master.notify import Announcer, Notifier
from appserver.master.observation import Observer
from appserver.master.process_table import ProcessTable
from appserver.master.reload_outcomes import ReloadOutcome, ReloadOutcomes
from appserver.master.upgrade import Command, Upgrade
from appserver.master.view import View
from appserver.settings import Loaded, differences
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


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts that a master works with; whoever has made them closes them when it has ended."""

    configurations: Configurations
    listeners: ListenerSet
    admin: Admin
    application_metrics: ApplicationMetricsKeeper
    scoreboard: Scoreboard
    supervisor: Supervisor
    output: MasterLog
    notifier: Notifier


class Master:
    """Performs what the supervisor decides. `run` is the life of the server after its listeners are bound."""

    def __init__(self, parts: Parts, past: Inheritance, reread: Callable[[], Loaded], command: Command) -> None:
        """`reread` loads the settings again; `command` is how the program was started, for starting it again in place."""
        self._configurations = parts.configurations
        self._listeners = parts.listeners
        self._admin = parts.admin
        self._application_metrics = parts.application_metrics
        self._belongings = Belongings(parts.application_metrics, parts.configurations.serving.settings)
        self._scoreboard = parts.scoreboard
        self._supervisor = parts.supervisor
        self._output = parts.output
        self._past = past
        self._reread = reread
        self._processes = ProcessTable(Observer(parts.scoreboard, parts.output), self.post, self._other_children)
        self._log = get_logger("appserver.master")
        self._events: deque[Event] = deque()
        self._handling = False
        self._interrupted = False
        self._timer: asyncio.TimerHandle | None = None
        self._reload_outcomes = ReloadOutcomes(past.last_reload)
        self._announcer = Announcer(parts.notifier, parts.supervisor, self._reload_outcomes, parts.scoreboard)
        self._certificates = CertificateWatch(parts.configurations.certificates, self._processes.renew_tls, self._log)
        self._upgrade = Upgrade(command, parts.supervisor, self._hand_over, parts.output)

    async def run(self) -> int:
        """Supervise until the supervisor says `Exit`; returns the exit code."""
        self._loop = asyncio.get_running_loop()
        self._exit: asyncio.Future[int] = self._loop.create_future()
        self._processes.start(self._loop, self._past.zygotes, self._past.workers)
        self._install_signals()
        self._admin.start(self._view(), self)
        self._perform_all(self._supervisor.start(time.monotonic()))
        self._announcer.start(self._loop)
        self._certificates.start(self._loop)
        self._observe()
        code = await self._exit
        if self._supervisor.state == "stopped":
            self._processes.end_strays()
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
                event = self._processes.hear(self._events.popleft())
                self._perform_all(self._supervisor.handle(event, time.monotonic()))
        except Exception:  # noqa: BLE001
            # The supervisor's picture of the processes may be wrong now. Without a master the workers finish what they
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
        if self._supervisor.state == "stopping" and not self._processes.accepts():
            self._listeners.refuse()

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
        anew = action.generation not in self._configurations.generations()
        configuration = self._configurations.of_generation(action.generation)
        grants = partial(self._listeners.grants, configuration.settings.listeners, anew=anew)
        more = self._application_metrics.environment(configuration.settings)
        self._processes.spawn_zygote(action.generation, configuration, self._scoreboard, grants, more)

    @_perform.register
    def _(self, action: StopZygote) -> None:
        self._processes.stop_zygote(action.generation)

    @_perform.register
    def _(self, action: KillZygote) -> None:
        self._processes.kill_zygote(action.generation)

    @_perform.register
    def _(self, action: SpawnWorker) -> None:
        self._scoreboard.retire(action.number - 1)  # what anybody has written since into a place that was free
        self._belongings.give(self._configurations.of_generation(action.generation).settings)
        self._processes.spawn_worker(action.worker, action.number, action.generation)

    @_perform.register
    def _(self, action: DrainWorker) -> None:
        if action.reason == "stop":
            self._listeners.turn_away()  # first: the worker is to empty the backlog
        self._processes.tell(action.worker, Drain(action.reason, action.linger))

    @_perform.register
    def _(self, action: KillWorker) -> None:
        self._processes.kill(action.worker)

    @_perform.register
    def _(self, action: DumpStacks) -> None:
        self._processes.dump_stacks(action.worker, action.blocked)

    @_perform.register
    def _(self, action: DumpBoot) -> None:
        self._processes.dump_boot(action.worker, action.seconds)

    @_perform.register
    def _(self, action: DumpZygoteBoot) -> None:
        self._processes.dump_zygote_boot(action.generation, action.seconds)

    @_perform.register
    def _(self, action: CountExit) -> None:
        self._scoreboard.worker_exited(action.reason)
        self._application_metrics.tidy()

    @_perform.register
    def _(self, action: FinishReload) -> None:
        """Settle what is serving now, and let go of the listeners that nobody is to serve any more."""
        self._scoreboard.reload_finished(action.result)
        if action.generation is None or action.result == "rolled_back":
            self._listeners.give_back()
            self._configurations.take_back(action.generation)
            self._restore()
        else:
            self._listeners.settle()
            self._configurations.adopt(action.generation)
            self._belongings.give(self._configurations.serving.settings)
            self._output.apply(self._configurations.serving.settings)
            self._certificates.start(self._loop)
        self._configurations.keep(generation.number for generation in self._supervisor.generations())
        self._let_go()
        if self._belongings.half_renewed:
            self.reopen_logs()
        self._reload_outcomes.give(ReloadOutcome(action.result, action.reason, action.generation))

    def _restore(self) -> None:
        """Have sockets, log files and the application's metrics as they are wanted: a reload that has failed had changed them.

        Else the next worker of the old generation could not open what belongs to the user of the new one.
        """
        settings = self._configurations.wanted.settings
        for change in (partial(self._listeners.add, settings.listeners), partial(self._belongings.apply, settings)):
            try:
                change()
            except AppserverError as error:
                self._log.error("not as before the reload", reason=str(error))

    def _let_go(self) -> None:
        """Let go of the addresses that neither what is serving nor what is wanted next has any more."""
        serving, wanted = self._configurations.serving.settings, self._configurations.wanted.settings
        self._listeners.keep(serving.listeners, wanted.listeners)
        self._admin.keep(serving.admin, wanted.admin)

    @_perform.register
    def _(self, action: Log) -> None:
        getattr(self._log, action.level)(action.event, **action.fields, **self._more_to_tell(action.event))

    def _more_to_tell(self, event: str) -> dict[str, object]:
        """Fields that the supervisor does not know: where somebody can look, and what a stop waits for."""
        if event == "serving":
            return {"urls": self._listeners.urls(self._configurations.serving.settings.listeners)}
        if event == "stopping" and (running := self._processes.running()):
            return {"waiting_for": running}
        return {}

    @_perform.register
    def _(self, action: Exit) -> None:
        self._end(action.code)

    def _end(self, code: int) -> None:
        self._processes.let_go()
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
        add(signal.SIGCHLD, self._processes.reap_strangers)
        signals.unblock()

    def stop(self, *, now: bool = False) -> None:
        """Stop, gracefully unless `now`. Asked for again, a graceful stop stays one: service managers repeat TERM."""
        if now or self._supervisor.state not in ("stopping", "stopped"):
            self.post(StopRequested(now=now))

    def _interrupt(self) -> None:
        self.stop(now=self._interrupted)
        self._interrupted = True

    def _other_children(self) -> tuple[int, ...]:
        return () if self._upgrade.child is None else (self._upgrade.child.pid,)

    def reopen_logs(self) -> list[Problem]:
        """Open every log file anew, here and in all other processes; returns those that cannot be opened."""
        self._belongings.renew_log_files(self._configurations.serving.settings, self._configurations.wanted.settings)
        self._output.reopen()
        self._processes.reopen_logs()
        return unusable_log_files(self._configurations.serving.settings)

    def reload(self) -> asyncio.Future[ReloadOutcome]:
        """Read the settings again, and roll over to a generation made from them; refuse, loudly, what cannot be used.

        What is returned waits for the outcome.
        """
        self._announcer.reload_requested()
        try:
            loaded = self._reread()
            refuse_fixed(self._configurations.serving.settings, loaded.settings)
            configuration = Configuration.of(loaded)
            refuse_beyond(self._supervisor.capacity, configuration.policy)
            self._belongings.apply(loaded.settings)
            self._listeners.add(loaded.settings.listeners)
            self._admin.add(loaded.settings.admin)
        except AppserverError as error:
            self._scoreboard.reload_finished("refused")
            self._log.error("reload finished", result="refused", reason=str(error))
            self._restore()
            self._let_go()
            outcome = self._reload_outcomes.refuse(str(error))
            self._announcer.look()
            return outcome
        for change in differences(self._configurations.serving.settings, loaded.settings):
            self._log.info("setting changed", key=change.key, old=change.old, new=change.new)
        self._configurations.wanted = configuration
        made = max((generation.number for generation in self._supervisor.generations()), default=0)
        outcome = self._reload_outcomes.expect(newer_than=made)
        self.post(ReloadRequested(self._configurations.wanted.policy))
        return outcome

    def scale(self, count: int | None, delta: int) -> dict[str, int]:
        """Have `count` workers, or `delta` more; returns how many are wanted now (`count`) and were `before`.

        Raises ControlError if there cannot be as many.
        """
        if self._supervisor.state in ("stopping", "stopped"):
            raise ControlError("the server is stopping")
        if count is not None and count > self._supervisor.room:
            raise ControlError(f"this server has room for {self._supervisor.room} workers, until it is started anew")
        before = self._supervisor.count
        self.post(ScaleRequested(count, delta))
        return {"count": self._supervisor.count, "before": before}

    # ---- the program itself -------------------------------------------------------------------------------------------

    def upgrade(self) -> asyncio.Future[str]:
        """Replace the program in place; what is returned says what becomes of that (see `Upgrade.request`)."""
        return self._upgrade.request(self._configurations.serving.settings.workers.boot_timeout)

    def _hand_over(self) -> Handover:
        self._application_metrics.settle()
        self._configurations.keep(generation.number for generation in self._supervisor.generations())
        return Handover(
            scoreboard=self._scoreboard.fd,
            layout=self._scoreboard.described,
            supervisor=self._supervisor.dump(),
            plans=ConfigurationsRecord.of(self._configurations),
            listeners=self._listeners.records(),
            zygotes=[zygote.record() for zygote in self._processes.zygotes()],
            workers=[worker.record() for worker in self._processes.workers()],
            sites=self._admin.records(),
            kept=self._listeners.passed(),
            started_at=self._past.started_at,
            last_reload=self._reload_outcomes.last,
            application_metrics=self._application_metrics.record(),
        )

    # ---- looking ------------------------------------------------------------------------------------------------------

    def _view(self) -> View:
        return View(
            self._supervisor,
            self._scoreboard,
            self._listeners,
            self._reload_outcomes,
            self._application_metrics,
            self._configurations.certificates,
            self._processes.workers,
            self._past.started_at,
            lambda: self._configurations.serving.settings,
        )

    def _observe(self) -> None:
        """Report once a second how the workers are, from the scoreboard and the kernel."""
        self._loop.call_later(OBSERVATION_INTERVAL, self._observe)
        self.post(Observed(self._processes.look()))
        self._announcer.pulse()
