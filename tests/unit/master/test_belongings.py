"""appserver.master.belongings: whose the log files and the application's metrics are while a reload changes the workers' user."""

from __future__ import annotations

import pytest

from appserver.errors import Problem, SettingsError
from appserver.master.application_metrics import ApplicationMetricsKeeper
from appserver.master.belongings import Belongings
from appserver.settings import Override, Settings, load


def settings_of(group: str) -> Settings:
    overrides = [Override("app.target", "a:b", "test"), Override("workers.group", group, "test")]
    return load(None, environ={}, overrides=overrides).settings


OLD, NEW = settings_of("root"), settings_of("daemon")


class Metrics(ApplicationMetricsKeeper):
    """Notes to whom the directory is given."""

    def __init__(self) -> None:
        super().__init__()
        self.given: list[str] = []

    def apply(self, settings: Settings) -> None:
        self.given.append(f"apply {settings.workers.group}")

    def give(self, settings: Settings) -> None:
        self.given.append(f"give {settings.workers.group}")


@pytest.fixture
def prepared(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    found: list[str] = []
    monkeypatch.setattr(
        "appserver.master.belongings.prepare_log_files", lambda settings: found.append(settings.workers.group)
    )
    return found


def test_they_go_to_whichever_worker_is_started_next(prepared: list[str]) -> None:
    metrics = Metrics()
    belongings = Belongings(metrics, OLD)
    belongings.give(OLD)
    belongings.apply(NEW)
    for settings in (NEW, NEW, OLD, OLD, NEW):
        belongings.give(settings)
    assert prepared == ["daemon", "root", "daemon"]
    assert metrics.given == ["apply daemon", "give root", "give daemon"]


def test_a_rotation_while_there_are_two_users_is_to_be_repeated(prepared: list[str]) -> None:
    belongings = Belongings(Metrics(), OLD)
    found = []
    belongings.renew_log_files(OLD, OLD)
    found.append(belongings.half_renewed)
    belongings.apply(NEW)
    belongings.renew_log_files(OLD, NEW)
    found.append(belongings.half_renewed)
    belongings.give(NEW)
    belongings.renew_log_files(NEW, NEW)
    found.append(belongings.half_renewed)
    assert found == [False, True, False]
    assert prepared == ["root", "daemon", "root", "daemon", "daemon"]


def test_what_cannot_be_given_leaves_the_rest_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(settings: Settings) -> None:
        raise SettingsError([Problem("", "logging.file", "x", "not given to the workers")])

    monkeypatch.setattr("appserver.master.belongings.prepare_log_files", refuse)
    metrics = Metrics()
    belongings = Belongings(metrics, OLD)
    with pytest.raises(SettingsError):
        belongings.apply(NEW)
    belongings.give(OLD)
    belongings.renew_log_files(OLD, OLD)
    assert metrics.given == ["apply daemon", "give root"]
