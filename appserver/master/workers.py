"""What the master knows of a worker process, and its end of their channel."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable

from appserver.master.children import Child
from appserver.master.stacks import StacksFile
from appserver.master.zygotes import ZygoteHandle, failure_of
from appserver.supervision.events import Event, ExitStatus, WorkerExited, WorkerFailed, WorkerReady
from appserver.telemetry.logs import get_logger
from appserver.worker.messages import STACKS_SIGNAL, BootFailed, Channel, Message, Ready

# What a blocked worker gets to write its stacks, in seconds: the kernel interrupts it, and writing takes milliseconds.
STACKS_DELAY = 0.5


class WorkerHandle:
    """One worker, from the order to fork it to its exit."""

    def __init__(
        self, worker: int, number: int, generation: int, loop: asyncio.AbstractEventLoop, post: Callable[[Event], None]
    ) -> None:
        self.worker = worker
        self.number = number
        self.generation = generation
        self.child: Child | None = None
        self.forked_at = time.monotonic()
        self._loop = loop
        self._post = post
        self._stacks = StacksFile()
        self._channel, self._their_end = Channel.pair()
        self._channel.set_blocking(False)
        self._open = True
        loop.add_reader(self._channel.fileno(), self._receive)

    @property
    def pid(self) -> int | None:
        """The pid; None until the zygote has reported the fork."""
        return None if self.child is None else self.child.pid

    def order(self, zygote: ZygoteHandle) -> None:
        """Have the zygote fork this worker. Raises OSError when the zygote is gone."""
        try:
            zygote.fork(self.worker, self.number, [self._their_end.fileno(), self._stacks.fd])
        finally:
            self._their_end.close()

    def forked(self, pid: int) -> None:
        """Watch the process that the zygote has forked."""
        self.child = Child(pid, self._exited, self._loop)

    def send(self, message: Message) -> None:
        """Tell the worker something. Raises OSError when it is gone or does not read."""
        self._channel.send(message)

    def dump_stacks(self, blocked: float) -> None:
        """Log the stacks of all the worker's threads; they are asked for now, and there a moment later."""
        if self.child is not None:
            self.child.signal(STACKS_SIGNAL)
            self._loop.call_later(STACKS_DELAY, self._log_stacks, blocked)

    def kill(self) -> None:
        """Send SIGKILL; to a worker that the zygote has not reported yet, once it has."""
        if self.child is not None:
            self.child.signal(signal.SIGKILL)

    def close(self) -> None:
        """Let go of everything but the process; one that still lives takes it for the master's death, and drains."""
        if self._open:
            self._open = False
            self._loop.remove_reader(self._channel.fileno())
            self._channel.close()
            self._their_end.close()
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

    def _exited(self, status: ExitStatus) -> None:
        self._receive()  # its last words come first
        if status.signal is not None and self._open and (stacks := self._stacks.read_new()):
            get_logger("appserver.master").error("worker crashed", worker=self.number, stacks=stacks)
        self._post(WorkerExited(self.worker, status))

    def _log_stacks(self, blocked: float) -> None:
        if not self._open:
            return
        get_logger("appserver.master").warning(
            "worker stacks",
            worker=self.number,
            generation=self.generation,
            pid_of_worker=self.pid,
            blocked_seconds=round(blocked, 1),
            stacks=self._stacks.read_new() or "none were written: the process is stopped, or stuck in the kernel",
        )
