"""A booted Debian with a real systemd, and instances of `appserver@.service` in it.

The machine is a container of systemd-nspawn that shares the network of the tests: a port that an instance listens on can
be connected to from here. Commands enter it by `nsenter`, as `machinectl shell` would.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.support import application, toml
from tests.support.address import Address, Response
from tests.support.waiting import eventually
from tests.system.platforms.debian import ROOT

BOOT_TIMEOUT = 60.0
ENVIRONMENT = "/opt/appserver"

Entry = dict[str, Any]


class Machine:
    """Boots with the block, and is powered off at its end."""

    def __init__(self, tree: Path) -> None:
        self.tree = tree
        self._console = tree.parent / f"{tree.name}.console"

    def __enter__(self) -> Self:
        command = ["systemd-nspawn", "--quiet", "--register=no", "--keep-unit", f"--directory={self.tree}", "--boot"]
        with self._console.open("wb") as console:
            self._process = subprocess.Popen(
                [*command, "--console=pipe"],
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                env={**os.environ, "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"},
                start_new_session=True,
            )
        try:
            eventually(self._is_up, "the machine is up", timeout=BOOT_TIMEOUT)
        except BaseException:
            print(self._console.read_text(errors="replace"))
            self.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Power off, or end it the hard way."""
        if self._leader():
            self.run("systemctl", "poweroff", check=False)
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def run(self, *command: str, check: bool = True, timeout: float = 90.0) -> subprocess.CompletedProcess[str]:
        """Run a command in the machine, as root."""
        enter = [
            "nsenter",
            f"--target={self._leader()}",
            "--all",
            "env",
            "-i",
            "PATH=/usr/sbin:/usr/bin",
            "LC_ALL=C.UTF-8",
        ]
        result = subprocess.run([*enter, *command], capture_output=True, text=True, timeout=timeout, check=False)
        assert not check or result.returncode == 0, f"{command}: {result.returncode}: {result.stdout}{result.stderr}"
        return result

    def _leader(self) -> int:
        """The process that is number 1 inside; 0 if there is none."""
        try:
            return int(Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()[0])
        except (OSError, IndexError):
            return 0

    def _is_up(self) -> bool:
        assert self._process.poll() is None, "systemd-nspawn has ended"
        if not self._leader():
            return False
        state = self.run("systemctl", "is-system-running", check=False).stdout.strip()
        assert state != "degraded", self.run("systemctl", "--failed", check=False).stdout
        return state == "running"


class Instance:
    """One instance of the service: its files, its unit, its journal. `machine` need not be booted to prepare it."""

    def __init__(self, machine: Machine, name: str, settings: Mapping[str, Any], *, limits: str = "") -> None:
        """Write its files. `limits` are lines for the [Service] section, in a drop-in."""
        self.machine = machine
        self.name = name
        self.unit = f"appserver@{name}.service"
        self.directory = machine.tree / "srv" / name
        self.directory.mkdir()
        (self.directory / ".venv").symlink_to(ENVIRONMENT)
        shutil.copy(application.__file__, self.directory / "application.py")
        self.configure(settings)
        if limits:
            self.drop_in("test.conf", f"[Service]\n{limits}\n")

    # Its files

    def configure(self, settings: Mapping[str, Any]) -> None:
        """Write the settings."""
        file = self.machine.tree / "etc/appserver" / f"{self.name}.toml"
        file.parent.mkdir(exist_ok=True)
        control = {"control": f"/run/appserver/{self.name}/control.sock"}
        defaults = {"app": {"target": "application:app"}, "workers": {"count": 1}, "admin": control}
        file.write_text(toml.dumps({**defaults, **settings}))

    def drop_in(self, name: str, text: str, *, of: str = "service") -> None:
        """Write a drop-in of its unit; a booted machine has to `daemon-reload`."""
        folder = self.machine.tree / f"etc/systemd/system/appserver@{self.name}.{of}.d"
        folder.mkdir(exist_ok=True)
        (folder / name).write_text(text)

    def write(self, source: str) -> None:
        """Deploy other code, later than what was there by seconds: a .pyc is compared by size and whole second."""
        file = self.directory / "application.py"
        after = file.stat().st_mtime + 2
        file.write_text(source)
        os.utime(file, (after, after))

    def deploy_version(self, version: str, *, before: str = "") -> None:
        """Deploy the usual application, in which `/version` answers this; the lines `before` run first."""
        source = Path(application.__file__).read_text().replace('VERSION = "1"', f'VERSION = "{version}"')
        self.write(source.replace("import asyncio\n", f"import asyncio\n{before}\n", 1))

    # Its unit

    def systemctl(self, verb: str, *options: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return self.machine.run("systemctl", verb, *options, self.unit, check=check)

    def show(self, name: str) -> str:
        """A property of the unit."""
        return self.systemctl("show", f"--property={name}", "--value").stdout.strip()

    def command(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """One of appserver's own commands, by root, as the README has it."""
        config = f"/etc/appserver/{self.name}.toml"
        return self.machine.run(f"{ENVIRONMENT}/bin/appserver", *words, "--config", config, check=check)

    def wait_until(self, name: str, value: str, *, timeout: float = 30.0) -> None:
        """Wait until a property has a value."""
        eventually(lambda: self.show(name) == value, f"{self.unit}: {name} is {value}", timeout=timeout)

    def wait_until_journal_has(self, text: str, *options: str, timeout: float = 30.0) -> Entry:
        """The first entry with this in its message; options as of journalctl."""

        def look() -> list[Entry]:
            return [entry for entry in self.journal(*options) if text in entry["MESSAGE"]]

        return eventually(look, f"{self.unit}: {text!r} in the journal", timeout=timeout)[0]

    def journal(self, *options: str) -> Sequence[Entry]:
        """What the journal has of the unit."""
        lines = self.machine.run("journalctl", "--unit", self.unit, "--output=json", "--all", *options).stdout
        return [json.loads(line) for line in lines.splitlines()]

    def pids(self) -> list[int]:
        """Its processes, as the machine numbers them."""
        group = self.show("ControlGroup")
        return [int(pid) for pid in self.machine.run("cat", f"/sys/fs/cgroup{group}/cgroup.procs").stdout.split()]

    def close(self) -> None:
        """Stop it, and forget what has failed; print its journal, for a test that has failed."""
        print(f"--- {self.unit}: {self.show('ActiveState')}, {self.show('StatusText')!r}")
        for entry in self.journal():
            print(entry["PRIORITY"], entry["MESSAGE"])
        self.machine.run("systemctl", "stop", f"appserver@{self.name}.socket", self.unit, check=False)
        self.systemctl("reset-failed", check=False)


def request(address: Address, target: str = "/", *, timeout: float = 30.0) -> Response:
    """One request on a connection of its own."""
    return address.request("GET", target, timeout=timeout)


def install_units(tree: Path) -> None:
    """Put the units where systemd finds them."""
    place = tree / "etc/systemd/system"
    for unit in (ROOT / "systemd").glob("appserver@.*"):
        if unit.is_file():
            shutil.copy(unit, place)
