"""Log files that a privileged master and unprivileged workers share."""

from __future__ import annotations

import contextlib
import grp
import pwd

from appserver.settings import Settings
from appserver.telemetry.output import hand_over


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
