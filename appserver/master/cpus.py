"""How many CPUs this process may use: what `workers.count = "auto"` means."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path

CGROUP_ROOT = Path("/sys/fs/cgroup")
OWN_CGROUPS = Path("/proc/self/cgroup")


def available_cpus(root: Path = CGROUP_ROOT, membership: Path = OWN_CGROUPS) -> int:
    """The CPUs in the affinity mask of this process, or fewer if a control group grants less time; at least 1.

    A quota counts in whole CPUs, rounded up: with 1.5 CPUs two workers can use all of it, one cannot.
    """
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([affinity, *(math.ceil(quota) for quota in _quotas(root, membership))]))


def _quotas(root: Path, membership: Path) -> Iterator[float]:
    """Yield what each group on the way from this process's up to the root is granted, in CPUs.

    That is `cpu.max` of cgroup v2 and `cpu.cfs_quota_us` of v1, which is mounted at `cpu`. A container may see its group under
    the name that it has outside, and mounted at the root.
    """
    groups = {root: Path(), root / "cpu": Path()}
    for line in _read(membership).splitlines():
        hierarchy, controllers, group = line.split(":", 2)
        if hierarchy == "0":
            groups[root] = Path(group.lstrip("/"))
        elif "cpu" in controllers.split(","):
            groups[root / "cpu"] = Path(group.lstrip("/"))
    for mount, own in groups.items():
        for folder in (own, *own.parents):
            granted, _, period = _read(mount / folder / "cpu.max").strip().partition(" ")
            if not granted:
                granted = _read(mount / folder / "cpu.cfs_quota_us").strip()
                period = _read(mount / folder / "cpu.cfs_period_us").strip()
            if granted.isdigit() and period.isdigit():
                yield int(granted) / int(period)


def _read(path: Path) -> str:
    try:
        return os.fsdecode(path.read_bytes())  # a group may be called anything
    except OSError:
        return ""
