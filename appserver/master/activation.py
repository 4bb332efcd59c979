"""Socket activation: the listening sockets that systemd has opened, by the names that the socket units give them.

The protocol is that of sd_listen_fds(3): LISTEN_PID says whom the sockets are for, LISTEN_FDS how many there are, from
descriptor 3 on, and LISTEN_FDNAMES how they are called (`FileDescriptorName=`; several sockets of a unit share a name).
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field

FIRST = 3  # SD_LISTEN_FDS_START
UNNAMED = "unknown"  # what sd_listen_fds_with_names(3) calls a socket whose name was not passed on

_DIGITS = len(str(2**31))  # no descriptor has more

VARIABLES = ("LISTEN_PID", "LISTEN_PIDFDID", "LISTEN_FDS", "LISTEN_FDNAMES")


@dataclass(frozen=True, slots=True)
class Activation:
    """The descriptors that were passed to this process, by name, in the order in which systemd lists them."""

    sockets: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    @classmethod
    def of(cls, environ: Mapping[str, str], pid: int, *, first: int = FIRST) -> Activation:
        """The sockets that the environment says were passed to process `pid`; none if they were meant for another process.

        The descriptors are closed on exec from now on: programs started by this one are not to have them.
        """
        count = environ.get("LISTEN_FDS", "")
        if environ.get("LISTEN_PID") != str(pid) or not count.isdecimal() or len(count) > _DIGITS:
            return cls()
        names = environ.get("LISTEN_FDNAMES", "").split(":")
        sockets: dict[str, tuple[int, ...]] = {}
        # Only those that are there: counting up to a number that somebody has got wrong may take for ever.
        for fd in sorted(fd for fd in map(int, os.listdir("/proc/self/fd")) if first <= fd < first + int(count)):
            index = fd - first
            # That of the list itself is closed again; one that is not there is missed by whoever wants it.
            with contextlib.suppress(OSError):
                os.set_inheritable(fd, False)
                name = names[index] if index < len(names) and names[index] else UNNAMED
                sockets[name] = (*sockets.get(name, ()), fd)
        return cls(sockets)

    def descriptors(self) -> list[int]:
        """All of them."""
        return [fd for found in self.sockets.values() for fd in found]

    def describe(self) -> str:
        """The names that can be used, for an error."""
        return f"the names passed are {', '.join(self.sockets)}" if self.sockets else "systemd has passed no socket"
