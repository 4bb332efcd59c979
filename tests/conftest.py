"""Fixtures that every kind of test may use."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.support.server import Server

StartServer = Callable[..., Server]

# No test judges by the time that something takes: a busy machine is no defect.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")


@pytest.fixture
def start_server(tmp_path: Path) -> Iterator[StartServer]:
    """Start the program in the test's temporary directory, wait until it serves, and end it with the test.

    Takes what `Server` takes behind the directory. A failed test shows the server's log.
    """
    with ExitStack() as servers:
        yield lambda *args, **options: servers.enter_context(Server(tmp_path, *args, **options))
