"""A stage for the master's side of processes: zygotes and workers that only sleep, and the far ends of their channels.

The processes, channels, files and the event loop are real; the test says what the processes would say. The far ends are
whoever the test wants them to be: well behaved, out of turn, hostile or gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import signal
from collections.abc import Awaitable, Callable, Iterator, Mapping
from pathlib import Path
from typing import Protocol

from appserver.master.children import is_child
from appserver.master.stacks import StacksFile
from appserver.master.zygotes import Spawned, ZygoteHandle
from appserver.supervision.events import Event, Forked
from appserver.worker.messages import Channel, Fork, Message, ZygoteBoot, close_all

PATIENCE = 30.0

BOOT = ZygoteBoot(master=os.getpid(), generation=1, settings="{}", scoreboard=-1, listeners=())


class Far:
    """A process that sleeps, and its end of the channel."""

    def __init__(self, pid: int, channel: Channel, stacks: int) -> None:
        """`stacks` is its descriptor of the file for its stacks."""
        self.pid = pid
        self.channel = channel
        self.stacks = stacks
        channel.set_blocking(False)

    def say(self, *messages: Message) -> None:
        for message in messages:
            self.channel.send(message)

    def shout(self, data: bytes) -> None:
        """Send anything."""
        os.write(self.channel.fileno(), data)

    def hear(self) -> tuple[Message, list[int]] | None:
        """The next order and its descriptors; None at the end of the channel. Raises BlockingIOError if there is none."""
        return self.channel.receive()

    def orders(self) -> list[Message]:
        """All orders that have come, but for the end; their descriptors are closed."""
        found = []
        with contextlib.suppress(BlockingIOError):
            while heard := self.hear():
                found.append(heard[0])
                close_all(heard[1])
        return found

    @property
    def is_let_go(self) -> bool:
        """Whether the master has closed its end; orders that have come before are lost."""
        with contextlib.suppress(BlockingIOError):
            while heard := self.hear():
                close_all(heard[1])
            return True
        return False

    def signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def close(self) -> None:
        """Let go of everything, as a process does that exits."""
        self.channel.close()
        if self.stacks >= 0:
            os.close(self.stacks)
            self.stacks = -1


class FarWorker(Far):
    """A worker, with the numbers of its `Fork`."""

    worker: int
    number: int


class FarZygote(Far):
    """A zygote, with what it was started with."""

    def __init__(
        self, pid: int, channel: Channel, stacks: int, boot: ZygoteBoot, options: tuple[str, ...], stage: Stage
    ) -> None:
        super().__init__(pid, channel, stacks)
        self.boot = boot
        self.options = options
        self._stage = stage

    def forks(self) -> FarWorker:
        """Carry out the next order, which has to be a `Fork`, without reporting it."""
        heard = self.hear()
        assert heard is not None
        order, descriptors = heard
        assert isinstance(order, Fork)
        channel, stacks = descriptors
        worker = FarWorker(self._stage.sleeper(), Channel.from_fd(channel), stacks)
        worker.worker, worker.number = order.worker, order.number
        self._stage.far.append(worker)
        return worker

    def forks_and_reports(self) -> FarWorker:
        worker = self.forks()
        self.say(Forked(worker.worker, worker.pid))
        return worker


class Stage:
    """Everything far, and what was posted here."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.events: list[Event] = []
        self.zygotes: list[FarZygote] = []
        self.far: list[Far] = []
        self.pids: list[int] = []
        self.fails: OSError | None = None
        """Raised where the next zygotes would be started."""

    def sleeper(self) -> int:
        """Start a child that nobody waits for; returns its pid."""
        pid = os.posix_spawn("/bin/sleep", ["sleep", "600"], os.environ)
        self.pids.append(pid)
        # A parent may go on before its child has closed what it is not to have; the child has its new name after that.
        while Path(f"/proc/{pid}/comm").read_text() != "sleep\n":
            os.sched_yield()
        return pid

    def spawn(self, boot: ZygoteBoot, environ: Mapping[str, str], options: tuple[str, ...]) -> Spawned:
        """Start a zygote, in the place of `zygotes._spawn`."""
        if self.fails is not None:
            raise self.fails
        ours, theirs = Channel.pair()
        stacks = StacksFile.create()
        zygote = FarZygote(self.sleeper(), theirs, os.dup(stacks.fd), boot, options, self)
        self.zygotes.append(zygote)
        self.far.append(zygote)
        return zygote.pid, ours, stacks

    def zygote(self, post: Callable[[Event], None] | None = None) -> tuple[ZygoteHandle, FarZygote]:
        """Start a zygote: the handle, and the far end."""
        handle = ZygoteHandle.start(BOOT, {}, claim, self.loop, post or self.events.append)
        return handle, self.zygotes[-1]

    def kinds(self) -> list[str]:
        """The types of the events that were posted, by name."""
        return [type(event).__name__ for event in self.events]

    async def end(self) -> None:
        """End all processes, and reap those that nobody watches."""
        for pid in filter(runs, self.pids):
            os.kill(pid, signal.SIGKILL)
        await until(lambda: not any(map(runs, self.pids)), "all processes have exited")
        await rounds()
        for pid in filter(is_child, self.pids):
            os.waitpid(pid, 0)  # noqa: ASYNC222 - it has exited
        await rounds()
        for far in self.far:
            far.close()


def claim(pid: int) -> None:
    """Let any process be a worker."""


def runs(pid: int) -> bool:
    """Whether a child has not exited; without reaping it."""
    return is_child(pid) and os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None


async def until(look: Callable[[], object], what: str) -> None:
    """Wait until `look()` is true."""
    try:
        async with asyncio.timeout(PATIENCE):
            while not look():
                await asyncio.sleep(0.005)
    except TimeoutError:
        raise AssertionError(f"not within {PATIENCE} s: {what}") from None


async def rounds(count: int = 5) -> None:
    """Let the event loop handle everything that has happened already."""
    for _ in range(count):
        await asyncio.sleep(0)


def descriptors() -> set[int]:
    """The descriptors that this process has open, without the one by which that is found out."""
    found = set()
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            os.fstat(int(name))
            found.add(int(name))
    return found


@contextlib.contextmanager
def room_for(count: int) -> Iterator[None]:
    """Let this process open so many descriptors more, and no others."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(descriptors()) + 1 + count, hard))
    taken: list[int] = []  # whatever is free up to there, however high other tests have got
    try:
        with contextlib.suppress(OSError):
            while True:
                taken.append(os.dup(0))
        for _ in range(count):
            os.close(taken.pop())
        yield
    finally:
        for fd in taken:
            os.close(fd)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


Act = Callable[[Stage], Awaitable[None]]


class Play(Protocol):
    """Lets something happen on a stage: with zygotes of the stage, or with real ones."""

    def __call__(self, act: Act, *, real: bool = False) -> None: ...
