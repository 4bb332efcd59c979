"""Fixtures for the telemetry."""

from __future__ import annotations

import logging
import sys
import threading
import warnings
from collections.abc import Iterator

import pytest
import structlog

from appserver.settings import LoggingSettings
from appserver.telemetry import logs
from appserver.telemetry.scoreboard import Scoreboard


@pytest.fixture
def board() -> Iterator[Scoreboard]:
    """A scoreboard for four workers, with three buckets."""
    board = Scoreboard.create(4, (0.1, 1.0))
    yield board
    board.close()


@pytest.fixture
def process(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A process that has not set up its log yet; what the set-up changes for the whole program is put back."""
    monkeypatch.setattr(logs, "_log", None)
    monkeypatch.setattr(logs, "_captured", False)
    root = logging.getLogger()
    handlers, level, show = root.handlers[:], root.level, warnings.showwarning
    hooks = sys.excepthook, threading.excepthook, sys.unraisablehook
    root.handlers[:] = []
    yield
    logs.configure(LoggingSettings(), process="master").close()
    root.handlers[:] = handlers
    root.setLevel(level)
    warnings.showwarning = show
    sys.excepthook, threading.excepthook, sys.unraisablehook = hooks
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()
