"""The master's program: from the settings to the exit code."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
from collections.abc import Callable

from appserver import __version__, signals
from appserver.errors import UpgradeError
from appserver.master.activation import Activation
from appserver.master.admin import Admin
from appserver.master.application_metrics import ApplicationMetricsKeeper
from appserver.master.children import become_subreaper
from appserver.master.configuration import Configuration, Configurations
from appserver.master.handover import Handover, Inheritance, set_inheritable
from appserver.master.host import require_descriptors, require_proc
from appserver.master.listeners import ListenerSet
from appserver.master.log_files import MasterLog
from appserver.master.master import Master, Parts
from appserver.master.notify import Notifier
from appserver.master.pid_file import PidFile
from appserver.master.upgrade import Command
from appserver.settings import Loaded
from appserver.settings.address import parse_address
from appserver.settings.runtime import server_place
from appserver.supervision.supervisor import Supervisor
from appserver.telemetry.logs import configure, get_logger
from appserver.telemetry.scoreboard import Scoreboard, ScoreboardMismatch
from appserver.titles import call_master


def run(loaded: Loaded, reread: Callable[[], Loaded], command: Command) -> int:
    """Serve until told to stop; returns the exit code.

    `reread` loads the settings again, from the same sources, for a reload; `command` starts the program again, for an
    upgrade. Raises ListenerError when something cannot be bound, SettingsError when a log file cannot be opened,
    PidFileError when the pid file cannot be written, StartupError when the machine lacks what is needed: before anything has been started.
    """
    signals.block()  # they wait for the master's handlers: a HUP to the pid in the pid file must not end the program
    require_proc()
    configuration = Configuration.of(loaded)
    policy = configuration.policy
    require_descriptors(policy.count + policy.surge, len(loaded.settings.listeners))
    return _serve(Configurations(configuration), Inheritance(), reread, command)


def take_over(fd: int, reread: Callable[[], Loaded], command: Command) -> int:
    """Go on as the master that has handed over what is behind descriptor `fd`; as `run` otherwise.

    Signals are held back from before the exec until the master handles them. All that can go wrong here has been tried by
    `check_take_over`; if something goes wrong all the same, the program ends, and its workers finish what they are serving.
    """
    handover = Handover.read(fd)
    os.close(fd)
    set_inheritable([*handover.descriptors()], False)
    return _serve(handover.plans.restore(), handover, reread, command)


def _serve(configurations: Configurations, past: Inheritance, reread: Callable[[], Loaded], command: Command) -> int:
    """Make the parts of a master, each going on with what the past has left; run it; let go of everything in the end."""
    configuration = configurations.serving
    settings = configuration.settings
    call_master(configuration.loaded.path.name if configuration.loaded.path else settings.app.target)
    with contextlib.ExitStack() as held:
        output = held.enter_context(contextlib.closing(MasterLog(settings)))
        activation = Activation.of(os.environ, os.getpid())
        listeners = held.enter_context(contextlib.closing(ListenerSet(activation, past.listeners)))
        default_control = server_place(configuration.loaded.paths, os.environ)
        admin = held.enter_context(contextlib.closing(Admin(default_control, past.sites)))
        application_metrics = ApplicationMetricsKeeper(past.application_metrics, is_shown=settings.metrics.application)
        held.callback(application_metrics.close)
        pid_file = PidFile(settings.admin.pid_file) if settings.admin.pid_file else None
        if pid_file is not None:
            held.callback(pid_file.remove)
        if isinstance(past, Handover):
            scoreboard = Scoreboard.attach(past.scoreboard, past.layout)
            supervisor = Supervisor.restore(past.supervisor, random=random.random)
        else:
            listeners.add(settings.listeners)
            application_metrics.apply(settings)
            admin.add(settings.admin)
            if pid_file is not None:
                pid_file.write()
            scoreboard = Scoreboard.create(configuration.policy.capacity, settings.metrics.buckets)
            supervisor = Supervisor(configuration.policy, random=random.random)
        output.start_writer()
        _announce(configuration, listeners, past)
        become_subreaper()
        notifier = Notifier(os.environ, os.getpid())
        parts = Parts(configurations, listeners, admin, application_metrics, scoreboard, supervisor, output, notifier)
        return asyncio.run(_rule(Master(parts, past, reread, command)))


async def _rule(master: Master) -> int:
    """Run the master. From its end on signals are held back again.

    The event loop takes their handlers with it. Service managers repeat TERM, and the program would die of that: with another
    exit code, and without having removed its pid file and its sockets.
    """
    try:
        return await master.run()
    finally:
        signals.block()


def _announce(configuration: Configuration, listeners: ListenerSet, past: Inheritance) -> None:
    """Say what is about to be served where, by how many workers, and which settings say so; or that nothing has changed."""
    log = get_logger("appserver.master")
    if isinstance(past, Handover):
        log.info("upgraded", old_version=past.version, new_version=__version__)
        return
    files = ", ".join(str(path.absolute()) for path in configuration.loaded.paths)
    log.info(
        "starting",
        application=configuration.settings.app.target,
        addresses=listeners.names(),
        workers=configuration.policy.count,
        settings=files or "none, but the command line and the environment",
        version=__version__,
    )


def check_take_over(fd: int) -> None:
    """Do what `take_over` will do, as far as it changes nothing. Raises UpgradeError, SettingsError."""
    handover = Handover.read(fd)
    try:
        Supervisor.restore(handover.supervisor, random=random.random)
        configuration = handover.plans.restore().serving
        for bind in [record.bind for record in handover.listeners] + [record.bind for record in handover.sites]:
            parse_address(bind)
    except (ValueError, LookupError) as error:
        raise UpgradeError(f"what the running master hands over cannot be used: {error}") from error
    try:
        Scoreboard.attach(handover.scoreboard, handover.layout)
    except ScoreboardMismatch as error:
        raise UpgradeError(str(error)) from error
    configure(configuration.settings.logging, process="master").close()
