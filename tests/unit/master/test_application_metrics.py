"""The keeper of the application's metrics: reading them must not hold up anything."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest
from prometheus_client import Metric

from appserver.master import application_metrics
from appserver.master.application_metrics import ApplicationMetricsKeeper
from appserver.settings import AppSettings, MetricsSettings, Settings
from appserver.telemetry.application_metrics import VARIABLE, ApplicationMetrics

WANTED = Settings(app=AppSettings(target="main:app"), metrics=MetricsSettings(application=True))
UNWANTED = Settings(app=AppSettings(target="main:app"))


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(application_metrics, "MEMORY", tmp_path)
    return tmp_path


def test_there_is_a_directory_only_if_it_is_wanted_and_as_long_as_the_server_runs(place: Path) -> None:
    keeper = ApplicationMetricsKeeper()
    keeper.apply(UNWANTED)
    assert (list(place.iterdir()), keeper.environment(WANTED), keeper.record()) == ([], {}, None)
    keeper.apply(WANTED)
    (directory,) = place.iterdir()
    assert keeper.environment(WANTED) == {VARIABLE: str(directory / "workers")}
    assert keeper.environment(UNWANTED) == {}
    keeper.close()
    assert list(place.iterdir()) == []


def test_what_is_wanted_no_longer_is_shown_no_longer(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    metrics = [Metric("shop", "", "counter")]
    monkeypatch.setattr(ApplicationMetrics, "collect", lambda _: metrics)
    keeper = ApplicationMetricsKeeper()
    keeper.apply(WANTED)
    assert asyncio.run(keeper.collect()) == metrics
    keeper.apply(UNWANTED)
    assert asyncio.run(keeper.collect()) == ()
    kept = keeper.record()
    assert asyncio.run(ApplicationMetricsKeeper(kept, is_shown=False).collect()) == ()
    keeper.apply(WANTED)
    assert asyncio.run(keeper.collect()) == metrics
    keeper.close()


def test_another_server_of_this_user_is_left_alone(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(application_metrics, "TOO_YOUNG", 0.0)
    one, another = ApplicationMetricsKeeper(), ApplicationMetricsKeeper()
    one.apply(WANTED)
    (place / f"{application_metrics.NAME}left").mkdir()
    another.apply(WANTED)
    assert len(list(place.iterdir())) == 2, "what nobody holds is removed"
    one.close()
    another.close()


def test_files_that_cannot_be_read_in_time_are_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    keeper = ApplicationMetricsKeeper()
    keeper.apply(WANTED)
    hanging = threading.Event()
    monkeypatch.setattr(application_metrics, "LIMIT", 0.05)
    monkeypatch.setattr(ApplicationMetrics, "collect", lambda self: hanging.wait(20) and [])
    try:
        assert asyncio.run(keeper.collect()) == ()
        keeper.settle()
        keeper.close()
    finally:
        hanging.set()


def test_a_directory_that_is_gone_costs_these_metrics_only(place: Path) -> None:
    keeper = ApplicationMetricsKeeper()
    keeper.apply(WANTED)
    keeper.close()
    assert asyncio.run(keeper.collect()) == ()


def test_without_a_thread_they_are_left_out_until_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    metrics = [Metric("shop", "", "counter")]
    monkeypatch.setattr(ApplicationMetrics, "collect", lambda _: metrics)
    keeper = ApplicationMetricsKeeper()
    keeper.apply(WANTED)
    with monkeypatch.context() as limited:
        limited.setattr(threading.Thread, "start", refuse)
        keeper.tidy()
        keeper.settle()
        assert asyncio.run(keeper.collect()) == ()
    assert asyncio.run(keeper.collect()) == metrics
    keeper.close()


def refuse(_thread: threading.Thread) -> None:
    raise RuntimeError("can't start new thread")
