"""The pid file (`admin.pid_file`)."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from appserver.errors import PidFileError


class PidFile:
    """Written while the server runs. A file that a killed server left behind does not stop the next one."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def write(self) -> None:
        """Write this process's pid, whole or not at all.

        Raises PidFileError when that is not possible, or when the server that the file names is running.
        """
        holder = self._holder()
        if holder is not None and holder != os.getpid():
            raise PidFileError(f"admin.pid_file = {str(self._path)!r}: process {holder} named in it is running")
        temporary = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        try:
            temporary.write_text(f"{os.getpid()}\n")
            temporary.replace(self._path)
        except OSError as error:
            raise PidFileError(f"admin.pid_file = {str(self._path)!r}: cannot be written: {error.strerror}") from error

    def remove(self) -> None:
        """Remove the file if it is still this process's."""
        with contextlib.suppress(OSError):
            if self._read() == os.getpid():
                self._path.unlink()

    def _holder(self) -> int | None:
        """The running server that the file names; None where there is none (any more)."""
        pid = self._read()
        if pid is None:
            return None
        try:
            title = Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            return None
        # A pid is given to another program sooner or later: one that is not a server does not count, be it an editor that
        # has appserver.toml open. The title is that of `program`, set before the file is written.
        return pid if title.startswith(b"appserver: master") else None

    def _read(self) -> int | None:
        try:
            return int(self._path.read_text())
        except (OSError, ValueError):
            return None
