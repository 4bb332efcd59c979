"""What a master hands over to its successor, perhaps of another version, is read back as what it was."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any

import pytest

from appserver.errors import UpgradeError
from appserver.master.configuration import Configuration, Configurations
from appserver.master.handover import (
    AdminListenerRecord,
    ConfigurationsRecord,
    Handover,
    ListenerRecord,
    WorkerRecord,
    ZygoteRecord,
)
from appserver.master.reload_outcomes import ReloadOutcome
from appserver.settings import load
from appserver.supervision.policy import Policy
from appserver.supervision.supervisor import Supervisor


def plan(count: int) -> Configuration:
    environ = {"APPSERVER_APP__TARGET": "a:b", "APPSERVER_WORKERS__COUNT": str(count)}
    return Configuration.of(load(None, environ=environ))


OLD, NEW = plan(1), plan(2)

HANDOVER = Handover(
    scoreboard=5,
    supervisor={"generation": 1, "count": 2},
    plans=ConfigurationsRecord.of(Configurations(OLD, NEW, {1: OLD, 2: NEW, 3: NEW})),
    listeners=[ListenerRecord("127.0.0.1:0", 1, 6, "127.0.0.1:4711"), ListenerRecord("unix:/x", 0, 7, "unix:/x", "/x")],
    zygotes=[ZygoteRecord(1, 100, None), ZygoteRecord(2, 101, 8)],
    workers=[WorkerRecord(3, 1, 2, None, 9, 10, 0, 1.5), WorkerRecord(4, 2, 2, 102, 11, 12, 77, 2.5)],
    sites=[AdminListenerRecord("unix:/control", True, 13, "unix:/control", "/control")],
    kept=[14],
    started_at=1e9,
    last_reload=ReloadOutcome("rolled_back", "because", 2, at=1e9),
    version="0.9",
)


def changed(change: Callable[[dict[str, Any]], object]) -> int:
    """The document with a change made by another version."""
    fd = HANDOVER.write()
    document = json.loads(os.pread(fd, os.fstat(fd).st_size, 0))
    change(document)
    os.ftruncate(fd, 0)
    os.pwrite(fd, json.dumps(document).encode(), 0)
    return fd


def test_it_is_read_back_as_it_was() -> None:
    fd = HANDOVER.write()
    assert not os.get_inheritable(fd)
    assert Handover.read(fd) == HANDOVER
    os.close(fd)


def test_every_descriptor_is_named() -> None:
    assert sorted(HANDOVER.descriptors()) == list(range(5, 15))


def test_what_another_version_has_added_is_left_out() -> None:
    def add(document: dict[str, Any]) -> None:
        document["invented"] = 1
        document["state"]["invented"] = {"a": 1}
        document["state"]["workers"][0]["invented"] = "x"

    fd = changed(add)
    assert Handover.read(fd) == HANDOVER
    os.close(fd)


def test_what_another_version_lacks_has_its_default() -> None:
    fd = changed(lambda document: [document["state"].pop(name) for name in ("sites", "kept", "last_reload")])
    found = Handover.read(fd)
    assert (found.sites, found.kept, found.last_reload) == ([], [], None)
    os.close(fd)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda document: document.update(format=2), "hands over in format 2; appserver .* understands 1"),
        (lambda document: document.pop("format"), "cannot be understood: KeyError"),
        (lambda document: document["state"].pop("scoreboard"), "cannot be understood: TypeError.*scoreboard"),
        (lambda document: document.update(state=None), "cannot be understood: AttributeError"),
    ],
    ids=["format", "no format", "something missing", "nothing"],
)
def test_what_cannot_be_understood_is_refused(change: Callable[[dict[str, Any]], object], reason: str) -> None:
    fd = changed(change)
    with pytest.raises(UpgradeError, match=reason):
        Handover.read(fd)
    os.close(fd)


def test_plans_come_back_and_those_that_were_one_are_one_again() -> None:
    restored = HANDOVER.plans.restore()
    serving, wanted, generations = restored.serving, restored.wanted, restored.generations()
    assert len(HANDOVER.plans.settings) == 2
    assert (serving.settings, wanted.settings) == (OLD.settings, NEW.settings)
    assert (serving.policy, wanted.policy) == (OLD.policy, NEW.policy)
    assert generations[1] is serving
    assert generations[2] is generations[3] is wanted


def test_the_supervisors_state_survives_the_way() -> None:
    supervisor = Supervisor(Policy.from_settings(OLD.settings, cpus=1), random=lambda: 0.5)
    supervisor.start(10.0)
    fd = changed(lambda document: document["state"].update(supervisor=supervisor.dump()))
    restored = Supervisor.restore(Handover.read(fd).supervisor, random=lambda: 0.5)
    assert restored.dump() == supervisor.dump()
    os.close(fd)
