"""The master's handle of a worker process, and its end of their channel."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import signal
import time
from collections.abc import Iterable, Sequence

from appserver.master.children import Child, resident_memory
from appserver.master.conversation import WorkerConversation
from appserver.master.handover import WorkerRecord
from appserver.master.hearing import EXIT_DELAY, Hearing
from appserver.master.stacks import CRASHES, NO_STACKS, STACKS_DELAY, StacksFile, read_report, report_file
from appserver.master.zygotes import Post, ZygoteHandle
from appserver.supervision.events import (
    ExitStatus,
    Request,
    Sample,
    WorkerExited,
    WorkerMisbehaved,
)
from appserver.supervision.exits import serving_fields
from appserver.telemetry.logs import get_logger
from appserver.telemetry.scoreboard import WorkerSlot
from appserver.worker.messages import (
    STACKS_SIGNAL,
    Channel,
    Message,
    ReportTasks,
    TasksReported,
)

# How often a blocked worker is looked at for its stacks: on a busy machine it may not have had its turn at the first time.
STACKS_LOOKS = 3

# Time for a worker's event loop to report its tasks, in seconds: one that does not in this time is blocked.
TASKS_TIMEOUT = 1.0

NO_TASKS_YET = "none were reported: the event loop is blocked, or does not run yet"
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
        conversation: WorkerConversation,
    ) -> None:
        self.worker = worker
        self.number = number
        self.generation = generation
        self.child: Child | None = None
        self.killed = False
        """Whether it was killed from here."""
        self.forked_at = forked_at
        self._loop = loop
        self._post = post
        self._stacks = stacks
        self._conversation = conversation
        self._hearing = Hearing(channel, loop, self._hear, self._distrust, self._lost)
        self._serials = itertools.count()
        self._reports: dict[int, asyncio.Future[None]] = {}
        self._open = True

    @classmethod
    def order(
        cls, worker: int, number: int, zygote: ZygoteHandle, loop: asyncio.AbstractEventLoop, post: Post
    ) -> WorkerHandle:
        """Have the zygote fork a worker. Raises OSError when the zygote is gone."""
        with contextlib.ExitStack() as passed_on, contextlib.ExitStack() as undo:
            channel, theirs = Channel.pair()
            undo.callback(channel.close)
            passed_on.callback(theirs.close)
            stacks = StacksFile.create()
            undo.callback(stacks.close)
            zygote.fork(worker, number, [theirs.fileno(), stacks.fd])
            undo.pop_all()
        conversation = WorkerConversation(worker)
        return cls(worker, number, zygote.generation, channel, stacks, loop, post, time.monotonic(), conversation)

    @classmethod
    def restore(cls, record: WorkerRecord, loop: asyncio.AbstractEventLoop, post: Post) -> WorkerHandle:
        """Hold a worker that the program before this one has ordered."""
        channel, stacks = Channel.from_fd(record.channel), StacksFile(record.stacks, record.stacks_read)
        conversation = WorkerConversation(
            record.worker, answered=record.answered, stopped_accepting=record.stopped_accepting
        )
        identity = record.worker, record.number, record.generation
        handle = cls(*identity, channel, stacks, loop, post, record.forked_at, conversation)
        if record.pid is not None:
            handle.forked(record.pid)
        return handle

    def record(self) -> WorkerRecord:
        """The state for the program that takes over."""
        return WorkerRecord(
            worker=self.worker,
            number=self.number,
            generation=self.generation,
            pid=self.pid,
            channel=self._hearing.fileno(),
            stacks=self._stacks.fd,
            stacks_read=self._stacks.read_to,
            forked_at=self.forked_at,
            answered=self._conversation.answered,
            stopped_accepting=self._conversation.stopped_accepting,
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

    @property
    def accepting(self) -> bool:
        """Whether it takes connections, or may yet."""
        return not self._conversation.stopped_accepting

    def forked(self, pid: int) -> None:
        """Watch the process that the zygote has forked."""
        self.child = Child(pid, self._exited, self._loop)

    def tell(self, message: Message, descriptors: Sequence[int] = ()) -> None:
        """Tell the worker something, if it listens."""
        try:
            self._hearing.send(message, descriptors)
        except OSError as error:  # it has just exited, or it hangs: its deadline ends it
            get_logger("appserver.master").debug("worker not reached", worker=self.number, reason=str(error))

    def dump_stacks(self, blocked: float, serving: Iterable[Request]) -> None:
        """Log the stacks of all the worker's threads; they are asked for now, and there a moment later.

        The event loop has been blocked for so many seconds, and was `serving` this when it was last seen to run.
        """
        if self.child is not None:
            mark = self._ask_for_stacks()
            self._loop.call_later(STACKS_DELAY, self._log_stacks, blocked, tuple(serving), mark, STACKS_LOOKS)

    def dump_boot(self, seconds: float) -> None:
        """Log where the worker is, which has been booting for so many seconds; it is asked now, and heard a moment later."""
        self._boot_report = self._loop.create_task(self._log_boot(seconds, self._ask_for_stacks()))

    def _is_gone(self) -> bool:
        return not self._open

    def _ask_for_stacks(self) -> int:
        """Have the threads' stacks written; returns the mark from which on they are in the file."""
        mark = self._stacks.mark()
        if self.child is not None and self.child.handles(STACKS_SIGNAL):
            self.child.signal(STACKS_SIGNAL)
        return mark

    async def stacks(self) -> tuple[str, str]:
        """Where the worker's threads are, and the tasks of its event loop, which says so itself if it is not blocked."""
        if self._is_gone():
            return NO_STACKS, NO_TASKS
        mark = self._ask_for_stacks()
        # The signal is handled before the message is read: when the tasks have been reported, the threads have been, too.
        tasks = await self._report_tasks(TASKS_TIMEOUT)
        threads = "" if self._is_gone() else self._stacks.read_from(mark)
        return threads or NO_STACKS, tasks or NO_TASKS

    async def _report_tasks(self, limit: float) -> str:
        """Have the event loop report its tasks; empty if it does not within `limit` seconds, or nothing can be written into."""
        try:
            file = report_file("appserver-tasks")
        except OSError:
            return ""
        serial = next(self._serials)
        report = self._reports[serial] = self._loop.create_future()
        try:
            with contextlib.suppress(OSError):  # it has just exited, or has not read its channel for long
                self._hearing.send(ReportTasks(serial), [file])
                self._conversation.tasks_asked(serial)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(limit):
                    await report
            return read_report(file)
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
            self._hearing.close()
            self._stacks.close()

    def _hear(self, message: Message | None) -> None:
        event = self._conversation.hear(message)
        if event is not None:
            self._post(event)
        elif isinstance(message, TasksReported):
            report = self._reports.get(message.serial)
            if report is not None and not report.done():
                report.set_result(None)

    def _distrust(self, reason: str) -> None:
        """Hear nothing of it any more, and have it replaced."""
        self._post(WorkerMisbehaved(self.worker, reason))

    def _lost(self) -> None:
        """Its end of the channel is closed: it has exited, and will be reaped, or it makes believe that it has."""
        self._loop.call_later(EXIT_DELAY, self._expect_exit)

    def _expect_exit(self) -> None:
        if self._open and self.child is not None and self.child.alive:
            self._distrust("it has closed its channel and lives on")

    def _exited(self, status: ExitStatus) -> None:
        self._hearing.read()  # its last words come first
        if status.signal in CRASHES and self._open and (stacks := self._stacks.read_new()):
            get_logger("appserver.master").error("worker crashed", worker=self.number, stacks=stacks)
        self._post(WorkerExited(self.worker, status))

    async def _log_boot(self, seconds: float, mark: int) -> None:
        tasks = await self._report_tasks(STACKS_DELAY)
        if self._open:
            get_logger("appserver.master").warning(
                "worker stacks",
                worker=self.number,
                generation=self.generation,
                worker_pid=self.pid,
                seconds=seconds,
                booting=True,
                stacks=self._stacks.read_from(mark) or NO_STACKS,
                tasks=tasks or NO_TASKS_YET,
            )

    def _log_stacks(self, blocked: float, serving: tuple[Request, ...], mark: int, looks: int) -> None:
        if not self._open:
            return
        stacks = self._stacks.read_from(mark)
        if not stacks and looks > 1:
            self._loop.call_later(STACKS_DELAY, self._log_stacks, blocked, serving, mark, looks - 1)
            return
        get_logger("appserver.master").warning(
            "worker stacks",
            worker=self.number,
            generation=self.generation,
            worker_pid=self.pid,
            seconds=round(blocked, 3),
            **serving_fields(serving),
            stacks=stacks or NO_STACKS,
        )
