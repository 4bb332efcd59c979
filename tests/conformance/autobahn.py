"""The fuzzing client of the Autobahn test suite, which asks a WebSocket server for everything that RFC 6455 says.

It is a program for Python 2.7. `install` makes an environment for it, once, below `.cache`.
"""

from __future__ import annotations

import fcntl
import json
import shutil
import subprocess
import sys
import venv
from collections.abc import Sequence
from pathlib import Path

from tests.support.address import Address
from tests.support.server import ROOT

REQUIREMENTS = Path(__file__).with_name("autobahn_requirements.txt")
HOME = ROOT / ".cache" / "autobahn"

PASSED = {"OK", "INFORMATIONAL"}


def find_python_2() -> str | None:
    """A Python 2.7: one that pyenv manages, or on the PATH."""
    if shutil.which("pyenv") is not None:
        asked = subprocess.run(["pyenv", "prefix", "2.7.18"], capture_output=True, text=True, check=False)
        if asked.returncode == 0:
            return f"{asked.stdout.strip()}/bin/python"
    return shutil.which("python2.7")


def install(python: str) -> Path:
    """The program `wstest`, installed on first use with that Python 2.7, by one process while others wait."""
    done = HOME / "installed"
    HOME.parent.mkdir(exist_ok=True)
    with HOME.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists() or done.read_text() != REQUIREMENTS.read_text():
            shutil.rmtree(HOME, ignore_errors=True)
            maker = HOME / "virtualenv"  # the last one that makes environments for Python 2.7
            venv.create(maker, with_pip=True)
            run(maker / "bin" / "pip", "install", "--quiet", "virtualenv<20.22")
            run(maker / "bin" / "virtualenv", "--quiet", "-p", python, HOME / "python2")
            run(HOME / "python2" / "bin" / "pip", "install", "--quiet", "--no-build-isolation", "-r", REQUIREMENTS)
            done.write_text(REQUIREMENTS.read_text())
    return HOME / "python2" / "bin" / "wstest"


def run(*command: str | Path) -> None:
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, f"{command}:\n{finished.stdout}\n{finished.stderr}"


def fuzz(wstest: Path, address: Address, cases: Sequence[str], directory: Path) -> dict[str, str]:
    """Run the cases (patterns such as "9.*") against a server that echoes; returns the verdicts that are no pass.

    A verdict is that on the messages, with that on the close behind it if it is another one.
    """
    settings = {
        "outdir": str(directory / "reports"),
        "servers": [{"agent": "appserver", "url": address.websocket("/autobahn")}],
        "cases": list(cases),
        "exclude-cases": [],
        "exclude-agent-cases": {},
    }
    (directory / "autobahn.json").write_text(json.dumps(settings))
    run(wstest, "-m", "fuzzingclient", "-s", directory / "autobahn.json")
    verdicts = json.loads((directory / "reports" / "index.json").read_text())["appserver"]
    assert verdicts, "no case was run"
    print(f"{len(verdicts)} cases", file=sys.stderr)
    return {
        case: f"{verdict['behavior']}, {verdict['behaviorClose']}"
        for case, verdict in verdicts.items()
        if not {verdict["behavior"], verdict["behaviorClose"]} <= PASSED
    }
