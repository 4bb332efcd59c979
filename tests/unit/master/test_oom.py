"""Kills for want of memory are recognised by the counter of the control group."""

from __future__ import annotations

from pathlib import Path

import pytest

from appserver.master.oom import EXIT_TIME, OutOfMemoryKills


class Group:
    """A control group whose counter the test moves."""

    def __init__(self, root: Path, membership: str, counter: str) -> None:
        self.root, self.membership, self.path = root, root / "membership", root / counter
        self.membership.write_text(membership, "utf-8", "surrogateescape")
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.count(0)

    def count(self, kills: int) -> None:
        self.path.write_text(f"oom 9\noom_kill {kills}\noom_group_kill 9\n")

    def kills(self) -> OutOfMemoryKills:
        return OutOfMemoryKills(self.root, self.membership)


UNIFIED = "0::/service\n"
NO_TEXT = "0::/serv\udcff\n"
LEGACY = "8:pids:/\n4:memory:/docker/service\n0::/\n"


@pytest.fixture(
    params=[
        (UNIFIED, "service/memory.events"),
        (UNIFIED, "memory.events"),
        (NO_TEXT, "serv\udcff/memory.events"),
        (LEGACY, "memory/docker/service/memory.oom_control"),
        (LEGACY, "memory/memory.oom_control"),
    ],
    ids=["v2", "v2 in a container", "v2, no text", "v1", "v1 in a container"],
)
def group(request: pytest.FixtureRequest, tmp_path: Path) -> Group:
    return Group(tmp_path, *request.param)


def test_a_kill_is_claimed_once(group: Group) -> None:
    kills = group.kills()
    assert not kills.claim(1.0)
    group.count(1)
    assert kills.claim(1.5)
    assert not kills.claim(1.6)


def test_two_kills_between_two_looks_are_two(group: Group) -> None:
    kills = group.kills()
    group.count(2)
    kills.look(1.0)
    assert [kills.claim(1.0 + number) for number in range(3)] == [True, True, False]


def test_kills_from_before_are_none_of_ours(group: Group) -> None:
    group.count(5)
    assert not group.kills().claim(1.0)


def test_a_kill_of_somebody_else_is_forgotten_after_a_while(group: Group) -> None:
    kills = group.kills()
    group.count(1)
    kills.look(1.0)
    assert not kills.claim(1.0 + EXIT_TIME + 0.1)


@pytest.mark.parametrize("membership", ["", UNIFIED, LEGACY])
def test_where_nothing_is_counted_nothing_is_claimed(tmp_path: Path, membership: str) -> None:
    (tmp_path / "membership").write_text(membership)
    kills = OutOfMemoryKills(tmp_path, tmp_path / "membership")
    kills.look(1.0)
    assert not kills.claim(2.0)


def test_a_counter_that_cannot_be_looked_at_counts_nothing(tmp_path: Path) -> None:
    """Whatever the reason is: for other users than root it is that of permission, here the name is too long for a file."""
    (tmp_path / "membership").write_text(f"0::/{'x' * 300}\n")
    kills = OutOfMemoryKills(tmp_path, tmp_path / "membership")
    kills.look(1.0)
    assert not kills.claim(2.0)


def test_on_this_machine_it_can_be_asked() -> None:
    OutOfMemoryKills().look(1.0)
