"""The master's log, and log files that a privileged master and unprivileged workers share."""

from __future__ import annotations

import contextlib
import grp
import pwd

from appserver.errors import SettingsError
from appserver.settings import Settings
from appserver.telemetry.logs import configure, get_logger
from appserver.telemetry.output import hand_over


class MasterLog:
    """The log of the master, through every reload that moves it."""

    def __init__(self, settings: Settings) -> None:
        """Open it. Raises SettingsError."""
        prepare_log_files(settings)
        self._settings = settings.logging
        self._output = configure(settings.logging, process="master")
        self._dropped_before = 0

    def start_writer(self) -> None:
        """Write from a thread of its own from now on."""
        self._output.start_writer()

    def apply(self, settings: Settings) -> None:
        """Go on as other settings say; the old ones stay in force, and that is logged, if the new cannot be used."""
        if settings.logging == self._settings:
            return
        prepare_log_files(settings)
        old = self._output
        try:
            self._output = configure(settings.logging, process="master")
        except SettingsError as error:
            get_logger("appserver.master").error("log not moved", reason=str(error))
            return
        self._settings = settings.logging
        self._dropped_before += old.dropped
        self._output.start_writer()

    def reopen(self, settings: Settings) -> None:
        """Open the file anew, after a rotation."""
        prepare_log_files(settings)
        self._output.reopen()

    @property
    def dropped(self) -> int:
        """How many lines have been lost."""
        return self._dropped_before + self._output.dropped

    def flush(self, timeout: float) -> bool:
        """Wait until everything is written; False if it is not within `timeout` seconds."""
        return self._output.flush(timeout)

    def close(self) -> None:
        """Write out what is buffered, for a bounded time, and close."""
        self._output.close()


def prepare_log_files(settings: Settings) -> None:
    """Give the log files, made if they are missing, to the user whom the workers become: they could not open them else.

    Does nothing unless `workers.user` or `workers.group` is set. What goes wrong here shows where the file is opened.
    """
    workers = settings.workers
    if workers.user is None and workers.group is None:
        return
    uid = pwd.getpwnam(workers.user).pw_uid if workers.user else -1
    gid = grp.getgrnam(workers.group).gr_gid if workers.group else -1
    for path in filter(None, (settings.logging.file, settings.access_log.file)):
        with contextlib.suppress(OSError):
            hand_over(path, uid, gid)
