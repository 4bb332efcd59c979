"""What a cold start imports: somebody waits for each of these modules."""

from __future__ import annotations

import subprocess
import sys

import pytest

START = """
import sys
from appserver.cli import prepare
prepare(["lambda", "main:app"])
from appserver.settings import Override, load
load(None, environ={"APPSERVER_LAMBDA__STREAMING": "true"}, overrides=[Override("app.target", "main:app", "argument")])
from appserver.telemetry.logs import get_logger
get_logger("appserver.lambda")
print(*sys.modules)
"""


@pytest.fixture(scope="module")
def imported() -> set[str]:
    done = subprocess.run([sys.executable, "-c", START], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize(
    "name",
    [
        "appserver.engine.server",
        "appserver.master",
        "appserver.settings.keys",
        "appserver.settings.merging",
        "appserver.telemetry.scoreboard",
        "appserver.worker",
        "difflib",
        "h11",
        "httptools",
        "logging.config",
        "prometheus_client",
        "pydantic_settings",
        "structlog",
        "tomllib",
        "uvloop",
        "websockets",
    ],
)
def test_it_does_without(imported: set[str], name: str) -> None:
    assert name not in imported


def test_it_has_what_the_first_event_needs(imported: set[str]) -> None:
    assert {"appserver.aws.adapter", "appserver.engine.calls", "appserver.telemetry.access_log"} <= imported
