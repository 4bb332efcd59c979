from __future__ import annotations

import os
from pathlib import Path

import pytest

from appserver.master.cpus import available_cpus

AFFINITY = len(os.sched_getaffinity(0))


@pytest.fixture
def membership(tmp_path: Path) -> Path:
    path = tmp_path / "cgroup"
    path.write_text("12:cpu:/legacy\n0::/a.slice/b.service\n")
    return path


def make_group(root: Path, group: str, quota: str) -> None:
    (root / group).mkdir(parents=True, exist_ok=True)
    (root / group / "cpu.max").write_text(quota)


def test_without_a_quota_it_is_the_affinity_mask(tmp_path: Path, membership: Path) -> None:
    assert available_cpus(tmp_path / "none", membership) == AFFINITY
    make_group(tmp_path, "a.slice/b.service", "max 100000\n")
    assert available_cpus(tmp_path, membership) == AFFINITY


@pytest.mark.parametrize(("quota", "cpus"), [("50000 100000", 1), ("100000 100000", 1), ("1000 100000", 1)])
def test_a_quota_of_the_own_group_counts(tmp_path: Path, membership: Path, quota: str, cpus: int) -> None:
    make_group(tmp_path, "a.slice/b.service", quota)
    assert available_cpus(tmp_path, membership) == cpus


def test_a_quota_of_a_group_above_counts_too(tmp_path: Path, membership: Path) -> None:
    make_group(tmp_path, "a.slice/b.service", "max 100000")
    make_group(tmp_path, "a.slice", "80000 100000")
    assert available_cpus(tmp_path, membership) == 1


def test_a_group_may_be_called_what_is_no_text(tmp_path: Path, membership: Path) -> None:
    membership.write_bytes(b"0::/\xff\n")
    make_group(tmp_path, os.fsdecode(b"\xff"), "1000 100000")
    assert available_cpus(tmp_path, membership) == 1


def test_a_part_of_a_cpu_is_rounded_up(tmp_path: Path, membership: Path) -> None:
    make_group(tmp_path, "a.slice/b.service", "150000 100000")
    assert available_cpus(tmp_path, membership) == min(2, AFFINITY)


def test_a_quota_does_not_add_cpus(tmp_path: Path, membership: Path) -> None:
    make_group(tmp_path, "a.slice/b.service", "6400000 100000")
    assert available_cpus(tmp_path, membership) == AFFINITY


def test_the_legacy_hierarchy_counts(tmp_path: Path, membership: Path) -> None:
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu/cpu.cfs_period_us").write_text("100000\n")
    (tmp_path / "cpu/cpu.cfs_quota_us").write_text("-1\n")
    assert available_cpus(tmp_path, membership) == AFFINITY
    (tmp_path / "cpu/cpu.cfs_quota_us").write_text("70000\n")
    assert available_cpus(tmp_path, membership) == 1


def test_the_own_group_of_the_legacy_hierarchy_and_those_above_count(tmp_path: Path, membership: Path) -> None:
    membership.write_text("4:memory:/\n3:cpu,cpuacct:/a.slice/b.service\n0::/\n")
    for group, quota in (("", "-1"), ("a.slice", "90000"), ("a.slice/b.service", "-1")):
        (tmp_path / "cpu" / group).mkdir()
        (tmp_path / "cpu" / group / "cpu.cfs_period_us").write_text("100000\n")
        (tmp_path / "cpu" / group / "cpu.cfs_quota_us").write_text(f"{quota}\n")
    assert available_cpus(tmp_path, membership) == 1


def test_no_control_groups_at_all_are_no_limit(tmp_path: Path) -> None:
    assert available_cpus(tmp_path / "none", tmp_path / "none") == AFFINITY
