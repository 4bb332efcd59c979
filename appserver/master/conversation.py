"""The messages that a zygote or a worker may send to the master, given what it has sent and been asked before.

Both run the application's code as `workers.user`, so what they say may have been written by an attacker. Everything that a
process of this program ever says is an answer: to its start, to a `Fork`, to a `Drain`, to a `ReportTasks`. A conversation
counts what is still unanswered, and anything beyond it ends the conversation (`ChannelError`). That bounds the work which
a process can make for the master, without a limit in messages a second: after its last answer there is nothing left to say.

Pure bookkeeping, so the random worlds of the tests hold the very same conversations.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from appserver.errors import ChannelError
from appserver.supervision.events import (
    Failure,
    Forked,
    ForkRefused,
    WorkerFailed,
    WorkerReady,
    WorkerStoppedAccepting,
    ZygoteFailed,
    ZygoteReady,
)
from appserver.worker.messages import (
    MAX_SUMMARY_LENGTH,
    MAX_TRACEBACK_LENGTH,
    BootFailed,
    Imported,
    Message,
    PreloadGivenUp,
    Ready,
    StoppedAccepting,
    TasksReported,
    shorten,
)

# A process may be of another version than its master (after a re-exec), or answer what the master before this one has asked.
# So many messages in its life that cannot be placed are left out; no version has had more than a few.
MAX_UNPLACED = 16

# The names that Python gives its exit codes: what a process ends with is one octet (wait(2)), and 0 is no failure.
FAILURE_CODES = range(1, 256)

ZygoteEvent = ZygoteReady | ZygoteFailed | Forked | ForkRefused
WorkerEvent = WorkerReady | WorkerFailed | WorkerStoppedAccepting


class _Conversation:
    def __init__(self, *, answered: bool) -> None:
        self.answered = answered
        """Whether the process has said what became of its boot."""
        self._unplaced = 0

    def _answer_boot(self, message: Message) -> None:
        if self.answered:
            raise ChannelError(f"it says {_name(message)} after it has said already what became of its boot")
        self.answered = True

    def leave_out(self) -> None:
        """Take note of a message that cannot be placed. Raises ChannelError when there have been too many."""
        self._unplaced += 1
        if self._unplaced > MAX_UNPLACED:
            raise ChannelError("it says more than it was asked for")


class ZygoteConversation(_Conversation):
    """The messages that the zygote of one generation may still send."""

    def __init__(
        self,
        generation: int,
        claim: Callable[[int], None],
        *,
        answered: bool = False,
        unanswered: Iterable[int] = (),
        may_give_up: bool = True,
    ) -> None:
        """`claim` raises ChannelError unless a pid can be that of a new worker; `unanswered` are the forks under way.

        `may_give_up` is false for the zygote that stands in for one which has given a preload up.
        """
        super().__init__(answered=answered)
        self.generation = generation
        self._claim = claim
        self._unanswered = set(unanswered)
        self._may_give_up = may_give_up

    def fork_ordered(self, worker: int) -> None:
        """The zygote has been asked for a worker, and owes an answer."""
        self._unanswered.add(worker)

    def hear(self, message: Message | None) -> ZygoteEvent | None:
        """The event of a message; None if it is for nobody but the zygote's handle. Raises ChannelError if it is not due."""
        match message:
            case Imported(preloaded):
                self._answer_boot(message)
                return ZygoteReady(self.generation, preloaded)
            case BootFailed():
                self._answer_boot(message)
                return ZygoteFailed(self.generation, _failure(message))
            case PreloadGivenUp():
                self._answer_boot(message)
                if not self._may_give_up:
                    raise ChannelError("it gives up a preload that it was told not to begin")
                return None
            case Forked(worker, pid):
                self._answer_fork(worker)
                self._claim(pid)
                return message
            case ForkRefused(worker, reason):
                self._answer_fork(worker)
                return ForkRefused(worker, shorten(reason, MAX_SUMMARY_LENGTH))
            case None:
                self.leave_out()
                return None
            case _:
                raise ChannelError(f"it says {_name(message)}, which no zygote says")

    def _answer_fork(self, worker: int) -> None:
        if worker not in self._unanswered:
            raise ChannelError(f"it answers for a worker (serial {worker}) that it was not asked to fork")
        self._unanswered.remove(worker)


class WorkerConversation(_Conversation):
    """The messages that one worker may still send."""

    def __init__(self, worker: int, *, answered: bool = False, stopped_accepting: bool = False) -> None:
        super().__init__(answered=answered)
        self._worker = worker
        self.stopped_accepting = stopped_accepting
        """Whether it has said that it takes no more connections."""
        self._reports: set[int] = set()

    def tasks_asked(self, serial: int) -> None:
        """The worker has been asked for its tasks, and owes a `TasksReported`."""
        self._reports.add(serial)

    def hear(self, message: Message | None) -> WorkerEvent | None:
        """The event of a message; None if it is for nobody but the worker's handle. Raises ChannelError if it is not due."""
        match message:
            case Ready():
                self._answer_boot(message)
                return WorkerReady(self._worker)
            case BootFailed():
                self._answer_boot(message)
                return WorkerFailed(self._worker, _failure(message))
            case StoppedAccepting():  # of its own accord, too, where somebody has sent it a SIGTERM
                if self.stopped_accepting:
                    raise ChannelError("it says for the second time that it accepts no more")
                self.stopped_accepting = True
                return WorkerStoppedAccepting(self._worker)
            case TasksReported(serial) if serial in self._reports:
                self._reports.remove(serial)
                return None
            case TasksReported() | None:
                self.leave_out()
                return None
            case _:
                raise ChannelError(f"it says {_name(message)}, which no worker says")


def _name(message: Message) -> str:
    return type(message).__name__


def _failure(message: BootFailed) -> Failure:
    if message.exit_code not in FAILURE_CODES:
        raise ChannelError(f"it claims to exit with code {message.exit_code}")
    summary, trace = shorten(message.message, MAX_SUMMARY_LENGTH), shorten(message.traceback, MAX_TRACEBACK_LENGTH)
    return Failure(message.kind, summary, trace, message.exit_code)
