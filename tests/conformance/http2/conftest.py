"""The server under test, for HTTP/2: ours, or (CONFORMANCE_PEER=host:port) another one that runs `application`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conformance import application
from tests.conformance.http2.peer import Peer
from tests.support.address import Address
from tests.support.server import Server


@pytest.fixture(scope="session")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Address]:
    """Where the server listens that all cases share."""
    if other := os.environ.get("CONFORMANCE_PEER"):
        host, _, port = other.rpartition(":")
        yield Address(host, int(port))
        return
    settings = {
        "app": {"target": "echo:app"},
        "http2": {"max_concurrent_streams": 100, "max_resets": 1000},
        "http": {"header_timeout": 5},
        "access_log": {"enabled": False},
    }
    files = {"echo.py": Path(application.__file__).read_text()}
    with Server(tmp_path_factory.mktemp("http2"), settings, files=files) as server:
        workers = [worker.pid for worker in server.workers()]
        yield server.address
        assert [worker.pid for worker in server.workers()] == workers, "the worker has died"


@pytest.fixture
def peer(address: Address) -> Iterator[Peer]:
    """A connection on which settings have been exchanged. Afterwards the server has to serve others."""
    connected = Peer(address)
    yield connected
    connected.close()
    other = Peer(address)
    assert other.get(1).status == 200
    other.close()


@pytest.fixture
def silent(address: Address) -> Iterator[Peer]:
    """A connection on which nothing has been said."""
    connected = Peer(address, begin=False)
    yield connected
    connected.close()
