"""The master's hold on a zygote: starting it, asking it for workers, hearing what became of them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from appserver.master.children import Child, kill_child
from appserver.master.configuration import python
from appserver.master.conversation import ZygoteConversation
from appserver.master.handover import ZygoteRecord
from appserver.master.hearing import EXIT_DELAY, Hearing
from appserver.master.stacks import CRASHES, NO_STACKS, STACKS_DELAY, StacksFile
from appserver.supervision.events import (
    Event,
    ExitStatus,
    Failure,
    ZygoteExited,
    ZygoteFailed,
    ZygoteMisbehaved,
)
from appserver.telemetry.logs import get_logger
from appserver.worker.messages import STACKS_SIGNAL, WITHOUT_PRELOAD, Channel, Fork, Message, PreloadGivenUp, ZygoteBoot

Post = Callable[[Event], None]
Spawned = tuple[int, Channel, StacksFile]
Claim = Callable[[int], None]
"""Raises ChannelError unless the pid is that of a child of the master which is nobody yet."""


class ZygoteHandle:
    """One zygote process, from its start to its exit. Everything that happens to it is posted as an event."""

    def __init__(
        self,
        pid: int,
        channel: Channel | None,
        conversation: ZygoteConversation,
        loop: asyncio.AbstractEventLoop,
        post: Post,
        start_again: Callable[[], tuple[Spawned, ZygoteConversation]] | None = None,
        stacks: StacksFile | None = None,
    ) -> None:
        """Hold the running zygote `pid`; without a channel it is one that has been let go of.

        `start_again` starts another one in its place, which does not preload. `stacks` is the file that it writes its stacks
        into until it has booted; one that the program before this one has started has none.
        """
        self.generation = conversation.generation
        self._start_again = start_again
        self._loop = loop
        self._post = post
        self._hold(pid, channel, conversation, stacks)

    def _hold(
        self, pid: int, channel: Channel | None, conversation: ZygoteConversation, stacks: StacksFile | None
    ) -> None:
        self._conversation = conversation
        self._stacks = stacks
        self.child = Child(pid, self._exited, self._loop)
        self._hearing = None
        if channel is not None:
            self._hearing = Hearing(channel, self._loop, self._hear, self._distrust, self._lost)

    @classmethod
    def start(
        cls, boot: ZygoteBoot, environ: Mapping[str, str], claim: Claim, loop: asyncio.AbstractEventLoop, post: Post
    ) -> ZygoteHandle:
        """Start a zygote. Raises OSError when the kernel has no process for it."""

        def start_again() -> tuple[Spawned, ZygoteConversation]:
            conversation = ZygoteConversation(boot.generation, claim, may_give_up=False)
            return _spawn(boot, environ, (WITHOUT_PRELOAD,)), conversation

        spawned = pid, channel, stacks = _spawn(boot, environ, ())
        with _undone(spawned):
            return cls(pid, channel, ZygoteConversation(boot.generation, claim), loop, post, start_again, stacks)

    @classmethod
    def restore(
        cls,
        record: ZygoteRecord,
        unanswered: Iterable[int],
        claim: Claim,
        loop: asyncio.AbstractEventLoop,
        post: Post,
    ) -> ZygoteHandle:
        """Hold a zygote that the program before this one has started, and that owes answers for those workers."""
        channel = None if record.channel is None else Channel.from_fd(record.channel)
        conversation = ZygoteConversation(
            record.generation, claim, answered=record.answered, unanswered=unanswered, may_give_up=False
        )
        return cls(record.pid, channel, conversation, loop, post)

    def record(self) -> ZygoteRecord:
        """The state for the program that takes over."""
        channel = None if self._hearing is None else self._hearing.fileno()
        return ZygoteRecord(self.generation, self.child.pid, channel, self._conversation.answered)

    def fork(self, worker: int, number: int, descriptors: Sequence[int]) -> None:
        """Ask for a worker, with the descriptors that `Fork` names; the answer is an event.

        Raises OSError when the zygote is gone.
        """
        if self._hearing is None:
            raise BrokenPipeError("the zygote is gone")
        self._hearing.send(Fork(worker, number), descriptors)
        self._conversation.fork_ordered(worker)

    def tell(self, message: Message, descriptors: Sequence[int] = ()) -> None:
        """Tell the zygote something, if it is there."""
        if self._hearing is not None:
            with contextlib.suppress(OSError):  # it has just exited
                self._hearing.send(message, descriptors)

    def let_go(self) -> None:
        """Close the channel: the zygote exits once its workers have."""
        if self._hearing is not None:
            self._hearing.close()
            self._hearing = None

    def dump_boot(self, seconds: float) -> None:
        """Log where the zygote is, which has been booting for so many seconds; it is asked now, and heard a moment later."""
        if self._stacks is None:
            return
        mark = self._stacks.mark()
        if self.child.handles(STACKS_SIGNAL):
            self.child.signal(STACKS_SIGNAL)
        self._loop.call_later(STACKS_DELAY, self._log_stacks, seconds, self._stacks, mark)

    def kill(self) -> None:
        """Send SIGKILL; workers are not affected."""
        self.child.signal(signal.SIGKILL)

    def _hear(self, message: Message | None) -> None:
        event = self._conversation.hear(message)
        if event is not None:
            self._post(event)
        elif isinstance(message, PreloadGivenUp):
            self._start_over()

    def _distrust(self, reason: str) -> None:
        """Hear nothing of it any more, and have it replaced."""
        self.let_go()
        self._post(ZygoteMisbehaved(self.generation, reason))

    def _lost(self) -> None:
        """Its end of the channel is closed: it has exited, and will be reaped, or it makes believe that it has."""
        self.let_go()
        self._loop.call_later(EXIT_DELAY, self._expect_exit, self.child)

    def _expect_exit(self, child: Child) -> None:
        if child.alive and child is self.child:
            self._distrust("it has closed its channel and lives on")

    def _start_over(self) -> None:
        """Put a zygote without preload in the place of one that must not fork, and is about to exit.

        To everybody else they are one. The old one cannot become the new one by `exec`: it has given up its privileges,
        and may not even read the interpreter any more.
        """
        if self._start_again is None:
            return  # it was started by the program before this one; its exit has it replaced
        self.let_go()
        self._close_stacks()
        self.child.forget()
        self.kill()  # by itself it would wait for its threads
        try:
            spawned, conversation = self._start_again()
            pid, channel, stacks = spawned
            with _undone(spawned):
                self._hold(pid, channel, conversation, stacks)
        except OSError as error:
            self._stacks = None
            self._post(ZygoteFailed(self.generation, Failure("spawn", f"cannot start a zygote: {error}", "", 5)))

    def _exited(self, status: ExitStatus) -> None:
        if self._hearing is not None:
            self._hearing.read()  # its last words come first
        self.let_go()
        if status.signal in CRASHES and self._stacks is not None and (stacks := self._stacks.read_new()):
            get_logger("appserver.master").error("zygote crashed", generation=self.generation, stacks=stacks)
        self._close_stacks()
        self._post(ZygoteExited(self.generation, status))

    def _close_stacks(self) -> None:
        if self._stacks is not None:
            self._stacks.close()
            self._stacks = None

    def _log_stacks(self, seconds: float, file: StacksFile, mark: int) -> None:
        if file is self._stacks:
            get_logger("appserver.master").warning(
                "zygote stacks",
                generation=self.generation,
                zygote_pid=self.child.pid,
                seconds=seconds,
                stacks=file.read_from(mark) or NO_STACKS,
            )


def _spawn(boot: ZygoteBoot, environ: Mapping[str, str], options: tuple[str, ...]) -> Spawned:
    """Start a zygote in a process group of its own; returns its pid, the channel to it and the file for its stacks.

    Raises OSError.

    A group of its own keeps Ctrl-C on a terminal from reaching it: the master alone decides how its workers stop.
    Duplicating a descriptor onto itself is how posix_spawn(3) passes it on through exec.
    """
    with contextlib.ExitStack() as passed_on, contextlib.ExitStack() as undo:
        channel, theirs = Channel.pair()
        undo.callback(channel.close)
        passed_on.callback(theirs.close)
        boot_file = os.memfd_create("appserver-boot")
        passed_on.callback(os.close, boot_file)
        stacks = StacksFile.create()
        undo.callback(stacks.close)
        os.write(boot_file, replace(boot, stacks=stacks.fd).dump().encode())
        inherited = (theirs.fileno(), boot_file, stacks.fd, boot.scoreboard, *(grant.fd for grant in boot.listeners))
        command = python("appserver.worker", str(theirs.fileno()), str(boot_file), *options)
        actions = [(os.POSIX_SPAWN_DUP2, fd, fd) for fd in inherited]
        pid = os.posix_spawn(command[0], command, environ, file_actions=actions, setpgroup=0)
        undo.pop_all()
    return pid, channel, stacks


@contextlib.contextmanager
def _undone(spawned: Spawned) -> Iterator[None]:
    """Kill a zygote that cannot be held, for want of a descriptor: nobody would notice its end."""
    pid, channel, stacks = spawned
    try:
        yield
    except OSError:
        kill_child(pid)
        channel.close()
        stacks.close()
        raise
