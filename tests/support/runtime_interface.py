"""AWS's own Runtime Interface Emulator: the program, out of the wheel of aws-sam-cli."""

from __future__ import annotations

import platform
import subprocess
import sys
import zipfile
from pathlib import Path

PATH = "/2015-03-31/functions/function/invocations"
"""Where it takes events."""


def fetch(directory: Path) -> Path:
    """Download it into a directory; returns the program, `aws-lambda-rie`."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(directory), "aws-sam-cli"]
    subprocess.run(command, check=True, timeout=300)
    [wheel] = directory.glob("*.whl")
    machine = {"x86_64": "x86_64", "aarch64": "arm64"}[platform.machine()]
    program = directory / "aws-lambda-rie"
    with zipfile.ZipFile(wheel) as content:
        program.write_bytes(content.read(f"samcli/local/rapid/aws-lambda-rie-{machine}"))
    program.chmod(0o755)
    wheel.unlink()
    return program
