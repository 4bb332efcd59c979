"""The master's program: from the settings to the exit code."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

from setproctitle import setproctitle

from appserver.master.admin import Admin
from appserver.master.children import become_subreaper
from appserver.master.listeners import ListenerSet
from appserver.master.log_files import prepare_log_files
from appserver.master.master import Master
from appserver.master.pid_file import PidFile
from appserver.master.plan import Plan
from appserver.settings import Loaded
from appserver.supervision.supervisor import Supervisor
from appserver.telemetry.logs import configure
from appserver.telemetry.scoreboard import Scoreboard


def run(loaded: Loaded, reread: Callable[[], Loaded]) -> int:
    """Serve until told to stop; returns the exit code.

    `reread` loads the settings again, from the same sources, for a reload. Raises ListenerError when something cannot be
    bound, SettingsError when a log file cannot be opened, PidFileError when the pid file cannot be written: before
    anything has been started.
    """
    plan = Plan.of(loaded)
    settings = plan.settings
    setproctitle(f"appserver: master [{loaded.path.name if loaded.path else settings.app.target}]")
    prepare_log_files(settings)
    output = configure(settings.logging, process="master")
    listeners = ListenerSet()
    admin = Admin()
    pid_file = PidFile(settings.admin.pid_file) if settings.admin.pid_file else None
    try:
        listeners.add(settings.listeners)
        admin.add(settings.admin)
        if pid_file is not None:
            pid_file.write()
        output.start_writer()
        become_subreaper()
        master = Master(
            plan,
            reread,
            listeners,
            admin,
            Scoreboard.create(plan.policy.capacity, settings.metrics.buckets),
            Supervisor(plan.policy, random=random.random),
            output,
        )
        return asyncio.run(master.run())
    finally:
        if pid_file is not None:
            pid_file.remove()
        admin.close()
        listeners.close()
        output.close()
