"""Fixtures for the master."""

from __future__ import annotations

import asyncio
import gc
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from appserver.master import workers, zygotes
from appserver.settings import LoggingSettings
from appserver.telemetry import logs
from tests.unit.master.stage import Act, Play, Stage, descriptors

Log = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def play(monkeypatch: pytest.MonkeyPatch) -> Play:
    """All that is opened meanwhile has to be closed by the end, and no callback may fail."""

    def play(act: Act, *, real: bool = False) -> None:
        async def scenario() -> None:
            stage = Stage()
            stage.loop.set_exception_handler(lambda _, context: broken.append(context))
            if not real:
                monkeypatch.setattr(zygotes, "_spawn", stage.spawn)
            try:
                await act(stage)
            finally:
                await stage.end()

        broken: list[dict[str, Any]] = []
        before = descriptors()
        asyncio.run(scenario())
        gc.collect()  # a scoreboard's mapping has a descriptor of its own, and goes with the last look at a slot
        assert descriptors() <= before
        assert broken == [], "nothing that the event loop has called may fail"

    return play


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Log]:
    """Tells what has been logged in the test so far."""
    file = tmp_path / "log"
    present = logs._Log(LoggingSettings(file=file, level="debug"), {})
    monkeypatch.setattr(logs, "_log", present)
    yield lambda: [json.loads(line) for line in file.read_text().splitlines()]
    present.output.close()


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look soon for the answers of processes: they are there already, or never will be."""
    for module in (workers, zygotes):
        monkeypatch.setattr(module, "STACKS_DELAY", 0.01)
        monkeypatch.setattr(module, "EXIT_DELAY", 0.01)
    monkeypatch.setattr(workers, "TASKS_TIMEOUT", 0.01)
