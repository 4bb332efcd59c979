"""A small Debian 13 in a directory: what a machine is booted from, and what an image for containers is made of.

It is made by debootstrap, as root, in less than a minute. `wheels` are the package as it would be published and what it
depends on, for the Python of that Debian.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

SUITE = "trixie"
PYTHON = "3.13"
PACKAGES = ("systemd", "systemd-sysv", "dbus", "python3", "python3-venv")
ROOT = Path(__file__).parents[3]
TIMEOUT = 400.0


def run(*command: str | Path, timeout: float = TIMEOUT, stdin: int = subprocess.DEVNULL) -> str:
    """Run a program to its end; AssertionError with all that it printed, unless it succeeds."""
    result = subprocess.run(
        [*map(str, command)],
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=timeout,
        text=True,
        check=False,
        cwd=ROOT,
        env={**os.environ, "LC_ALL": "C.UTF-8"},
    )
    assert result.returncode == 0, f"{command} ended with {result.returncode}:\n{result.stdout}"
    return result.stdout


def build_tree(directory: Path) -> Path:
    """Install Debian into a directory."""
    assert os.getuid() == 0, "a machine is made by root: run these tests as root"
    run("debootstrap", "--variant=minbase", f"--include={','.join(PACKAGES)}", SUITE, directory)
    for package in (directory / "var/cache/apt/archives").glob("*.deb"):
        package.unlink()
    return directory


def build_wheels(directory: Path, *extras: str) -> Path:
    """Collect the package and everything that it depends on, with some more packages."""
    pip = (sys.executable, "-m", "pip")
    run(*pip, "wheel", "--quiet", "--no-deps", "--wheel-dir", directory, ROOT)
    [package] = directory.glob("appserver_asgi-*.whl")
    platforms = [
        f"--platform={name}_{os.uname().machine}" for name in ("manylinux_2_28", "manylinux_2_17", "manylinux2014")
    ]
    python = f"--python-version={PYTHON}"
    run(*pip, "download", "--quiet", "--dest", directory, python, "--only-binary=:all:", *platforms, package, *extras)
    return directory


def make_environment(tree: Path, wheels: Path, place: str, packages: Sequence[str]) -> None:
    """Make a virtual environment inside the tree, and install packages from the wheels."""
    inside = tree / "tmp/wheels"
    run("cp", "-r", wheels, inside)
    run("chroot", tree, "python3", "-m", "venv", place)
    pip = ("chroot", tree, "env", "-i", f"{place}/bin/pip", "--isolated", "install", "--quiet", "--no-index")
    run(*pip, "--find-links=/tmp/wheels", *packages)
    run("rm", "-r", inside)
