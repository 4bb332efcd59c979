"""Conformance with RFC 9110 and 9112 and with ASGI, attacks included, of the running server with each parser.

Every case runs against the real program with one worker, over a socket. `levels` says how binding a case is; each test
module is one family. Whatever a case does, the same worker has to answer afterwards. WebSocket has a client of its own,
in test_autobahn; what must not happen to an upgrade is in test_upgrade.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.conformance import application
from tests.conformance.levels import LEVELS
from tests.conformance.site import Site
from tests.support.server import Server

StartSite = Callable[[str, dict[str, Any]], Server]


def pytest_configure(config: pytest.Config) -> None:
    for level in LEVELS:
        config.addinivalue_line(
            "markers", f"{level}(clause): the level of a conformance case (tests/conformance/levels.py)"
        )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Show the clause of a failed case."""
    report = yield
    for mark in item.iter_markers():
        if mark.name in LEVELS and report.failed:  # type: ignore[attr-defined]  # what the inner hooks return
            report.sections.append(("clause", f"{mark.name}: {mark.args[0]}"))  # type: ignore[attr-defined]
    return report


@pytest.fixture(scope="session")
def start_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartSite]:
    """Start the program with a parser and the settings of [http]; once for the same, until the end of the session."""
    running: dict[str, Server] = {}
    with ExitStack() as servers:

        def start(parser: str, http: dict[str, Any]) -> Server:
            key = f"{parser} {sorted(http.items())}"
            if key not in running:
                settings = {
                    "app": {"target": "echo:app"},
                    "http2": {"enabled": False},  # so that its preface is a request like any other
                    "http": {"parser": parser, **http},
                    "access_log": {"enabled": False},
                    "request_id": {"header": ""},  # so that the fields are those that were sent, and no others
                }
                files = {"echo.py": Path(application.__file__).read_text()}
                directory = tmp_path_factory.mktemp("site")
                running[key] = servers.enter_context(Server(directory, settings, files=files))
            return running[key]

        yield start


@pytest.fixture(params=["httptools", "h11"])
def parser(request: pytest.FixtureRequest) -> str:
    """The parser that the server is run with."""
    name: str = request.param
    return name


@pytest.fixture
def http_settings() -> dict[str, Any]:
    """The settings of [http]; a module with others overrides this."""
    return {}


@pytest.fixture
def site(start_site: StartSite, parser: str, http_settings: dict[str, Any]) -> Iterator[Site]:
    """The server under test. Its worker has to be the same afterwards."""
    server = start_site(parser, http_settings)
    site = Site(server.address, os.urandom(5).hex().encode())
    worker = site.ask("/__state/x")["pid"]
    yield site
    assert site.ask("/__state/x")["pid"] == worker, "the worker has died"
