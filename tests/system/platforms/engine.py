"""Containers by podman, with a storage of their own, that run where no engine for containers is set up.

The tests may themselves run in a container without control groups of its own: containers then are in none, share the
network of the tests, and get limits of their own instead of those that podman would like to raise.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.support.address import Address, Response
from tests.support.proxies import free_ports
from tests.support.server import Log
from tests.support.waiting import eventually
from tests.system.platforms.debian import ROOT, run

# Gives podman a view of its own of the control groups, version 2, whatever the machine has. What comes before sees what it
# has; the program and its arguments follow.
_IN_OWN_MOUNTS = '{before}; umount -R /sys/fs/cgroup 2>/dev/null; mount -t cgroup2 none /sys/fs/cgroup && exec "$@"'

# A file of Python that has been compiled; one with bytecode stands in quotation marks.
_COMPILED = re.compile(r"# code object from (/.*\.py)$", re.MULTILINE)


class Engine:
    """Builds images and runs containers, all in one directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        places = (f"--root={directory}/storage", f"--runroot={directory}/run", f"--tmpdir={directory}/tmp")
        self._podman = ("podman", *places, "--cgroup-manager=cgroupfs", "--events-backend=file")

    def call(self, *arguments: str | Path, timeout: float = 300.0) -> str:
        """Call podman, and return what it prints."""
        return run(*self._podman, *arguments, timeout=timeout)

    def import_tree(self, tree: Path, name: str) -> None:
        """Make an image of a directory. Like the official images of Python it has no bytecode."""
        archive = self.directory / "tree.tar"
        run("tar", "--create", "--exclude=__pycache__", f"--file={archive}", f"--directory={tree}", ".")
        self.call("import", archive, name)
        archive.unlink()

    def build(self, context: Path, name: str, *, base: str, wheels: Path, file: Path | None = None) -> None:
        """Build an image from the Dockerfile of a directory, or from `file`, with packages of Python from `wheels` only."""
        # As the README says it: podman leaves HEALTHCHECK out of an image in its default format, OCI.
        arguments = {"BASE": base, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "/wheels"}
        self.call(
            *("build", "--format", "docker", "--isolation=chroot", f"--volume={wheels}:/wheels:ro", f"--tag={name}"),
            *(f"--build-arg={key}={value}" for key, value in arguments.items()),
            *(() if file is None else (f"--file={file}",)),
            context,
        )

    def inspect(self, image: str) -> dict[str, Any]:
        """The configuration of an image."""
        [found] = json.loads(self.call("image", "inspect", image))
        return {**found["Config"], "Healthcheck": found["Healthcheck"]}

    def command(self, *arguments: str, before: str = "true", network: str = "host") -> list[str]:
        """The command that runs `podman run` with these arguments; `before` is shell text that comes first."""
        limits = ("--ulimit=nofile=1024:1024", "--ulimit=nproc=1000:1000")
        podman = [*self._podman, "run", "--rm", f"--network={network}", "--cgroups=disabled", *limits, *arguments]
        return ["unshare", "--mount", "bash", "-c", _IN_OWN_MOUNTS.format(before=before), "podman", *podman]


def compiled(output: str) -> list[str]:
    """The modules that had no bytecode, by what a Python with PYTHONVERBOSE=1 has printed."""
    assert "# code object from" in output
    return _COMPILED.findall(output)


@contextmanager
def one_cpu_granted(directory: Path) -> Iterator[tuple[str, list[str]]]:
    """A control group with the quota of one CPU: what `Container` takes as `before`, and as options.

    Where the machine has the controller in version 1, the container sees its group as engines for containers mount it there.
    """
    unified = "cpu" in _read(Path("/sys/fs/cgroup/cgroup.controllers")).split()
    group = Path("/sys/fs/cgroup" if unified else "/sys/fs/cgroup/cpu") / f"appserver-test-{os.getpid()}"
    group.mkdir()
    try:
        if unified:
            (group / "cpu.max").write_text("100000 100000")
            yield f"echo $$ > {group}/cgroup.procs", []
        else:
            (group / "cpu.cfs_quota_us").write_text("100000")
            view = directory / "cgroup"
            (view / "cpu").mkdir(parents=True)
            yield f"mount --bind {group} {view}/cpu && echo $$ > {group}/tasks", [f"--volume={view}:/sys/fs/cgroup:ro"]
    finally:
        eventually(lambda: _remove(group), "the control group can be removed")


def _read(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def _remove(group: Path) -> bool:
    try:
        group.rmdir()
    except OSError:  # something is still in it
        return False
    return True


class Contained:
    """A process in a container, which runs with the block. The block begins when it is up."""

    def __init__(
        self,
        engine: Engine,
        image: str,
        name: str,
        *options: str,
        environment: Mapping[str, str],
        before: str = "true",
        network: str = "host",
    ) -> None:
        """`options` are those of `podman run`, `environment` more variables than the image has; the rest as of `command`."""
        variables = (f"--env={key}={value}" for key, value in environment.items())
        self._pid_file = engine.directory / f"{name}.pid"
        named = (f"--conmon-pidfile={self._pid_file}", f"--name={name}")
        self._command = engine.command(*named, *variables, *options, image, before=before, network=network)
        self.name = name
        self._engine = engine
        self._image = image

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            self._command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT
        )
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        self.output, self.log = Log(self._process.stdout, "stdout"), Log(self._process.stderr, "stderr")
        try:
            self._wait_until_up()
        except BaseException:
            self.close()
            raise
        return self

    def _wait_until_up(self) -> None:
        """Wait until it can be used. Raises AssertionError if it will not be."""
        raise NotImplementedError

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """End it, and print its log."""
        if self._process.poll() is None:
            with contextlib.suppress(OSError):  # it may be about to end by itself
                self.signal(signal.SIGKILL)
            self._process.wait(30)
        for log in (self.log, self.output):
            log.join(5)
        print(f"--- {self.name}\n{self.log.text}\n{self.output.text}")

    @property
    def pid(self) -> int:
        """Its process number 1, as it is numbered here."""
        return int(eventually(self._children, "the container has a process")[0])

    def _children(self) -> list[str]:
        ended = self._process.poll() is not None
        conmon = _read(self._pid_file)  # written when there is a container
        children = _read(Path(f"/proc/{conmon}/task/{conmon}/children")).split() if conmon else []
        assert children or not ended, f"{self.name} has ended"
        return children

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to its process number 1."""
        os.kill(self.pid, number)

    def stop(self) -> int:
        """TERM, and the exit code of the container."""
        self.signal(signal.SIGTERM)
        return self.wait()

    def wait(self) -> int:
        """The exit code, when it has ended."""
        code = self._process.wait(60)
        for log in (self.log, self.output):
            log.join(5)
        return code


class Container(Contained):
    """A server in a container."""

    def __init__(
        self,
        engine: Engine,
        image: str,
        name: str,
        *options: str,
        settings: Mapping[str, str] | None = None,
        before: str = "true",
    ) -> None:
        """`settings` are variables for the environment; the rest as above."""
        self.address, self.admin = (Address("127.0.0.1", port) for port in free_ports(2))
        environment = {
            "APPSERVER_LISTENERS": json.dumps([{"bind": str(self.address)}]),
            "APPSERVER_ADMIN__BIND": str(self.admin),
            **(settings or {}),
        }
        super().__init__(engine, image, name, *options, environment=environment, before=before)

    def _wait_until_up(self) -> None:
        self.log.wait_for("serving", timeout=60)

    def request(self, target: str = "/", *, timeout: float = 30.0) -> Response:
        """One request on a connection of its own."""
        return self.address.request("GET", target, timeout=timeout)

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command inside, as its user and with the environment of the image."""
        status = dict(
            line.split(":\t", 1) for line in Path(f"/proc/{self.pid}/status").read_text().splitlines() if "\t" in line
        )
        user = (f"--setuid={status['Uid'].split()[0]}", f"--setgid={status['Gid'].split()[0]}")
        enter = ["nsenter", f"--target={self.pid}", "--all", *user, "--wdns=/srv/app"]
        # Not that of the process: its memory is where the title of the process is written.
        environment = dict(variable.split("=", 1) for variable in self._engine.inspect(self._image)["Env"])
        return subprocess.run(
            [*enter, *command], capture_output=True, text=True, timeout=60, check=False, env=environment
        )
