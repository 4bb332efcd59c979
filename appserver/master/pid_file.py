"""The pid file (`admin.pid_file`)."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from appserver import files
from appserver.errors import PidFileError

_SIZE = 32


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
        try:
            files.replace(self._path, f"{os.getpid()}\n".encode())
        except OSError as error:
            raise PidFileError(f"admin.pid_file = {str(self._path)!r}: cannot be written: {error.strerror}") from error

    def remove(self) -> None:
        """Remove the file if it is still this process's."""
        with contextlib.suppress(OSError):
            if self._read() == os.getpid():
                files.remove(self._path)

    def _holder(self) -> int | None:
        """The running server that the file names; None where there is none (any more)."""
        pid = self._read()
        if pid is None:
            return None
        try:
            process = Path(f"/proc/{pid}")
            title = process.joinpath("cmdline").read_bytes()
            owner = process.stat().st_uid
        except OSError:
            return None
        # A pid is given to another program sooner or later: one that is not a server does not count, be it an editor that
        # has appserver.toml open. The title is that of `program`, set before the file is written. Another user may take
        # any title, and must not keep this server from starting.
        is_server = title.startswith(b"appserver: master") and owner in (0, os.geteuid())
        return pid if is_server else None

    def _read(self) -> int | None:
        try:
            return int(files.read_small(self._path, _SIZE))
        except (OSError, ValueError):
            return None
