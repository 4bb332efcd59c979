"""A process without privileges that attacks a server which has some: as the user that the workers run as, in a loop.

    with Attacker(script, directory) as attacker:
        ...
    print(attacker.attempts, "attempts")

The script is Python: the body of a loop, with the arguments as `args` and whatever the preparation has defined. It starts
as root and gives that up once its modules are imported, because the interpreter may lie where others cannot read.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

USER, GROUP = "nobody", "nogroup"
UID = pwd.getpwnam(USER).pw_uid

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to run workers as another user")

_PROGRAM = """
import contextlib, fcntl, mmap, os, pwd, setproctitle, signal, socket, stat, struct, sys, time
args = sys.argv[1:]
user = pwd.getpwnam("nobody")
os.setgroups([])
os.setresgid(user.pw_gid, user.pw_gid, user.pw_gid)
os.setresuid(user.pw_uid, user.pw_uid, user.pw_uid)
running = True
def end(*_):
    global running
    running = False
signal.signal(signal.SIGTERM, end)
attempts = successes = 0
{preparation}
print("ready", flush=True)
while running:
    attempts += 1
    try:
{attempt}
    except OSError:
        pass
print(attempts, successes, flush=True)
"""


class Attacker:
    """Runs from the beginning of the block to its end; then `attempts` and `successes` are what it has counted."""

    def __init__(self, attempt: str, *args: object, preparation: str = "") -> None:
        program = _PROGRAM.format(
            attempt=textwrap.indent(textwrap.dedent(attempt), " " * 8), preparation=textwrap.dedent(preparation)
        )
        self._command = [sys.executable, "-c", program, *map(str, args)]
        self.attempts = self.successes = 0

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(self._command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n"
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._process.send_signal(signal.SIGTERM)
        try:
            answer, _ = self._process.communicate(timeout=40)
        finally:
            self._process.kill()
        self.attempts, self.successes = map(int, answer.split())


@contextmanager
def public_directory() -> Iterator[Path]:
    """A directory that every user can enter, unlike those that pytest makes."""
    directory = Path(tempfile.mkdtemp(prefix="appserver-test-"))
    try:
        directory.chmod(0o755)
        yield directory
    finally:
        shutil.rmtree(directory)


def give_to_attacker(directory: Path) -> Path:
    """Make a directory of the attacker's."""
    directory.mkdir()
    shutil.chown(directory, USER, GROUP)
    return directory
