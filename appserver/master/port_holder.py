"""The process that holds a port: named in the error when a listener cannot be bound."""

from __future__ import annotations

import os
from pathlib import Path

LISTEN = "0A"  # the state of a listening socket in /proc/net/tcp (TCP_LISTEN in the kernel's net/tcp_states.h)


def describe_port_holder(port: int) -> str:
    """The process that listens on a TCP port, as "nginx (pid 812)"; empty where that cannot be known.

    Without privileges a process sees the descriptors of its own user only.
    """
    inodes = _listening_inodes(port)
    for pid in filter(str.isdigit, os.listdir("/proc")) if inodes else ():
        if _holds(Path("/proc", pid, "fd"), inodes):
            return f"{_read(Path('/proc', pid, 'comm')).strip() or 'a process'} (pid {pid})"
    return ""


def _listening_inodes(port: int) -> set[str]:
    inodes = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in _read(Path(table)).splitlines()[1:]:
            fields = line.split()
            if fields[3] == LISTEN and int(fields[1].rpartition(":")[2], 16) == port:
                inodes.add(f"socket:[{fields[9]}]")
    return inodes


def _holds(descriptors: Path, inodes: set[str]) -> bool:
    try:
        return any(str(fd.readlink()) in inodes for fd in descriptors.iterdir())
    except OSError:  # another user's process, or one that has exited meanwhile
        return False


def _read(path: Path) -> str:
    try:
        # The kernel cuts a name after 15 octets, in the middle of a character if need be.
        return path.read_text("utf-8", "replace")
    except OSError:
        return ""
