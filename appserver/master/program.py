"""The master's program: from the settings to the exit code."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
from collections.abc import Callable, Iterator

from setproctitle import setproctitle

from appserver import __version__, signals
from appserver.errors import UpgradeError
from appserver.master.activation import Activation
from appserver.master.admin import Admin
from appserver.master.application_metrics import ApplicationMetricsKeeper
from appserver.master.children import become_subreaper
from appserver.master.handover import Handover, set_inheritable
from appserver.master.listeners import ListenerSet
from appserver.master.log_files import MasterLog
from appserver.master.master import Master
from appserver.master.notify import Notifier
from appserver.master.pid_file import PidFile
from appserver.master.plan import Plan
from appserver.master.upgrade import Command
from appserver.settings import Loaded, Settings
from appserver.settings.address import parse_address
from appserver.supervision.supervisor import Supervisor
from appserver.telemetry.logs import configure, get_logger
from appserver.telemetry.scoreboard import Scoreboard, ScoreboardMismatch


def run(loaded: Loaded, reread: Callable[[], Loaded], command: Command) -> int:
    """Serve until told to stop; returns the exit code.

    `reread` loads the settings again, from the same sources, for a reload; `command` starts the program again, for an
    upgrade. Raises ListenerError when something cannot be bound, SettingsError when a log file cannot be opened,
    PidFileError when the pid file cannot be written: before anything has been started.
    """
    signals.block()  # they wait for the master's handlers: a HUP to the pid in the pid file must not end the program
    plan = Plan.of(loaded)
    settings = plan.settings
    output = _open_log(plan)
    listeners = ListenerSet(_activation())
    admin = Admin()
    pid_file = _pid_file(settings)
    application_metrics = ApplicationMetricsKeeper()
    with _released(listeners, admin, output, pid_file, application_metrics):
        listeners.add(settings.listeners)
        application_metrics.apply(settings)
        admin.add(settings.admin)
        if pid_file is not None:
            pid_file.write()
        scoreboard = Scoreboard.create(plan.policy.capacity, settings.metrics.buckets)
        supervisor = Supervisor(plan.policy, random=random.random)
        output.start_writer()
        _announce(plan, listeners)
        become_subreaper()
        master = Master(
            plan,
            reread,
            listeners,
            admin,
            scoreboard,
            supervisor,
            output,
            _notifier(),
            command,
            application_metrics,
        )
        return asyncio.run(master.run())


def _announce(plan: Plan, listeners: ListenerSet) -> None:
    """Say what is about to be served where, by how many workers, and which settings say so."""
    path = plan.loaded.path
    get_logger("appserver.master").info(
        "starting",
        application=plan.settings.app.target,
        addresses=listeners.names(),
        workers=plan.policy.count,
        settings="none, but the command line and the environment" if path is None else str(path.absolute()),
        version=__version__,
    )


def take_over(fd: int, reread: Callable[[], Loaded], command: Command) -> int:
    """Go on as the master that has handed over what is behind descriptor `fd`; as `run` otherwise.

    Signals are held back from before the exec until the master handles them. What can go wrong here has been tried by
    `check_take_over`; if something does, the program ends, and its workers finish what they are serving.
    """
    handover = Handover.read(fd)
    os.close(fd)
    set_inheritable([*handover.descriptors()], False)
    plan = handover.plans.restore()[0]
    listeners = ListenerSet.restore(handover.listeners, _activation())
    admin = Admin.restore(handover.sites)
    output = _open_log(plan)
    application_metrics = ApplicationMetricsKeeper(handover.application_metrics)
    with _released(listeners, admin, output, _pid_file(plan.settings), application_metrics):
        scoreboard = Scoreboard.attach(handover.scoreboard)
        supervisor = Supervisor.restore(handover.supervisor, random=random.random)
        output.start_writer()
        master = Master(
            plan,
            reread,
            listeners,
            admin,
            scoreboard,
            supervisor,
            output,
            _notifier(),
            command,
            application_metrics,
        )
        get_logger("appserver.master").info("upgraded", old_version=handover.version, new_version=__version__)
        return asyncio.run(master.run(handover))


def check_take_over(fd: int) -> None:
    """Do what `take_over` will do, as far as it changes nothing. Raises UpgradeError, SettingsError."""
    handover = Handover.read(fd)
    try:
        Supervisor.restore(handover.supervisor, random=random.random)
        plan = handover.plans.restore()[0]
        for bind in [record.bind for record in handover.listeners] + [record.bind for record in handover.sites]:
            parse_address(bind)
    except (ValueError, LookupError) as error:
        raise UpgradeError(f"what the running master hands over cannot be used: {error}") from error
    try:
        Scoreboard.attach(handover.scoreboard)
    except ScoreboardMismatch as error:
        raise UpgradeError(str(error)) from error
    configure(plan.settings.logging, process="master").close()


def _open_log(plan: Plan) -> MasterLog:
    settings = plan.settings
    setproctitle(f"appserver: master [{plan.loaded.path.name if plan.loaded.path else settings.app.target}]")
    return MasterLog(settings)


def _activation() -> Activation:
    return Activation.of(os.environ, os.getpid())


def _notifier() -> Notifier:
    return Notifier(os.environ, os.getpid())


def _pid_file(settings: Settings) -> PidFile | None:
    return PidFile(settings.admin.pid_file) if settings.admin.pid_file else None


@contextlib.contextmanager
def _released(
    listeners: ListenerSet,
    admin: Admin,
    output: MasterLog,
    pid_file: PidFile | None,
    application_metrics: ApplicationMetricsKeeper,
) -> Iterator[None]:
    """Let go of everything at the end."""
    try:
        yield
    finally:
        if pid_file is not None:
            pid_file.remove()
        application_metrics.close()
        admin.close()
        listeners.close()
        output.close()
