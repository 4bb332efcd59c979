"""What master, zygotes and workers say to each other, and the channel that carries it.

A channel is one end of a `SOCK_SEQPACKET` socket pair: a message is one datagram of JSON, order is kept, and the end of
one side is the end-of-file of the other. That end-of-file is the lifeline: only the master holds its end of a channel,
so a zygote or worker that reads end-of-file knows that the master is gone.

    master → zygote    `Fork` (with two descriptors: the worker's channel, and a file for its stacks), `ReopenLogs`,
                       `RenewTLS` (with a descriptor: a file to read, for what is too long for a message)
    zygote → master    `Imported`, `PreloadGivenUp` or `BootFailed`, then `Forked` or `ForkRefused` for each `Fork`
    master → worker    `Drain`, `ReopenLogs`, `ReportTasks` (with a descriptor: the file to write into), `RenewTLS` (as above)
    worker → master    `Ready` or `BootFailed`; `TasksReported` for each `ReportTasks`; `StoppedAccepting` in a drain

The two directions differ in trust. Orders come from the master, which may do anything anyway. Reports come from processes
that run the application as `workers.user`, which may be in the hands of an attacker: `Channel.receive_report` takes nothing
but one whole message of known types, and never a descriptor. Whether it is that process's turn to say so is judged by
`master.conversation`. `Forked` and `ForkRefused` say all that the supervisor wants to know, so they are its events.

What a zygote needs to boot may be too much for a datagram: it is a `ZygoteBoot`, written to an anonymous file that the
zygote inherits.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from math import isfinite
from typing import Any, Literal, get_args, get_origin, get_type_hints

from appserver.errors import ChannelError
from appserver.supervision.events import Forked, ForkRefused

DrainReason = Literal["reload", "stop", "recycle", "scale_down"]

# The argument with which the master starts a zygote in the place of one that has given a preload up.
WITHOUT_PRELOAD = "--without-preload"

# Has a worker write the stacks of its threads into the file that came with its `Fork`. A real-time signal: applications
# and libraries use the named ones.
STACKS_SIGNAL = signal.SIGRTMIN + 5

# A datagram has to fit into the socket's send buffer, about 208 KiB by default. The longest message is a `BootFailed`; a
# character of its texts takes up to six octets as JSON. One of a text that is JSON already takes up to two.
MAX_MESSAGE_SIZE = 128 * 1024
MAX_SUMMARY_LENGTH = 2 * 1024
MAX_TEXT_LENGTH = 48 * 1024
MAX_TRACEBACK_LENGTH = 16 * 1024


@dataclass(frozen=True, slots=True)
class Fork:
    """Fork a worker. Two descriptors come with it: the worker's end of its channel, and the file for its stacks."""

    worker: int
    number: int


@dataclass(frozen=True, slots=True)
class Imported:
    """The zygote can fork workers; `preloaded` says whether the application is imported in it already."""

    preloaded: bool


@dataclass(frozen=True, slots=True)
class PreloadGivenUp:
    """The zygote has imported the application, and must not fork with what this has left behind; it exits.

    Another one is to be started in its place, without preload.
    """


@dataclass(frozen=True, slots=True)
class BootFailed:
    """A zygote or a worker cannot come up; it exits right after saying so.

    `kind` is "import" (exit code 4), "startup" (5) or "bug" (70); `traceback` is the application's, as text.
    """

    kind: Literal["import", "startup", "bug"]
    message: str
    traceback: str
    exit_code: int


@dataclass(frozen=True, slots=True)
class Ready:
    """The worker accepts connections."""


@dataclass(frozen=True, slots=True)
class Drain:
    """Stop accepting, finish what runs, exit. All durations in seconds, as in the settings of the worker's master."""

    reason: DrainReason
    linger: float


@dataclass(frozen=True, slots=True)
class ReopenLogs:
    """Open log files anew, after a rotation."""


@dataclass(frozen=True, slots=True)
class ReportTasks:
    """Write where the tasks of the event loop are into the file that comes with it, and answer with the same `serial`."""

    serial: int


@dataclass(frozen=True, slots=True)
class RenewTLS:
    """Use other certificates from the next connection on: `material` (as JSON), or what is in the file that comes with it.

    The kernel drops a descriptor for which the receiver has no room, and says nothing to the sender (unix(7)). So the file is for
    a material that is too long, and for a receiver of an older version.
    """

    material: str = ""

    @classmethod
    def of(cls, material: str) -> RenewTLS:
        return cls(material if len(material) <= MAX_TEXT_LENGTH else "")

    def read(self, fds: Sequence[int]) -> str:
        """Return the material, and close the descriptors that came with it; empty if it has not arrived."""
        try:
            return self.material or (read_file(os.dup(fds[0])) if fds else "")
        finally:
            close_all(fds)


@dataclass(frozen=True, slots=True)
class TasksReported:
    """The worker's event loop has done what `ReportTasks` asks for."""

    serial: int


@dataclass(frozen=True, slots=True)
class StoppedAccepting:
    """The worker has taken what the backlog held when it was told to drain, and takes no more."""


Message = (
    Fork
    | Imported
    | PreloadGivenUp
    | BootFailed
    | Forked
    | ForkRefused
    | Ready
    | Drain
    | ReopenLogs
    | ReportTasks
    | RenewTLS
    | TasksReported
    | StoppedAccepting
)

_TYPES: dict[str, type[Message]] = {kind.__name__: kind for kind in get_args(Message)}
_FIELDS: dict[str, dict[str, Any]] = {name: get_type_hints(kind) for name, kind in _TYPES.items()}
_LARGEST_INTEGER = 2**63 - 1


@dataclass(frozen=True, slots=True)
class ListenerGrant:
    """A listening socket that the zygote inherits: its descriptor and the name that logs and metrics show.

    `bound_here` says that the master has bound it, so that nobody else listens on it when the master is gone.
    """

    fd: int
    name: str
    tls: bool = False
    proxy_protocol: bool = False
    bound_here: bool = False


@dataclass(frozen=True, slots=True)
class ZygoteBoot:
    """All that a zygote needs: `settings` as JSON, the descriptors it inherits, and the pid of the master.

    `layout` says how the scoreboard is laid out, which the zygote does not read from where every worker can write.
    `tls` is the `Material` for listeners that encrypt, as JSON: the master may read the files, the zygote may not.
    `stacks` is the descriptor of the file for the zygote's own stacks; -1: there is none.
    """

    master: int
    generation: int
    settings: str
    scoreboard: int
    listeners: tuple[ListenerGrant, ...]
    tls: str | None = None
    layout: str = ""
    stacks: int = -1

    def descriptors(self) -> list[int]:
        """The inherited descriptors."""
        return [self.scoreboard, *(grant.fd for grant in self.listeners)]

    def dump(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def load(cls, text: str) -> ZygoteBoot:
        content = json.loads(text)
        content["listeners"] = tuple(ListenerGrant(**grant) for grant in content["listeners"])
        return cls(**content)


class Channel:
    """One end of a channel. Used blocking by the zygote, non-blocking by the event loops of master and workers."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock

    @classmethod
    def pair(cls) -> tuple[Channel, Channel]:
        """Two connected ends, closed on exec."""
        left, right = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        return cls(left), cls(right)

    @classmethod
    def from_fd(cls, fd: int) -> Channel:
        """Take over descriptor `fd`; the channel closes it."""
        return cls(socket.socket(fileno=fd))

    def fileno(self) -> int:
        return self._socket.fileno()

    def set_blocking(self, blocking: bool) -> None:
        self._socket.setblocking(blocking)

    def send(self, message: Message, fds: Sequence[int] = ()) -> None:
        """Send one message, with copies of `fds`.

        Raises OSError when the other side is gone (`BrokenPipeError`, `ConnectionResetError`) or, on a non-blocking
        end, does not read (`BlockingIOError`).
        """
        content = {"type": type(message).__name__, **asdict(message)}
        data = json.dumps(content, ensure_ascii=False).encode(errors="replace")
        if fds:
            socket.send_fds(self._socket, [data], list(fds))
        else:
            self._socket.send(data)

    def tell(self, message: Message) -> None:
        """Send to a master that may be gone: the end-of-file says so to whoever reads next."""
        with contextlib.suppress(OSError):
            self.send(message)

    def receive(self) -> tuple[Message, list[int]] | None:
        """Return the master's next order and its descriptors (the caller's to close), or None at end-of-file.

        Raises BlockingIOError on a non-blocking end that has nothing. The other side may be of another version of
        appserver (after a re-exec): what this one does not know, a field or a whole message, is left out. So a field that
        is added to a message has to have a default.
        """
        while True:
            try:
                data, fds, _, _ = socket.recv_fds(self._socket, MAX_MESSAGE_SIZE, 4)
            except ConnectionResetError:
                return None
            if not data:
                return None
            try:
                message = decode(data)
            except ChannelError:
                close_all(fds)
                raise
            for fd in fds:
                os.set_inheritable(fd, False)
            if message is not None:
                return message, fds
            close_all(fds)

    def receive_report(self) -> bytes | None:
        """Return what a zygote or a worker has sent, for `decode`; None at end-of-file, or for what looks like one.

        Raises BlockingIOError on a non-blocking end that has nothing, and ChannelError for what is longer than any message
        and for descriptors. The latter are never taken: there is no room for them, so the kernel closes them (unix(7)).
        """
        try:
            data, _, flags, _ = self._socket.recvmsg(MAX_MESSAGE_SIZE)
        except ConnectionResetError:
            return None
        if flags & socket.MSG_CTRUNC:
            raise ChannelError("it sends descriptors, for which nobody has asked")
        if flags & socket.MSG_TRUNC:
            raise ChannelError(f"it sends more than {MAX_MESSAGE_SIZE} octets as one message")
        return data or None

    def detach(self) -> int:
        """Give the descriptor away; the channel is not to be used afterwards."""
        return self._socket.detach()

    def close(self) -> None:
        self._socket.close()


def decode(data: bytes) -> Message | None:
    """Read one message; None if it is of a type that this version does not know. Raises ChannelError if it is none at all."""
    try:
        found = json.loads(data)
        name = found["type"]
        if name not in _TYPES and isinstance(name, str):
            return None
        kind = _TYPES[name]
        content = {field.name: _read(name, field.name, found) for field in fields(kind) if field.name in found}
        return kind(**content)
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        raise ChannelError(f"it sends what is no message: {shorten(repr(data), 200)}") from error


def _read(kind: str, name: str, found: dict[str, Any]) -> Any:
    """The value of a field. Raises ValueError if it is not of the field's type."""
    value, wanted = found[name], _FIELDS[kind][name]
    if get_origin(wanted) is Literal:
        fits = isinstance(value, str) and value in get_args(wanted)
    elif wanted is float:
        fits = type(value) in (int, float) and abs(value) <= _LARGEST_INTEGER and isfinite(value)
    elif wanted is int:
        fits = type(value) is int and abs(value) <= _LARGEST_INTEGER
    else:
        fits = type(value) is wanted
    if not fits:
        raise ValueError(f"{kind}.{name} is not to be {value!r}")
    # JSON may hold halves of surrogate pairs, which nothing that is written can.
    return value.encode(errors="replace").decode() if isinstance(value, str) else value


def close_all(fds: Sequence[int]) -> None:
    """Close the descriptors that came with a message which nobody has a use for."""
    for fd in fds:
        os.close(fd)


def write_file(name: str, text: str) -> int:
    """Put a text that is too long for a message into an anonymous file; returns its descriptor."""
    fd = os.memfd_create(name)
    with open(fd, "w", encoding="utf-8", closefd=False) as file:
        file.write(text)
    return fd


def read_file(fd: int) -> str:
    """Read the whole of a file that came with a message, and close it. Others may read it by the same descriptor."""
    try:
        return os.pread(fd, os.fstat(fd).st_size, 0).decode()
    finally:
        os.close(fd)


def shorten(text: str, limit: int) -> str:
    """Cut the middle out of a text too long for a message: a traceback says most at its end, and next most at its start."""
    if len(text) <= limit:
        return text
    half = limit // 2
    return f"{text[:half]}\n… {len(text) - 2 * half} characters left out …\n{text[-half:]}"
