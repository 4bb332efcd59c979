"""The needs of a server that the machine, or container, has to meet: looked at before anything is begun."""

from __future__ import annotations

import resource
from pathlib import Path

from appserver.errors import StartupError

OWN_DESCRIPTORS = 20
"""Descriptors that a master with one worker has open, without its listeners; a worker has about as many."""

DESCRIPTORS_PER_WORKER = 3
"""Descriptors that a master has open for each further worker: its channel, its pidfd, the file for its stacks."""


def require_proc(place: Path = Path("/proc/self/fd")) -> None:
    """Raise StartupError if /proc is not mounted, by which processes, descriptors and memory are looked at."""
    if not place.is_dir():
        raise StartupError(
            f"{place} is not there, and appserver needs it: mount /proc (`mount -t proc proc /proc`), also in a chroot or container"
        )


def require_descriptors(workers: int, listeners: int, limit: int | None = None) -> None:
    """Raise StartupError if the limit on open files leaves no room for so many workers at a time, and listeners.

    `limit` is that of this process unless it is given.
    """
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0] if limit is None else limit
    needed = OWN_DESCRIPTORS + DESCRIPTORS_PER_WORKER * workers + listeners
    if limit != resource.RLIM_INFINITY and limit < needed:
        raise StartupError(
            f"this process may have {limit} files open (ulimit -n), and for {workers} workers at a time, as in a reload, at least {needed} are needed, "
            "besides one for each connection: raise the limit where appserver is started "
            "(LimitNOFILE= in a systemd unit, --ulimit for a container)"
        )
