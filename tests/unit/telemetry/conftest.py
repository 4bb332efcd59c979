"""Fixtures for the telemetry."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from appserver.telemetry.scoreboard import Scoreboard


@pytest.fixture
def board() -> Iterator[Scoreboard]:
    """A scoreboard for four workers, with three buckets."""
    board = Scoreboard.create(4, (0.1, 1.0))
    yield board
    board.close()
