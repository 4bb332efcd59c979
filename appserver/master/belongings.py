"""Files that belong to the user whom the workers become: log files, and the place of the application's metrics.

A reload may change that user (`workers.user`, `workers.group`), and workers of both are started while the first new one has to stay healthy
(`reload.soak`). A file has one owner, so it is given to the user of whichever worker is started next. Those that run have it
open, and are not disturbed.
"""

from __future__ import annotations

import grp
import os
import pwd

from appserver.errors import AppserverError, Problem, SettingsError
from appserver.files import UnsafeFileError, open_to_append
from appserver.master.application_metrics import ApplicationMetricsKeeper
from appserver.settings import Settings
from appserver.telemetry.logs import get_logger


class Belongings:
    """The files, and the settings by which they have been given away last."""

    def __init__(self, application_metrics: ApplicationMetricsKeeper, settings: Settings) -> None:
        """`settings` are those of which the files are; nothing is done yet."""
        self._application_metrics = application_metrics
        self._given = _owner(settings)
        self.half_renewed = False
        """Whether workers of another user could not open the log files at the last rotation: they are to be asked again."""

    def apply(self, settings: Settings) -> None:
        """Have the files as these settings, which are to hold from now on, want them. Raises SettingsError."""
        self._given = _owner(settings)
        try:
            prepare_log_files(settings)
        finally:
            self._application_metrics.apply(settings)

    def give(self, settings: Settings) -> None:
        """Give the files to the user of a worker that is started next, if they are another one's; problems are logged."""
        if _owner(settings) == self._given:
            return
        self._given = _owner(settings)
        for change in (prepare_log_files, self._application_metrics.give):
            try:
                change(settings)
            except AppserverError as error:
                get_logger("appserver.master").error("files not given to the workers", reason=str(error))

    def renew_log_files(self, serving: Settings, wanted: Settings) -> None:
        """Make log files anew, after a rotation, for what serves; one that cannot be given to its workers is logged."""
        self._given = _owner(serving)
        self.half_renewed = _owner(wanted) != self._given
        try:
            prepare_log_files(serving)
        except SettingsError as error:
            get_logger("appserver.master").error("log file not given to the workers", reason=str(error))


def unusable_log_files(settings: Settings) -> list[Problem]:
    """The log files that cannot be opened now, each with the reason; what is missing is made, as opening it does."""
    access_log = settings.access_log.file if settings.access_log.enabled else None
    problems = []
    for key, path in (("logging.file", settings.logging.file), ("access_log.file", access_log)):
        if path is None:
            continue
        try:
            os.close(open_to_append(path))
        except OSError as error:
            problem = f"cannot be opened: {error.strerror}; the old file is still in use"
            problems.append(Problem("", key, f'"{path}"', problem))
    return problems


def _owner(settings: Settings) -> tuple[str | None, str | None]:
    return settings.workers.user, settings.workers.group


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
