"""Replacing the program of the master in place: `exec`, with the same process identifier, children and sockets.

The new program is tried first, in a child, while the old one goes on supervising: it loads its code and the settings and
reads what it would take over. Only when it has done so does the old one call `exec`; from there on there is no way back.

Signals are held back before the last look at what has happened, and the new program lets them come when it has handlers
for them (see `signals`). What zygotes and workers say meanwhile waits in their channels, and a child that exits waits to
be reaped.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from appserver import signals
from appserver.errors import UpgradeError
from appserver.master.children import Child
from appserver.master.handover import Handover, set_inheritable
from appserver.master.log_files import MasterLog
from appserver.supervision.events import ExitStatus
from appserver.supervision.exits import describe_status
from appserver.supervision.supervisor import Supervisor
from appserver.telemetry.logs import get_logger

# The hidden words of the command line; a descriptor with a `Handover` follows each. Every version has to know them.
TAKE_OVER = "take-over"
TRY = "take-over-check"
# The line that a program on trial prints at the end. One that merely exits with code 0 is another one by the same name.
FIT = "this program can take over"

# The rounds of the event loop that a signal caught last may take to its handler: the loop reads that there is one, finds
# out which, and calls the handler. Two more, for what has been caused by that.
LAST_ROUNDS = 5
# Time for the log to be written out before the exec, in seconds.
FLUSH_TIMEOUT = 0.5
# How much of what a failed program has said is told, from its end.
MAX_WORDS = 4096


@dataclass(frozen=True, slots=True)
class Command:
    """How this program was started, so that it can be started again, as it is on the disk by then."""

    program: tuple[str, ...]
    """The interpreter, and what it runs: "-m appserver", or the console script."""
    arguments: tuple[str, ...]

    def __call__(self, word: str, fd: int) -> list[str]:
        return [*self.program, word, str(fd), *self.arguments]


class Upgrade:
    """Tries a new program, and becomes it."""

    def __init__(
        self, command: Command, supervisor: Supervisor, describe: Callable[[], Handover], output: MasterLog
    ) -> None:
        """`describe` tells what there is to hand over."""
        self._command = command
        self._supervisor = supervisor
        self._describe = describe
        self._output = output
        self._log = get_logger("appserver.master")
        self._task: asyncio.Task[None] | None = None
        self.child: Child | None = None

    def request(self, limit: float) -> asyncio.Future[str]:
        """Replace this program; `limit` is what the new one gets to be tried, in seconds.

        What is returned tells, right before the end of this program, that it is replaced, or has the UpgradeError that
        says why it goes on; that is in the log as well.
        """
        outcome: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        outcome.add_done_callback(lambda future: future.cancelled() or future.exception())  # nobody has to ask
        try:
            self._check()
            if self._task is not None:
                raise UpgradeError("another upgrade is under way")
        except UpgradeError as error:
            self._refuse(outcome, error)
        else:
            self._task = asyncio.create_task(self._run(limit, outcome))
        return outcome

    def _check(self) -> None:
        """Refuse what would cut something short that somebody waits for. Raises UpgradeError."""
        state = self._supervisor.state
        if state != "serving":
            raise UpgradeError(f"the server is {state}; ask again when it serves")

    def _refuse(self, outcome: asyncio.Future[str], error: UpgradeError) -> None:
        self._log.error("upgrade refused", reason=str(error))
        if not outcome.done():
            outcome.set_exception(error)

    async def _run(self, limit: float, outcome: asyncio.Future[str]) -> None:
        """Become the new program; returns only if that is not possible."""
        try:
            await self._try(limit)
            signals.block()
            try:
                await _let_pass()
                self._check()
                if not outcome.done():
                    outcome.set_result("the new program takes over")
                await _let_pass()
                self._become()
            finally:
                signals.unblock()
        except UpgradeError as error:
            self._refuse(outcome, error)
        finally:
            self._task = None

    async def _try(self, limit: float) -> None:
        """Have the new program go through everything but the taking over. Raises UpgradeError if it does not succeed."""
        with contextlib.ExitStack() as opened:
            try:
                words = os.memfd_create("appserver-words")
                opened.callback(os.close, words)
                handover = self._describe()
                state = handover.write()
                opened.callback(os.close, state)
                status = await self._run_on_trial(handover, state, words, limit)
            except OSError as error:
                raise UpgradeError(f"{sys.executable} cannot be started: {error.strerror}") from error
            said = _said(words)
        if status.code != 0:
            raise UpgradeError(f"the new program {describe_status(status)}: {_last_words(said)}")
        if FIT not in said:
            raise UpgradeError("the new program is not appserver, or an older one: it cannot take over")

    async def _run_on_trial(self, handover: Handover, state: int, words: int, limit: float) -> ExitStatus:
        loop = asyncio.get_running_loop()
        exited: asyncio.Future[ExitStatus] = loop.create_future()
        self.child = Child(
            _spawn(self._command(TRY, state), [state, handover.scoreboard], words), exited.set_result, loop
        )
        try:
            async with asyncio.timeout(limit):
                return await asyncio.shield(exited)
        except TimeoutError:
            self.child.signal(signal.SIGKILL)
            await exited
            raise UpgradeError(f"the new program did not come up within {limit:g} s (workers.boot_timeout)") from None
        finally:
            if not exited.done():  # this program ends meanwhile
                self.child.signal(signal.SIGKILL)
            self.child = None

    def _become(self) -> None:
        handover = self._describe()
        try:
            state = handover.write()
        except OSError as error:
            raise UpgradeError(f"nothing can be handed over: {error.strerror}") from error
        passed = [fd for fd in (state, *handover.descriptors()) if not os.get_inheritable(fd)]
        self._output.flush(FLUSH_TIMEOUT)
        try:
            set_inheritable(passed, True)
            os.execv(sys.executable, self._command(TAKE_OVER, state))
        except OSError as error:
            raise UpgradeError(f"{sys.executable} cannot be executed: {error.strerror}") from error
        finally:
            set_inheritable(passed, False)
            os.close(state)


async def _let_pass() -> None:
    for _ in range(LAST_ROUNDS):
        await asyncio.sleep(0)


def _spawn(command: list[str], inherited: list[int], words: int) -> int:
    """Start the program on trial, in a process group of its own (as for a zygote); returns its pid."""
    actions = [(os.POSIX_SPAWN_DUP2, fd, fd) for fd in inherited]
    actions += [(os.POSIX_SPAWN_DUP2, words, 1), (os.POSIX_SPAWN_DUP2, words, 2)]
    return os.posix_spawn(sys.executable, command, os.environ, file_actions=actions, setpgroup=0)


def _said(fd: int) -> list[str]:
    """The last lines that a program has printed."""
    size = os.fstat(fd).st_size
    return os.pread(fd, MAX_WORDS, max(0, size - MAX_WORDS)).decode(errors="replace").splitlines()


def _last_words(lines: Sequence[str]) -> str:
    """The last words of a program: its errors for people if there are any, and else, or above a bug, its last line."""
    errors = [line.removeprefix("appserver: ") for line in lines if line.startswith("appserver: ")]
    others = [line for line in lines if line.strip() and not line.startswith("appserver: ")]
    if errors and not errors[-1].startswith("this is a bug"):
        return "; ".join(errors)
    return others[-1] if others else "it said nothing"
