"""How many CPUs this process may use: what `workers.count = "auto"` means."""

from __future__ import annotations

import math
import os
from pathlib import Path

CGROUP_ROOT = Path("/sys/fs/cgroup")
OWN_CGROUPS = Path("/proc/self/cgroup")


def available_cpus(root: Path = CGROUP_ROOT, membership: Path = OWN_CGROUPS) -> int:
    """The CPUs in the affinity mask of this process, or fewer if a control group grants less time; at least 1.

    A quota counts in whole CPUs, rounded up: with 1.5 CPUs two workers can use all of it, one cannot.
    """
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quotas = [quota for quota in (_unified_quota(root, membership), _legacy_quota(root)) if quota is not None]
    return max(1, min([affinity, *(math.ceil(quota) for quota in quotas)]))


def _unified_quota(root: Path, membership: Path) -> float | None:
    """The smallest `cpu.max` on the way from this process's group up to the root (cgroup v2), in CPUs."""
    path = root
    for line in _read(membership).splitlines():
        hierarchy, _, group = line.split(":", 2)
        if hierarchy == "0":
            path = root / group.lstrip("/")
    quotas = []
    for folder in (path, *path.parents):
        granted, _, period = _read(folder / "cpu.max").strip().partition(" ")
        if granted.isdigit() and period.isdigit():
            quotas.append(int(granted) / int(period))
        if folder == root:
            break
    return min(quotas, default=None)


def _legacy_quota(root: Path) -> float | None:
    """The quota of the group mounted at `cpu` (cgroup v1), in CPUs; containers see their own group there."""
    granted, period = _read(root / "cpu/cpu.cfs_quota_us").strip(), _read(root / "cpu/cpu.cfs_period_us").strip()
    return int(granted) / int(period) if granted.isdigit() and period.isdigit() else None


def _read(path: Path) -> str:
    try:
        return os.fsdecode(path.read_bytes())  # a group may be called anything
    except OSError:
        return ""
