"""A running server for each module's application, once for every parser and event loop."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.server import Server

APPLICATIONS = Path(__file__).parent / "applications"

TRANSPORTS = list(itertools.product(["httptools", "h11"], ["uvloop", "asyncio"]))
ALWAYS = [("httptools", "uvloop"), ("h11", "asyncio")]
"""Those of every run: each parser and each loop."""


def _transports() -> Iterator[Any]:
    for transport in TRANSPORTS:
        yield pytest.param(transport, marks=[] if transport in ALWAYS else [pytest.mark.long])


@pytest.fixture(scope="module", params=list(_transports()), ids="-".join)
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with one worker that serves the module's `TARGET`; its log must hold no error but those on purpose."""
    parser, loop = request.param
    settings = {
        "app": {"target": request.module.TARGET, "directory": str(APPLICATIONS)},
        "http": {"parser": parser},
        "workers": {"loop": loop},
    }
    with Server(tmp_path_factory.mktemp("server"), settings) as server:
        yield server
    errors = [record for record in server.log.records if record["level"] in {"error", "critical"}]
    assert [record for record in errors if "on purpose" not in json.dumps(record)] == []


@pytest.fixture
def client(server: Server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"http://{server.address}", trust_env=False, timeout=30) as client:
        yield client
