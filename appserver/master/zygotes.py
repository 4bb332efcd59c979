"""The master's hold on a zygote: starting it, asking it for workers, hearing what became of them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable, Mapping, Sequence

from appserver.master.children import Child
from appserver.master.handover import ZygoteRecord
from appserver.master.plan import python
from appserver.supervision.events import (
    Event,
    ExitStatus,
    Failure,
    ForkFailed,
    WorkerForked,
    ZygoteExited,
    ZygoteFailed,
    ZygoteReady,
)
from appserver.worker.messages import (
    WITHOUT_PRELOAD,
    BootFailed,
    Channel,
    Fork,
    Forked,
    ForkRefused,
    Imported,
    Message,
    PreloadGivenUp,
    ZygoteBoot,
)

Post = Callable[[Event], None]


class ZygoteHandle:
    """One zygote process, from its start to its exit. Everything that happens to it is posted as an event."""

    def __init__(
        self,
        generation: int,
        pid: int,
        channel: Channel | None,
        loop: asyncio.AbstractEventLoop,
        post: Post,
        start: Callable[[bool], tuple[int, Channel]] | None = None,
    ) -> None:
        """Hold the running zygote `pid`; without a channel it is one that has been let go of.

        `start` starts it, or (False) another one that does not preload.
        """
        self.generation = generation
        self._start = start
        self._loop = loop
        self._post = post
        self._hold(pid, channel)

    def _hold(self, pid: int, channel: Channel | None) -> None:
        self._channel = channel
        self.child = Child(pid, self._exited, self._loop)
        if channel is not None:
            channel.set_blocking(False)
            self._loop.add_reader(channel.fileno(), self._receive)

    @classmethod
    def start(
        cls, boot: ZygoteBoot, environ: Mapping[str, str], loop: asyncio.AbstractEventLoop, post: Post
    ) -> ZygoteHandle:
        """Start a zygote. Raises OSError when the kernel has no process for it."""

        def start(may_preload: bool) -> tuple[int, Channel]:
            return _spawn(boot, environ, () if may_preload else (WITHOUT_PRELOAD,))

        pid, channel = start(True)
        return cls(boot.generation, pid, channel, loop, post, start)

    @classmethod
    def restore(cls, record: ZygoteRecord, loop: asyncio.AbstractEventLoop, post: Post) -> ZygoteHandle:
        """Hold a zygote that the program before this one has started."""
        channel = None if record.channel is None else Channel.from_fd(record.channel)
        return cls(record.generation, record.pid, channel, loop, post)

    def record(self) -> ZygoteRecord:
        """What the program after this one has to know."""
        return ZygoteRecord(self.generation, self.child.pid, None if self._channel is None else self._channel.fileno())

    def fork(self, worker: int, number: int, descriptors: Sequence[int]) -> None:
        """Ask for a worker, with the descriptors that `Fork` names; the answer is an event.

        Raises OSError when the zygote is gone.
        """
        if self._channel is None:
            raise BrokenPipeError("the zygote is gone")
        self._channel.send(Fork(worker, number), descriptors)

    def tell(self, message: Message, descriptors: Sequence[int] = ()) -> None:
        """Tell the zygote something, if it is there."""
        if self._channel is not None:
            with contextlib.suppress(OSError):  # it has just exited
                self._channel.send(message, descriptors)

    def let_go(self) -> None:
        """Close the channel: the zygote exits once its workers have."""
        if self._channel is not None:
            self._loop.remove_reader(self._channel.fileno())
            self._channel.close()
            self._channel = None

    def kill(self) -> None:
        """Send SIGKILL; workers are not affected."""
        self.child.signal(signal.SIGKILL)

    def _receive(self) -> None:
        """Post what the zygote says, all of it; returns when there is nothing more."""
        while self._channel is not None:
            try:
                received = self._channel.receive()
            except BlockingIOError:
                return
            if received is None:
                self.let_go()
                return
            message, _ = received
            match message:
                case Imported():
                    self._post(ZygoteReady(self.generation, message.preloaded))
                case PreloadGivenUp():
                    self._start_over()
                case BootFailed():
                    self._post(ZygoteFailed(self.generation, failure_of(message)))
                case Forked():
                    self._post(WorkerForked(message.worker, message.pid))
                case ForkRefused():
                    self._post(ForkFailed(message.worker, message.reason))

    def _start_over(self) -> None:
        """Put a zygote without preload in the place of one that must not fork, and is about to exit.

        To everybody else they are one. The old one cannot become the new one by `exec`: it has given up its privileges,
        and may not even read the interpreter any more.
        """
        if self._start is None:
            return  # it was started by the program before this one; its exit has it replaced
        self.let_go()
        self.child.forget()
        self.kill()  # by itself it would wait for its threads
        try:
            pid, channel = self._start(False)
        except OSError as error:
            self._post(ZygoteFailed(self.generation, Failure("spawn", f"cannot start a zygote: {error}", "", 5)))
            return
        self._hold(pid, channel)

    def _exited(self, status: ExitStatus) -> None:
        self._receive()  # its last words come first
        self.let_go()
        self._post(ZygoteExited(self.generation, status))


def failure_of(message: BootFailed) -> Failure:
    """What the supervisor is told of a failed boot."""
    return Failure(message.kind, message.message, message.traceback, message.exit_code)


def _spawn(boot: ZygoteBoot, environ: Mapping[str, str], options: tuple[str, ...]) -> tuple[int, Channel]:
    """Start a zygote in a process group of its own; returns its pid and the channel to it. Raises OSError.

    A group of its own keeps Ctrl-C on a terminal from reaching it: the master alone decides how its workers stop.
    Duplicating a descriptor onto itself is how posix_spawn(3) passes it on through exec.
    """
    channel, theirs = Channel.pair()
    boot_file = os.memfd_create("appserver-boot")
    inherited = (theirs.fileno(), boot_file, boot.scoreboard, *(grant.fd for grant in boot.listeners))
    command = python("appserver.worker", str(theirs.fileno()), str(boot_file), *options)
    actions = [(os.POSIX_SPAWN_DUP2, fd, fd) for fd in inherited]
    try:
        os.write(boot_file, boot.dump().encode())
        pid = os.posix_spawn(command[0], command, environ, file_actions=actions, setpgroup=0)
    except OSError:
        channel.close()
        raise
    finally:
        theirs.close()
        os.close(boot_file)
    return pid, channel
