"""Log files that a privileged master and unprivileged workers share."""

from __future__ import annotations

import grp
import os
import pwd

from appserver.settings import Settings


def prepare_log_files(settings: Settings) -> None:
    """Make the log files that are missing, as the user whom the workers become, who could not make or open them later.

    Does nothing unless `workers.user` or `workers.group` is set; what exists keeps its owner. What goes wrong here shows
    where the file is opened.
    """
    workers = settings.workers
    if workers.user is None and workers.group is None:
        return
    uid = pwd.getpwnam(workers.user).pw_uid if workers.user else -1
    gid = grp.getgrnam(workers.group).gr_gid if workers.group else -1
    for path in filter(None, (settings.logging.file, settings.access_log.file)):
        try:
            os.close(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640))
            os.chown(path, uid, gid)
        except OSError:
            continue
