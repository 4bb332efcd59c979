"""WebSocket: every case of the Autobahn fuzzing client is passed, with each parser and event loop, and over HTTP/2.

Passed is what the client calls OK, or INFORMATIONAL where RFC 6455 leaves a choice; NON-STRICT is not.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conformance import application, autobahn
from tests.conformance.levels import must
from tests.support.server import Server
from tests.support.websocket_bridge import Bridge

FRAMES = ("1.*", "2.*", "3.*", "4.*", "5.*", "6.*", "7.*", "10.*")
LIMITS = "9.*"
# The client takes its time with these, most of a minute for each group: several processes may share them, the longest first.
COMPRESSION = (*(f"12.{group}.*" for group in range(1, 6)), *(f"13.{group}.*" for group in range(1, 8)))
# Over HTTP/2: messages of 64 KiB to 16 MiB, whole, in fragments and in small pieces; and compression with windows of several sizes.
LARGE = ("9.1.*", "9.2.*", "9.3.1", "9.4.9", "9.5.1", "9.7.1", "9.8.6")
COMPRESSED = ("12.1.1", "12.1.18", "12.4.1", "12.5.10", "13.1.1", "13.3.5", "13.6.2", "13.7.1")


@pytest.fixture(scope="module")
def wstest() -> Path:
    """The client."""
    python = autobahn.find_python_2()
    if python is None:
        pytest.skip("the Autobahn test suite needs a Python 2.7: python2.7 on the PATH, or pyenv with 2.7.18")
    return autobahn.install(python)


@must("RFC 6455; RFC 7692")
@pytest.mark.long
@pytest.mark.timeout(7200)
@pytest.mark.parametrize(
    ("cases", "parser", "loop"),
    [
        *(pytest.param((group,), "httptools", "uvloop", id=group) for group in (*COMPRESSION, LIMITS)),
        pytest.param(FRAMES, "httptools", "uvloop", id="frames-uvloop"),
        pytest.param(FRAMES, "h11", "asyncio", id="frames-asyncio"),
    ],
)
def test_every_case_is_passed(wstest: Path, tmp_path: Path, cases: tuple[str, ...], parser: str, loop: str) -> None:
    settings = {"app": {"target": "echo:app"}, "http": {"parser": parser}, "workers": {"loop": loop}}
    files = {"echo.py": Path(application.__file__).read_text()}
    with Server(tmp_path / "server", settings, files=files) as server:
        assert autobahn.fuzz(wstest, server.address, cases, tmp_path) == {}


@must("RFC 8441")
@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(
    "cases",
    [pytest.param(FRAMES, id="frames"), pytest.param(LARGE, id="large"), pytest.param(COMPRESSED, id="compressed")],
)
def test_cases_are_passed_over_http2(wstest: Path, tmp_path: Path, cases: tuple[str, ...]) -> None:
    """By way of a bridge, on streams of one connection. Sizes and compression are a choice: both are above the protocol."""
    settings = {"app": {"target": "echo:app"}, "http": {"max_requests_per_connection": 0}}
    files = {"echo.py": Path(application.__file__).read_text()}
    with Server(tmp_path / "server", settings, files=files) as server, Bridge(server.address) as bridge:
        assert autobahn.fuzz(wstest, bridge.address, cases, tmp_path) == {}
        assert bridge.failure is None
        assert bridge.streams >= len(cases)
        versions = {record["http_version"] for record in server.output.records if record["event"] == "session"}
        assert versions == {"2"}
