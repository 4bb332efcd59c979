"""An application in wrong hands: it writes to the channel of the process that it runs in, and into the scoreboard.

    GET /attack/NAME      the worker that answers carries out an attack of `ON_WORKERS`
    a file "attack" whose content is a name of `REPORTS`
                          the zygote that has imported this carries it out when it is asked for its next worker

Whatever it does not know the usual test application answers. The files `victim` and `attack` lie in the working directory.
"""

from __future__ import annotations

import json
import mmap
import os
import socket
import struct
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from appserver.telemetry.scoreboard import Scoreboard
from appserver.worker.messages import Fork, close_all
from appserver.worker.zygote import Zygote
from tests.support.application import Message, Receive, Send
from tests.support.application import app as usual

HERE = Path.cwd()
of_zygote: list[int] = []


def channel() -> socket.socket:
    """The channel of this process: of a worker the only socket of that type."""
    if of_zygote:
        return socket.socket(fileno=os.dup(of_zygote[0]))
    for name in os.listdir("/proc/self/fd"):
        try:
            found = socket.socket(fileno=os.dup(int(name)))
        except OSError:
            continue
        if found.family == socket.AF_UNIX and found.type & 0xF == socket.SOCK_SEQPACKET:
            found.setblocking(True)
            return found
        found.close()
    raise LookupError("this process has no channel")


def say(**content: Any) -> bytes:
    return json.dumps(content).encode()


READY = say(type="Ready")


def send(*data: bytes, fds: tuple[int, ...] = ()) -> None:
    found = channel()
    for one in data:
        if fds:
            socket.send_fds(found, [one], list(fds))
        else:
            found.send(one)


def for_ever(data: bytes, fds: tuple[int, ...] = ()) -> None:
    """Send as much as somebody takes; ends when this process is ended, or when nobody reads."""
    found = channel()
    found.settimeout(5)
    while True:
        try:
            if fds:
                socket.send_fds(found, [data], list(fds))
            else:
                found.send(data)
        except OSError:
            return


def and_die(*data: bytes) -> None:
    send(*data)
    os._exit(9)


def scribble(pattern: bytes) -> None:
    """Fill the scoreboard with something, from its header to its last slot, and die: the master looks at what is left."""
    for fd in map(int, os.listdir("/proc/self/fd")):
        try:
            if "appserver-scoreboard" in str(Path(f"/proc/self/fd/{fd}").readlink()):
                break
        except OSError:
            continue
    board = Scoreboard.attach(fd)
    size = os.fstat(fd).st_size
    memory = mmap.mmap(fd, size)
    content = bytearray((pattern * (size // len(pattern) + 1))[:size])
    for index in range(board.capacity):
        if board.slot(index).pid not in (0, os.getpid()):  # of another worker: what it counts in is its life
            start, end = board._layout.slot(index) * 8, board._layout.slot(index + 1) * 8
            content[start:end] = memory[start:end]
    memory[:] = bytes(content)
    lie = b'["x", [["\\ud800", "/", 1, null, 1]]]'
    for slot in map(board.slot, range(board.capacity)):
        slot._serving[: len(lie)] = lie
        slot._ints[slot._serving_length] = len(lie)
    os._exit(9)


def close_everything() -> None:
    """Close the channel, and live on."""
    for name in os.listdir("/proc/self/fd"):
        try:
            found = socket.socket(fileno=int(name))
        except OSError:
            continue
        if found.family == socket.AF_UNIX and found.type & 0xF == socket.SOCK_SEQPACKET:
            os.close(found.detach())
        else:
            found.detach()


def victim() -> int:
    return int((HERE / "victim").read_text())


ON_WORKERS: dict[str, Callable[[], None]] = {
    "ready-flood": lambda: for_ever(READY),
    "unknown-flood": lambda: for_ever(say(type="Invented")),
    "long-flood": lambda: for_ever(say(type="Invented", more="x" * 100_000)),
    "no-json": lambda: for_ever(b"{"),
    "deep-json": lambda: for_ever(b"[" * 100_000),
    "too-long": lambda: for_ever(b" " * 180_000),
    "descriptors": lambda: for_ever(READY, (0, 1, 2) * 80),
    "another-role": lambda: send(say(type="Forked", worker=1, pid=victim())),
    "late-failure": lambda: send(say(type="BootFailed", kind="bug", message="", traceback="", exit_code=5)),
    "wrong-types": lambda: send(say(type="TasksReported", serial=[1])),
    "no-json-and-exit": lambda: and_die(b"{"),
    "flood-and-exit": lambda: and_die(*[READY] * 50),
    "empty-message": lambda: send(b""),
    "closed-channel": close_everything,
    "scribble-nan": lambda: scribble(struct.pack("d", float("nan"))),
    "scribble-largest": lambda: scribble(struct.pack("q", 2**63 - 1)),
    "scribble-negative": lambda: scribble(struct.pack("q", -1)),
}

REPORTS: dict[str, Callable[[Fork], None]] = {
    "names-a-stranger": lambda order: send(say(type="Forked", worker=order.worker, pid=victim())),
    "names-a-group": lambda order: send(say(type="Forked", worker=order.worker, pid=-victim())),
    "names-the-master": lambda order: send(say(type="Forked", worker=order.worker, pid=os.getppid())),
    "names-itself": lambda order: send(say(type="Forked", worker=order.worker, pid=os.getpid())),
    "names-a-huge-number": lambda order: send(say(type="Forked", worker=order.worker, pid=2**80)),
    "unknown-worker": lambda order: send(say(type="Forked", worker=12345, pid=os.getpid())),
    "imported-again": lambda order: for_ever(say(type="Imported", preloaded=True)),
    "gives-up-again": lambda order: for_ever(say(type="PreloadGivenUp")),
    "refuses-for-ever": lambda order: for_ever(say(type="ForkRefused", worker=order.worker, reason="x" * 10_000)),
    "no-json": lambda order: for_ever(b"{"),
    "descriptors": lambda order: for_ever(say(type="ForkRefused", worker=order.worker, reason=""), (0, 1, 2) * 80),
    "empty-message": lambda order: send(b""),
    "says-nothing": lambda order: None,
}

_fork = Zygote._fork


def fork(self: Zygote, order: Fork, fds: Sequence[int]) -> None:
    try:
        attack = (HERE / "attack").read_text()
    except FileNotFoundError:
        return _fork(self, order, fds)
    of_zygote.append(self._channel.fileno())
    (HERE / "attack").unlink()
    REPORTS[attack](order)
    close_all(fds)
    return None


Zygote._fork = fork  # type: ignore[method-assign,method-assign]


async def app(scope: Message, receive: Receive, send: Send) -> None:
    """Attack, or do what the usual application does."""
    if scope["type"] == "http" and scope["path"].startswith("/attack/"):
        ON_WORKERS[scope["path"].removeprefix("/attack/")]()
        scope = {**scope, "path": "/"}
    await usual(scope, receive, send)
