"""The scene of a fault: a server with the application that misbehaves on demand, and load whose figures are printed."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self

import pytest

from tests.support.address import Address
from tests.support.load import Load
from tests.support.server import Server
from tests.support.waiting import eventually

Settings = dict[str, Any]

either_preload = pytest.mark.parametrize("preload", [False, True], ids=["", "preload"])

FAULTY = Path(__file__).with_name("faulty.py")


def faulty(workers: Mapping[str, Any], **sections: Any) -> Settings:
    """Settings that serve the application that misbehaves."""
    return {"app": {"target": "faulty:app"}, "workers": dict(workers), **sections}


def files() -> dict[str, str]:
    """That application, for the server's directory, where it finds the usual one beside it.

    In the tests' own directory it would not: another user, as which some tests run it, may not be allowed to look there.
    """
    return {"faulty.py": FAULTY.read_text().replace("from tests.support.application import", "from application import")}


@contextmanager
def measured_load(address: Address, what: str, **options: Any) -> Iterator[Load]:
    """Load as `Load` makes it; at the end its figures are printed."""
    began = time.monotonic()
    load = Load(address, **options)
    try:
        with load:
            yield load
    finally:
        tally = load.tally
        seconds = time.monotonic() - began
        print(f"{what}: {tally.requests} requests, {tally.failed} failed, {seconds:.1f} s", *tally.details, sep="\n  ")


def holders(server: Server, part: str) -> list[str]:
    """The processes of the server that have a file open whose name contains `part`."""
    found = []
    for process in server.processes():
        with suppress(FileNotFoundError):  # it has ended
            for fd in Path(f"/proc/{process.pid}/fd").iterdir():
                with suppress(FileNotFoundError):  # it has closed this one
                    if part in str(fd.readlink()):
                        found.append(process.title)
    return found


class Victims:
    """Requests that never come back, each on a connection of its own; left open until the block ends."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._connections: list[Any] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for connection in self._connections:
            connection.close()

    def send(self, action: str) -> int:
        """Send the request; returns the pid of the worker that it has reached."""
        before = set(self._marks(action))
        connection = self._server.address.connect()
        self._connections.append(connection)
        connection.sendall(b"GET /%s HTTP/1.1\r\nHost: test\r\n\r\n" % action.encode())
        reached = eventually(lambda: set(self._marks(action)) - before, f"a worker is at /{action}")
        return int(reached.pop().name.split("-")[1])

    def _marks(self, action: str) -> list[Path]:
        return list(self._server.directory.glob(f"reached-*-{action}"))
