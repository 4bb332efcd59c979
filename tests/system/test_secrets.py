"""A secret reaches what needs it, and nothing else."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import StartServer
from tests.support.address import Address
from tests.support.certificates import Authority
from tests.support.server import ROOT, Server

AUTHORITY = Authority()
FIRST, SECOND = "geheim-eins", "geheim-zwei"


def settings(directory: Path) -> dict[str, Any]:
    """Settings of a server whose key is encrypted; whoever is to start it brings the password."""
    certificate, key = AUTHORITY.issue("localhost", "127.0.0.1", password=FIRST).write(directory)
    return {
        "listeners": [{"bind": "127.0.0.1:0", "tls": True}],
        "tls": {"certificate": str(certificate), "key": str(key)},
        "workers": {"count": 2, "preload": True},
        "admin": {"control": "control.sock"},
        "logging": {"level": "debug"},
    }


def shown(server: Server, environment: Mapping[str, str]) -> str:
    """All that the program shows of itself, as one text."""
    control = Address(path=str(server.directory / "control.sock"))
    pages = [control.request("GET", page).text for page in ("/status", "/metrics", "/activity", "/stacks")]
    commands = [["settings"], ["settings", "--format", "json"], ["check"], ["status"]]
    for command in commands:
        run = subprocess.run(
            [sys.executable, "-m", "appserver", *command, "--config", "server.toml"],
            cwd=server.directory,
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **environment},
            capture_output=True,
            text=True,
            timeout=50,
            check=False,
        )
        assert run.returncode == 0, run.stderr
        pages.append(run.stdout + run.stderr)
    return "\n".join([*pages, server.log.text, server.output.text])


def environments(server: Server) -> str:
    """The environments of all processes, as the kernel shows them."""
    found = []
    for process in server.processes():
        with suppress(FileNotFoundError, ProcessLookupError):  # it has ended meanwhile
            found.append(Path(f"/proc/{process.pid}/environ").read_text())
    return "".join(found)


def get(address: Address, variable: str = "APPSERVER_TLS__KEY_PASSWORD") -> str:
    with closing(http.client.HTTPSConnection(address.host, address.port, context=AUTHORITY.client())) as connection:
        connection.request("GET", f"/env/{variable}")
        with connection.getresponse() as response:
            return response.read().decode()


@pytest.mark.parametrize(
    "way", ["CREDENTIALS_DIRECTORY", pytest.param("APPSERVER_SECRETS_DIR", marks=pytest.mark.long)]
)
def test_a_secret_in_a_file_reaches_tls_and_appears_nowhere_else(
    start_server: StartServer, tmp_path: Path, way: str
) -> None:
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    secret = secrets / "appserver_tls__key_password"
    secret.write_text(FIRST + "\n")
    environment = {way: str(secrets)}
    server = start_server(settings(tmp_path), environment=environment)
    assert FIRST not in get(server.address)

    secret.write_text(SECOND)
    AUTHORITY.issue("localhost", "127.0.0.1", password=SECOND).write(tmp_path)
    assert server.reload()["result"] == "ok"
    assert SECOND not in get(server.address)

    everything = shown(server, environment) + environments(server)
    assert f"# file: {secret}\n" in everything
    assert FIRST not in everything
    assert SECOND not in everything


@pytest.mark.long
def test_a_secret_in_the_environment_does_not_reach_the_application(start_server: StartServer, tmp_path: Path) -> None:
    environment = {"APPSERVER_TLS__KEY_PASSWORD": FIRST}
    server = start_server(settings(tmp_path), environment=environment)
    assert FIRST not in get(server.address)
    assert FIRST not in shown(server, environment)
    assert FIRST not in environments(server)


@pytest.mark.long
@pytest.mark.parametrize("way", [pytest.param("file", marks=pytest.mark.long), "environment"])
def test_a_secret_of_a_logging_handler_is_shown_nowhere(start_server: StartServer, tmp_path: Path, way: str) -> None:
    mail = {"class": "logging.handlers.SMTPHandler", "mailhost": "127.0.0.1", "credentials": ["shop", SECOND]}
    handlers = {"mail": {**mail, "fromaddr": "a@b", "toaddrs": ["a@b"], "subject": "shop"}}
    config = {"version": 1, "disable_existing_loggers": False, "handlers": handlers}
    environment = {"APPSERVER_TLS__KEY_PASSWORD": FIRST}
    content = settings(tmp_path)
    if way == "file":
        content["logging"]["config"] = config
    else:
        environment["APPSERVER_LOGGING__CONFIG"] = json.dumps(config)
    server = start_server(content, environment=environment)
    assert SECOND not in get(server.address, "APPSERVER_LOGGING__CONFIG")
    assert server.reload()["result"] == "ok"
    everything = shown(server, environment) + environments(server)
    assert "logging.handlers.SMTPHandler" in everything
    assert SECOND not in everything
