"""Fixtures that every kind of test may use."""

from __future__ import annotations

import compileall
import gc
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis.strategies import none

import appserver
from tests.support.server import Server

StartServer = Callable[..., Server]

# No test judges by the time that something takes: a busy machine is no defect.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")


def pytest_configure(config: pytest.Config) -> None:
    """Compile the package once: where bytecode is not to be written, hundreds of servers would each do it anew."""
    if not hasattr(config, "workerinput"):
        compileall.compile_dir(str(Path(appserver.__file__).parent), quiet=2)


@given(none())
@settings(max_examples=1, database=None)
def _make_the_random_numbers_of_hypothesis(_: None) -> None:
    """It makes them for the first test, and warns if the collector, of which it asks this, knows of nobody that holds them."""


def pytest_collection_finish() -> None:
    """Let the collector pass over the tests themselves: they stay, and many tests ask for a collection."""
    _make_the_random_numbers_of_hypothesis()
    gc.collect()
    gc.freeze()


@pytest.fixture
def start_server(tmp_path: Path) -> Iterator[StartServer]:
    """Start the program in the test's temporary directory, wait until it serves, and end it with the test.

    Takes what `Server` takes behind the directory. A failed test shows the server's log.
    """
    with ExitStack() as servers:
        yield lambda *args, **options: servers.enter_context(Server(tmp_path, *args, **options))
