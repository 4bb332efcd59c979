"""The master's log, and log files that a privileged master and unprivileged workers share."""

from __future__ import annotations

import grp
import os
import pwd

from appserver.errors import Problem, SettingsError
from appserver.files import UnsafeFileError, open_to_append
from appserver.settings import Settings
from appserver.telemetry.logs import configure, get_logger


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
        """Open the file anew, after a rotation; one that cannot be given to the workers is not, and that is logged."""
        try:
            prepare_log_files(settings)
        except SettingsError as error:
            get_logger("appserver.master").error("log file not given to the workers", reason=str(error))
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

    Does nothing unless `workers.user` or `workers.group` is set. Raises SettingsError for a file that another user may have
    put there; what else goes wrong shows where the file is opened.
    """
    workers = settings.workers
    if workers.user is None and workers.group is None:
        return
    uid = pwd.getpwnam(workers.user).pw_uid if workers.user else -1
    gid = grp.getgrnam(workers.group).gr_gid if workers.group else -1
    problems = []
    for key, path in (("logging.file", settings.logging.file), ("access_log.file", settings.access_log.file)):
        if path is None:
            continue
        try:
            os.close(open_to_append(path, uid, gid))
        except UnsafeFileError as error:
            problems.append(Problem("", key, f'"{path}"', f"not given to the workers: {error.strerror}"))
        except OSError:
            pass
    if problems:
        raise SettingsError(problems)
