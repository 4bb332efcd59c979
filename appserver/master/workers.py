"""What the master knows of a worker process, and its end of their channel."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import signal
import time
from collections.abc import Iterable, Sequence

from appserver.master.children import Child, resident_memory
from appserver.master.handover import WorkerRecord
from appserver.master.stacks import StacksFile
from appserver.master.zygotes import Post, ZygoteHandle, failure_of
from appserver.supervision.events import (
    ExitStatus,
    Request,
    Sample,
    WorkerExited,
    WorkerFailed,
    WorkerReady,
    WorkerStoppedAccepting,
)
from appserver.supervision.exits import serving_fields
from appserver.telemetry.logs import get_logger
from appserver.telemetry.scoreboard import WorkerSlot
from appserver.worker.messages import (
    STACKS_SIGNAL,
    BootFailed,
    Channel,
    Message,
    Ready,
    ReportTasks,
    StoppedAccepting,
    TasksReported,
)

# What a blocked worker gets to write its stacks, in seconds: the kernel interrupts it, and writing takes milliseconds.
STACKS_DELAY = 0.5

# What a worker's event loop gets to report its tasks, in seconds: one that does not in this time is blocked.
TASKS_TIMEOUT = 1.0

NO_STACKS = "none were written: the process is stopped, or stuck in the kernel"
NO_TASKS = f"none were reported within {TASKS_TIMEOUT:g} s: the event loop is blocked, or does not run yet"


class WorkerHandle:
    """One worker, from the order to fork it to its exit."""

    def __init__(
        self,
        worker: int,
        number: int,
        generation: int,
        channel: Channel,
        stacks: StacksFile,
        loop: asyncio.AbstractEventLoop,
        post: Post,
        forked_at: float,
    ) -> None:
        self.worker = worker
        self.number = number
        self.generation = generation
        self.child: Child | None = None
        self.killed = False
        """Whether it was killed from here."""
        self.accepting = True
        """Whether it takes connections, or may yet."""
        self.forked_at = forked_at
        self._loop = loop
        self._post = post
        self._stacks = stacks
        self._channel = channel
        self._channel.set_blocking(False)
        self._serials = itertools.count()
        self._reports: dict[int, asyncio.Future[None]] = {}
        self._open = True
        loop.add_reader(self._channel.fileno(), self._receive)

    @classmethod
    def order(
        cls, worker: int, number: int, zygote: ZygoteHandle, loop: asyncio.AbstractEventLoop, post: Post
    ) -> WorkerHandle:
        """Have the zygote fork a worker. Raises OSError when the zygote is gone."""
        channel, theirs = Channel.pair()
        stacks = StacksFile.create()
        try:
            zygote.fork(worker, number, [theirs.fileno(), stacks.fd])
        except OSError:
            channel.close()
            stacks.close()
            raise
        finally:
            theirs.close()
        return cls(worker, number, zygote.generation, channel, stacks, loop, post, time.monotonic())

    @classmethod
    def restore(cls, record: WorkerRecord, loop: asyncio.AbstractEventLoop, post: Post) -> WorkerHandle:
        """Hold a worker that the program before this one has ordered."""
        channel, stacks = Channel.from_fd(record.channel), StacksFile(record.stacks, record.stacks_read)
        handle = cls(record.worker, record.number, record.generation, channel, stacks, loop, post, record.forked_at)
        if record.pid is not None:
            handle.forked(record.pid)
        return handle

    def record(self) -> WorkerRecord:
        """What the program after this one has to know."""
        return WorkerRecord(
            worker=self.worker,
            number=self.number,
            generation=self.generation,
            pid=self.pid,
            channel=self._channel.fileno(),
            stacks=self._stacks.fd,
            stacks_read=self._stacks.read_to,
            forked_at=self.forked_at,
        )

    def sample(self, slot: WorkerSlot, now: float) -> Sample:
        """How the worker is, from its slot on the scoreboard and from the kernel."""
        beat = slot.heartbeat_at
        return Sample(
            worker=self.worker,
            heartbeat_age=now - beat if beat else None,
            requests=slot.requests,
            rss_bytes=resident_memory(self.pid),
            age=now - self.forked_at,
        )

    @property
    def pid(self) -> int | None:
        """The pid; None until the zygote has reported the fork."""
        return None if self.child is None else self.child.pid

    def forked(self, pid: int) -> None:
        """Watch the process that the zygote has forked."""
        self.child = Child(pid, self._exited, self._loop)

    def tell(self, message: Message, descriptors: Sequence[int] = ()) -> None:
        """Tell the worker something, if it listens."""
        try:
            self._channel.send(message, descriptors)
        except OSError as error:  # it has just exited, or it hangs: its deadline ends it
            get_logger("appserver.master").debug("worker not reached", worker=self.number, reason=str(error))

    def dump_stacks(self, blocked: float, serving: Iterable[Request]) -> None:
        """Log the stacks of all the worker's threads; they are asked for now, and there a moment later.

        The event loop has been blocked for so many seconds, and was `serving` this when it was last seen to run.
        """
        if self.child is not None:
            mark = self._stacks.mark()
            self.child.signal(STACKS_SIGNAL)
            self._loop.call_later(STACKS_DELAY, self._log_stacks, blocked, tuple(serving), mark)

    async def stacks(self) -> tuple[str, str]:
        """Where the worker's threads are, and the tasks of its event loop, which says so itself if it is not blocked."""
        mark = self._stacks.mark()
        if self.child is not None:
            self.child.signal(STACKS_SIGNAL)
        # The signal is handled before the message is read: when the tasks have been reported, the threads have been, too.
        tasks = await self._report_tasks()
        threads = self._stacks.read_from(mark) if self._open else ""
        return threads or NO_STACKS, tasks or NO_TASKS

    async def _report_tasks(self) -> str:
        """Have the event loop report its tasks; empty if it does not."""
        serial = next(self._serials)
        report = self._reports[serial] = self._loop.create_future()
        file = os.memfd_create("appserver-tasks")
        try:
            with contextlib.suppress(OSError):  # it has just exited, or has not read its channel for long
                self._channel.send(ReportTasks(serial), [file])
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(TASKS_TIMEOUT):
                    await report
            return os.pread(file, os.fstat(file).st_size, 0).decode(errors="replace").strip()
        finally:
            del self._reports[serial]
            os.close(file)

    def kill(self) -> None:
        """Send SIGKILL; to a worker that the zygote has not reported yet, once it has."""
        self.killed = True
        if self.child is not None:
            self.child.signal(signal.SIGKILL)

    def close(self) -> None:
        """Let go of everything but the process; one that still lives takes it for the master's death, and drains."""
        if self._open:
            self._open = False
            self._loop.remove_reader(self._channel.fileno())
            self._channel.close()
            self._stacks.close()

    def _receive(self) -> None:
        """Post what the worker says, all of it."""
        while self._open:
            try:
                received = self._channel.receive()
            except BlockingIOError:
                return
            if received is None:
                self._loop.remove_reader(self._channel.fileno())
                return
            match received[0]:
                case Ready():
                    self._post(WorkerReady(self.worker))
                case BootFailed() as message:
                    self._post(WorkerFailed(self.worker, failure_of(message)))
                case StoppedAccepting():
                    self.accepting = False
                    self._post(WorkerStoppedAccepting(self.worker))
                case TasksReported(serial) if (report := self._reports.get(serial)) and not report.done():
                    report.set_result(None)

    def _exited(self, status: ExitStatus) -> None:
        self._receive()  # its last words come first
        if status.signal is not None and self._open and (stacks := self._stacks.read_new()):
            get_logger("appserver.master").error("worker crashed", worker=self.number, stacks=stacks)
        self._post(WorkerExited(self.worker, status))

    def _log_stacks(self, blocked: float, serving: tuple[Request, ...], mark: int) -> None:
        if not self._open:
            return
        get_logger("appserver.master").warning(
            "worker stacks",
            worker=self.number,
            generation=self.generation,
            worker_pid=self.pid,
            seconds=round(blocked, 3),
            **serving_fields(serving),
            stacks=self._stacks.read_from(mark) or NO_STACKS,
        )
