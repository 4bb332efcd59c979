"""The rotation of log files by the real logrotate, with the configuration in `deploy/`, under load."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.address import Address
from tests.support.load import Load
from tests.support.server import ROOT, Server
from tests.support.waiting import eventually
from tests.system.faults.scene import holders

LOGROTATE = shutil.which("logrotate", path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
CONFIGURATION = ROOT / "deploy" / "logrotate" / "appserver"


@pytest.mark.long
@pytest.mark.skipif(LOGROTATE is None, reason="needs logrotate (Debian: logrotate)")
def test_no_line_is_lost_or_torn_by_logrotate(tmp_path: Path) -> None:
    logs = tmp_path / "log" / "shop"
    logs.mkdir(mode=0o755, parents=True)  # logrotate refuses a directory that others may write
    settings = {
        "workers": {"count": 2},
        "access_log": {"file": str(logs / "access.log")},
        "logging": {"file": str(logs / "server.log")},
        "listeners": [{"bind": f"unix:{tmp_path / 'server.sock'}"}],
    }
    configuration = tmp_path / "logrotate.conf"
    text = CONFIGURATION.read_text().replace("/var/log/appserver", str(logs.parent))
    configuration.write_text(text)
    configuration.chmod(0o644)
    server = Server(tmp_path, settings).start()
    try:
        systemctl(tmp_path / "bin", server.pid)
        eventually(lambda: '"serving"' in read(logs, "server.log"), "it serves")
        with Load(Address(path=str(tmp_path / "server.sock")), connections=4) as load:
            for number in range(1, 4):
                load.wait_for_requests(100)
                rotate(configuration, tmp_path)
                eventually((logs / "access.log").exists, f"the file after rotation {number}")
                # The next rotation packs the old file, and a line that comes later is lost.
                eventually(lambda: not holders(server, ".log."), f"nobody holds the file of rotation {number}")
            load.wait_for_requests(100)
        assert load.tally.failed == 0
        assert server.stop() == 0
        names = {path.name for path in logs.iterdir()}
        assert names >= {
            "access.log",
            "access.log.1",
            "access.log.2.gz",
            "access.log.3.gz",
            "server.log",
            "server.log.1",
        }
        lines = [line for path in sorted(logs.glob("access.log*")) for line in contents(path).splitlines()]
        assert len([json.loads(line) for line in lines]) == load.tally.requests
        assert '"stopped"' in read(logs, "server.log")
    finally:
        server.close()


def systemctl(folder: Path, pid: int) -> None:
    """Stands in for systemd's, where the only instance has the main process `pid`: it takes the call as it has to be."""
    folder.mkdir()
    program = folder / "systemctl"
    program.write_text(
        "#!/bin/sh\n"
        """[ "$*" = "kill --kill-whom=main --signal=USR1 appserver@*.service" ] || { echo "systemctl $*" >&2; exit 1; }\n"""
        f"kill -USR1 {pid}\n"
    )
    program.chmod(0o755)


def rotate(configuration: Path, folder: Path) -> None:
    assert LOGROTATE is not None
    command = [LOGROTATE, "--force", "--state", str(folder / "state"), str(configuration)]
    path = f"{folder / 'bin'}:{os.environ['PATH']}"
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=60, env={**os.environ, "PATH": path}
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def contents(path: Path) -> str:
    return gzip.decompress(path.read_bytes()).decode() if path.suffix == ".gz" else path.read_text()


def read(folder: Path, name: str) -> str:
    path = folder / name
    return path.read_text() if path.exists() else ""
