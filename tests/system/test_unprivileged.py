"""Workers as another user than the master: what they are told, what they may read, and how that is said."""

from __future__ import annotations

import ast
import errno
import os
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.attacker import GROUP, USER, needs_root, public_directory
from tests.support.certificates import Authority
from tests.support.server import ROOT, Server
from tests.support.terminal import Terminal
from tests.support.waiting import eventually

SECRET = "correct horse battery staple"

TELLS_ENVIRONMENT = """
import os, subprocess
from pathlib import Path

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        raise NotImplementedError
    child = subprocess.run(["/usr/bin/env"], capture_output=True, text=True).stdout
    parts = [repr(dict(os.environ)), child]
    parts += [Path(f"/proc/{pid}/environ").read_bytes().decode() for pid in (os.getpid(), os.getppid())]
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": "".join(parts).encode()})
"""

NEEDS_A_PACKAGE = """
import shop_parts

async def app(scope, receive, send):
    raise NotImplementedError
"""


@pytest.fixture
def directory() -> Iterator[Path]:
    with public_directory() as directory:
        yield directory


TYPES = """
import fcntl, os, termios

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        raise NotImplementedError
    found = [os.readlink("/proc/self/fd/0")]
    for number in (1, 2):
        for octet in b"echo typed\\n":
            try:
                fcntl.ioctl(number, termios.TIOCSTI, bytes([octet]))
            except OSError as error:
                found.append(error.strerror)
                break
        else:
            found.append("typed")
        found.append(fcntl.fcntl(number, fcntl.F_GETFL) & os.O_ACCMODE == os.O_WRONLY)
    try:
        os.close(os.open("/dev/tty", os.O_RDWR))
    except OSError as error:
        found.append(error.strerror)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": repr(found).encode()})
"""


@needs_root
def test_the_terminal_of_root_is_not_that_of_the_application(directory: Path) -> None:
    (directory / "typing_site.py").write_text(TYPES)
    command = [sys.executable, "-m", "appserver", "typing_site:app", "--bind", "127.0.0.1:0", "--workers", "1"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "RUNTIME_DIRECTORY": str(directory)}
    terminal = Terminal([*command, "--set", f"workers.user={USER}"], directory, environment)
    with terminal:
        (url,) = eventually(lambda: re.findall(r"serving (http://\S+:\d+)\s", terminal.shown), "it serves")
        with urllib.request.urlopen(url, timeout=60) as response:
            answer = ast.literal_eval(response.read().decode())
        assert answer[1] in (os.strerror(errno.EPERM), os.strerror(errno.EIO)), "EIO: the kernel knows no TIOCSTI"
        assert answer == ["/dev/null", answer[1], True, answer[1], True, os.strerror(errno.ENXIO)]
        eventually(lambda: "GET  /" in terminal.shown, "the worker's lines are shown there")
        terminal.press("\x03")
        assert terminal.wait_for_exit() == 0


@needs_root
def test_a_reload_that_fails_gives_log_files_and_metrics_back_to_the_user_that_goes_on(directory: Path) -> None:
    settings: dict[str, Any] = {
        "workers": {"count": 1, "user": USER},
        "access_log": {"file": str(directory / "access.log")},
        "metrics": {"application": True},
    }
    with Server(directory, settings) as server:
        (worker,) = server.workers()
        server.configure({**settings, "app": {"target": "broken:app"}, "workers": {"count": 1, "user": "daemon"}})
        assert server.reload()["result"] == "rolled_back"
        os.kill(worker.pid, signal.SIGKILL)
        server.wait_for_workers(1, without=[worker.pid])
        assert server.request("/").text == "hello"
        assert not server.log.matching("worker backs off")


@needs_root
def test_while_a_reload_to_another_user_is_on_trial_the_old_workers_are_replaced(directory: Path) -> None:
    access_log = directory / "access.log"
    settings: dict[str, Any] = {
        "workers": {"count": 1, "user": USER},
        "access_log": {"file": str(access_log)},
        "metrics": {"application": True},
        "reload": {"soak": 600},
    }
    with Server(directory, settings) as server:
        (old,) = server.workers()
        server.configure({**settings, "workers": {"count": 1, "user": "daemon"}})
        server.signal(signal.SIGHUP)
        server.log.wait_for("worker ready", generation=2)
        os.kill(old.pid, signal.SIGKILL)
        server.log.wait_for("worker ready", generation=1, count=2)
        assert not server.log.matching("worker backs off")
        access_log.rename(directory / "access.log.1")
        server.signal(signal.SIGUSR1)
        eventually(access_log.exists, "the file is there again")
        assert access_log.owner() == USER
        new = next(worker.pid for worker in server.workers() if worker.worker and worker.worker[1] == 2)
        os.kill(new, signal.SIGKILL)
        assert server.log.wait_for("reload finished")["result"] == "rolled_back"
        assert server.request("/").text == "hello"
        assert access_log.owner() == USER


def test_the_secrets_of_the_settings_reach_neither_workers_nor_their_children(tmp_path: Path) -> None:
    issued = Authority().issue("localhost", password=SECRET)
    certificate, key = issued.write(tmp_path)
    settings = {
        "app": {"target": "tells:app"},
        "listeners": [{"bind": "127.0.0.1:0"}, {"bind": "127.0.0.1:0", "tls": True}],
        "tls": {"certificate": str(certificate), "key": str(key)},
    }
    environment = {"APPSERVER_TLS__KEY_PASSWORD": SECRET, "SHOP_NAME": "the application's own"}
    server = Server(tmp_path, settings, files={"tells.py": TELLS_ENVIRONMENT}, environment=environment)
    with server:
        (zygote,) = server.zygotes()
        told = server.request("/").text
        assert told.count("the application's own") >= 2, "its own variables and those of its children"
        for text in (told, Path(f"/proc/{zygote.pid}/environ").read_bytes().decode()):
            assert SECRET not in text
            assert "KEY_PASSWORD" not in text


@needs_root
class TestUnreadable:
    """Python passes over directories that it may not read, and calls what is there missing."""

    @pytest.fixture
    def packages(self, directory: Path) -> Path:
        """Where a package is, which only root may read."""
        packages = directory / "packages"
        packages.mkdir(mode=0o700)
        (packages / "shop_parts.py").touch()
        (directory / "shop.py").write_text(NEEDS_A_PACKAGE)
        return packages

    def expected(self, packages: Path) -> str:
        return f"the user {USER} (workers.user) may not read {packages}"

    def test_a_package_is_reported_with_the_directory_that_may_not_be_read(
        self, directory: Path, packages: Path
    ) -> None:
        settings = {"app": {"target": "shop:app"}, "workers": {"user": USER, "group": GROUP}}
        server = Server(directory, settings, environment={"PYTHONPATH": f"{packages}:{ROOT}"})
        server.start()
        try:
            assert server.wait_for_exit() == 4
            reason = server.log.matching("boot failed")[0]["reason"]
            assert self.expected(packages) in reason
            assert "chmod -R a+rX" in reason
        finally:
            server.close()

    def test_the_check_says_so_as_well(self, directory: Path, packages: Path) -> None:
        (directory / "server.toml").write_text(
            f'[app]\ntarget = "shop:app"\n[workers]\nuser = "{USER}"\ngroup = "{GROUP}"\n'
        )
        check = subprocess.run(
            [sys.executable, "-m", "appserver", "check", "--config", "server.toml", "--app"],
            cwd=directory,
            env={**os.environ, "PYTHONPATH": f"{packages}:{ROOT}"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert check.returncode == 4
        assert self.expected(packages) in check.stderr
