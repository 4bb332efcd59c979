"""The privileges that a zygote gives up, and the limits it takes, before any of the application's code runs."""

from __future__ import annotations

import contextlib
import fcntl
import grp
import os
import pwd
import resource
import termios

from appserver.errors import StartupError
from appserver.settings import WorkersSettings


def leave_terminal(settings: WorkersSettings) -> None:
    """Keep the terminal that root has started the server on from the application, where that runs as somebody else.

    A process can type into its controlling terminal as if the operator did (TIOCSTI, ioctl_tty(2)), and read from it what is typed for the
    shell. Here it is given up, which does not need a session of its own, standard input becomes /dev/null, and standard
    output and error can be written only. Ctrl-C is not missed: the process group of a zygote is not that of the terminal.
    To be called before anything duplicates the standard streams; without a terminal, or another user, it does nothing.
    """
    if settings.user is None and settings.group is None:
        return
    for number in (0, 1, 2):
        with contextlib.suppress(OSError):  # it is closed, or nobody may open the terminal: then it stays as it is
            if os.isatty(number):
                path, flags = ("/dev/null", os.O_RDONLY) if number == 0 else (f"/proc/self/fd/{number}", os.O_WRONLY)
                _put(os.open(path, flags | os.O_NOCTTY | os.O_CLOEXEC), number)
    with contextlib.suppress(OSError):  # there is none
        terminal = os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
        try:
            fcntl.ioctl(terminal, termios.TIOCNOTTY)
        finally:
            os.close(terminal)


def _put(opened: int, number: int) -> None:
    os.dup2(opened, number)
    os.close(opened)


def drop(settings: WorkersSettings) -> None:
    """Apply `max_open_files`, `umask`, `group` and `user` of `[workers]` to this process, for good.

    Supplementary groups become those of the user (of nobody, if only a group is named). Raises StartupError when the
    process may not do it: an application that was to run as somebody else must never run as root instead.
    """
    if settings.max_open_files:
        _limit_open_files(settings.max_open_files)
    if settings.umask is not None:
        os.umask(int(settings.umask, 8))
    if settings.user is None and settings.group is None:
        return
    user = None if settings.user is None else pwd.getpwnam(settings.user)
    gid = grp.getgrnam(settings.group).gr_gid if settings.group is not None else user.pw_gid if user else os.getgid()
    try:
        # In this order: once the user is given up, the groups cannot be changed any more.
        if user is not None:
            os.initgroups(user.pw_name, gid)
        else:
            os.setgroups([gid])
        os.setresgid(gid, gid, gid)
        if user is not None:
            os.setresuid(user.pw_uid, user.pw_uid, user.pw_uid)
            os.environ.update(HOME=user.pw_dir, USER=user.pw_name, LOGNAME=user.pw_name)
    except PermissionError as error:
        who = settings.user or settings.group
        raise StartupError(
            f"workers.user, workers.group: this process may not become {who!r} ({error.strerror}); start appserver as root"
        ) from error


MIN_OPEN_FILES = 32
"""A worker without connections has about 25 descriptors open."""


def _limit_open_files(wanted: int) -> None:
    if wanted < MIN_OPEN_FILES:
        raise StartupError(
            f"workers.max_open_files = {wanted}: a worker needs {MIN_OPEN_FILES} and one more for each connection; 0 is the inherited limit"
        )
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, max(hard, wanted)))
    except (ValueError, PermissionError) as error:
        raise StartupError(
            f"workers.max_open_files = {wanted}: the hard limit of this process is {hard}; raise it where appserver is "
            f"started (LimitNOFILE= in a systemd unit, --ulimit for a container)"
        ) from error
