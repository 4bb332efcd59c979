"""Whether the kernel has killed for want of memory: it says so nowhere but in a counter of the control group."""

from __future__ import annotations

import os
from collections import deque
from pathlib import Path

CGROUP_ROOT = Path("/sys/fs/cgroup")
OWN_CGROUPS = Path("/proc/self/cgroup")

# A process that has been killed for its memory may take this long to be gone, in seconds: the memory is taken apart first.
EXIT_TIME = 10.0


class OutOfMemoryKills:
    """The kills of this process's control group: those since it was made, each to be claimed once.

    The counter says neither who was killed nor when. So call `look` about once a second, and `claim` when a process has
    ended by a SIGKILL of which nobody here knows.
    """

    def __init__(self, root: Path = CGROUP_ROOT, membership: Path = OWN_CGROUPS) -> None:
        self._counters = _counters(root, membership)
        self._seen = self._count()
        self._unclaimed: deque[float] = deque()

    def look(self, now: float) -> None:
        """Take note of kills since the last look; forget those that nobody has claimed in time."""
        count = self._count()
        self._unclaimed.extend([now] * (count - self._seen))
        self._seen = count
        while self._unclaimed and self._unclaimed[0] < now - EXIT_TIME:
            self._unclaimed.popleft()

    def claim(self, now: float) -> bool:
        """Whether there is a kill that nobody has claimed yet; it is claimed then."""
        self.look(now)
        if not self._unclaimed:
            return False
        self._unclaimed.popleft()
        return True

    def _count(self) -> int:
        """The kills since the group was made; 0 where the kernel does not count them."""
        return max((_oom_kills(path) for path in self._counters), default=0)


def _counters(root: Path, membership: Path) -> list[Path]:
    """Where the kernel counts for this process's group.

    `memory.events` of cgroup v2, with those of the groups below it; `memory.oom_control` of v1. A container may see its
    group under the name that it has outside, and mounted at the root.
    """
    candidates = []
    for line in _read(membership).splitlines():
        hierarchy, controllers, group = line.split(":", 2)
        below = group.lstrip("/")
        if hierarchy == "0":
            candidates += [root / below / "memory.events", root / "memory.events"]
        elif "memory" in controllers.split(","):
            candidates += [root / "memory" / below / "memory.oom_control", root / "memory" / "memory.oom_control"]
    # A sandbox may keep them from being looked at (systemd: InaccessiblePaths=), which counts as not there.
    return [path for path in candidates if os.access(path, os.R_OK)][:1]


def _oom_kills(path: Path) -> int:
    for line in _read(path).splitlines():
        name, _, value = line.partition(" ")
        if name == "oom_kill" and value.isdecimal():
            return int(value)
    return 0


def _read(path: Path) -> str:
    try:
        return os.fsdecode(path.read_bytes())  # a group may be called anything
    except OSError:
        return ""
