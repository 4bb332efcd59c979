"""The journal of systemd as the reader of a standard stream: each line tells it its priority (sd-daemon(3)).

Without that the journal takes every line for information, and `journalctl -p err` finds none of the errors.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

# The priorities of syslog(3), for the levels of the log.
_PREFIXES = {"debug": b"<7>", "info": b"<6>", "warning": b"<4>", "error": b"<3>", "critical": b"<2>"}


def leads_to_journal(fd: int, environ: Mapping[str, str]) -> bool:
    """Whether a descriptor is the stream that systemd has connected to its journal.

    JOURNAL_STREAM names it by device and inode (systemd.exec(5)). That the variable is set is not enough: it is inherited
    by programs whose streams somebody has redirected.
    """
    try:
        status = os.fstat(fd)
    except OSError:
        return False
    return environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"


def with_priority(level: str, lines: bytes) -> bytes:
    """Put the priority of a level in front of each line; each ends with a line feed, and becomes an entry of its own."""
    prefix = _PREFIXES.get(level, b"<6>")
    return b"".join(prefix + line + b"\n" for line in lines.removesuffix(b"\n").split(b"\n"))
