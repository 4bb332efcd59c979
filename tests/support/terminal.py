"""A program at a terminal of its own: what it shows, and what somebody types."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import signal
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.support import processes

# Becomes the leader of a session with that terminal, as a login shell does, and then the program.
_LOGIN = "import os, sys; os.login_tty(int(sys.argv[1])); os.execv(sys.argv[2], sys.argv[2:])"
# Control sequences (ECMA-48): colours, and how line editors move the cursor and insert what is typed.
_CONTROL = re.compile(r"\x1b(?:\[[0-9;?]*[@-~]|[=>])")


class Terminal:
    """24 lines of 80 columns. Leaving the block ends the program, and whatever it has started."""

    def __init__(self, command: Sequence[str], directory: Path, environment: Mapping[str, str]) -> None:
        self._master, slave = pty.openpty()
        termios.tcsetwinsize(slave, (24, 80))
        self._process = subprocess.Popen(
            [sys.executable, "-c", _LOGIN, str(slave), *command], cwd=directory, env=environment, pass_fds=[slave]
        )
        os.close(slave)
        self._shown = ""
        self._arrived = threading.Condition()
        self._reader = threading.Thread(target=self._read, name="terminal", daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def shown(self) -> str:
        """All that has been shown, without control sequences, each end of a line as a line feed."""
        return _CONTROL.sub("", self._shown).replace("\r\n", "\n").replace("\n\r", "\n")

    def _read(self) -> None:
        while True:
            try:
                data = os.read(self._master, 65536)
            except OSError:  # EIO: the last one who had the terminal has closed it
                data = b""
            with self._arrived:
                self._shown += data.decode(errors="replace")
                self._arrived.notify_all()
            if not data:
                return

    def press(self, keys: str) -> None:
        os.write(self._master, keys.encode())

    def wait_for(self, text: str, *, count: int = 1, since: int = 0, timeout: float = 40.0) -> None:
        """Wait until a text has been shown `count` times, behind the first `since` characters."""
        deadline = time.monotonic() + timeout
        with self._arrived:
            while self.shown[since:].count(text) < count:
                left = deadline - time.monotonic()
                assert left > 0, f"not shown within {timeout} s: {text!r}\n{self.shown}"
                self._arrived.wait(left)

    def wait_for_exit(self, timeout: float = 40.0) -> int:
        """Wait for the end of the program, and for what it has shown last; returns its exit code."""
        code = self._process.wait(timeout)
        self._reader.join(5)  # it ends when nobody has the terminal any more
        return code

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        while members := processes.in_session(self.pid):
            for member in members:
                with contextlib.suppress(ProcessLookupError):  # some end by themselves when others have
                    os.kill(member.pid, signal.SIGKILL)
        self._process.wait()
        self._reader.join(5)
        os.close(self._master)
        print(self.shown)
