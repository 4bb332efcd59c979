"""Turns: every answer once, nothing that was not asked for, and nothing that another kind of process says."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appserver.errors import ChannelError
from appserver.master.conversation import MAX_UNPLACED, WorkerConversation, ZygoteConversation
from appserver.supervision.events import (
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
    BootFailed,
    Drain,
    Fork,
    Imported,
    Message,
    PreloadGivenUp,
    Ready,
    RenewTLS,
    ReopenLogs,
    ReportTasks,
    StoppedAccepting,
    TasksReported,
)

FAILED = BootFailed("import", "no module named 'x'", "Traceback …", 4)
ORDERS: list[Message] = [Fork(1, 1), Drain("stop", 1.0), ReopenLogs(), RenewTLS(), ReportTasks(1)]
OF_ZYGOTES: list[Message] = [Imported(preloaded=True), PreloadGivenUp(), Forked(1, 42), ForkRefused(1, "no")]
OF_WORKERS: list[Message] = [Ready(), StoppedAccepting(), TasksReported(1)]


def claim_nothing(pid: int) -> None:
    raise ChannelError(f"it names process {pid}")


def claim_anything(pid: int) -> None:
    pass


def zygote(*, may_give_up: bool = True) -> ZygoteConversation:
    return ZygoteConversation(3, claim_anything, may_give_up=may_give_up)


class TestZygotes:
    @pytest.mark.parametrize("answer", [Imported(preloaded=False), FAILED, PreloadGivenUp()])
    @pytest.mark.parametrize("again", [Imported(preloaded=False), FAILED, PreloadGivenUp()])
    def test_it_says_once_what_became_of_its_boot(self, answer: Message, again: Message) -> None:
        conversation = zygote()
        conversation.hear(answer)
        assert conversation.answered
        with pytest.raises(ChannelError, match="said already"):
            conversation.hear(again)

    def test_what_it_says_becomes_an_event(self) -> None:
        assert zygote().hear(Imported(preloaded=True)) == ZygoteReady(3, preloaded=True)
        failed = zygote().hear(FAILED)
        assert isinstance(failed, ZygoteFailed)
        assert (failed.failure.kind, failed.failure.exit_code) == ("import", 4)
        assert zygote().hear(PreloadGivenUp()) is None

    def test_each_fork_is_answered_once(self) -> None:
        conversation = zygote()
        conversation.fork_ordered(7)
        conversation.fork_ordered(8)
        assert conversation.hear(Forked(8, 4242)) == Forked(8, 4242)
        assert conversation.hear(ForkRefused(7, "too many")) == ForkRefused(7, "too many")
        for again in (Forked(8, 4242), ForkRefused(8, "no"), Forked(7, 1), Forked(9, 1), Forked(-1, 1)):
            with pytest.raises(ChannelError, match="not asked to fork"):
                conversation.hear(again)

    def test_a_pid_counts_only_if_it_can_be_that_of_a_worker(self) -> None:
        conversation = ZygoteConversation(1, claim_nothing, unanswered=[7])
        with pytest.raises(ChannelError, match="it names process -1"):
            conversation.hear(Forked(7, -1))

    def test_one_that_was_started_without_preload_cannot_give_it_up(self) -> None:
        with pytest.raises(ChannelError, match="not to begin"):
            zygote(may_give_up=False).hear(PreloadGivenUp())

    @pytest.mark.parametrize("message", [*ORDERS, *OF_WORKERS], ids=repr)
    def test_it_says_nothing_that_others_say(self, message: Message) -> None:
        with pytest.raises(ChannelError, match="no zygote says"):
            zygote().hear(message)

    def test_a_long_reason_is_cut(self) -> None:
        conversation = zygote()
        conversation.fork_ordered(1)
        event = conversation.hear(ForkRefused(1, "x" * 100_000))
        assert isinstance(event, ForkRefused)
        assert len(event.reason) < 2 * MAX_SUMMARY_LENGTH


class TestWorkers:
    def test_what_it_says_becomes_an_event(self) -> None:
        conversation = WorkerConversation(5)
        assert conversation.hear(Ready()) == WorkerReady(5)
        assert conversation.hear(StoppedAccepting()) == WorkerStoppedAccepting(5)
        assert isinstance(WorkerConversation(5).hear(FAILED), WorkerFailed)

    @pytest.mark.parametrize("answer", [Ready(), FAILED])
    @pytest.mark.parametrize("again", [Ready(), FAILED])
    def test_it_says_once_what_became_of_its_boot(self, answer: Message, again: Message) -> None:
        conversation = WorkerConversation(5)
        conversation.hear(answer)
        with pytest.raises(ChannelError, match="said already"):
            conversation.hear(again)

    def test_it_stops_accepting_once(self) -> None:
        conversation = WorkerConversation(5)
        conversation.hear(StoppedAccepting())
        with pytest.raises(ChannelError, match="second time"):
            conversation.hear(StoppedAccepting())

    def test_each_report_of_tasks_is_answered_once_and_an_old_one_is_left_out(self) -> None:
        conversation = WorkerConversation(5)
        conversation.tasks_asked(0)
        assert conversation.hear(TasksReported(0)) is None
        for _ in range(MAX_UNPLACED):
            assert conversation.hear(TasksReported(0)) is None
        with pytest.raises(ChannelError, match="more than it was asked for"):
            conversation.hear(TasksReported(0))

    @pytest.mark.parametrize("message", [*ORDERS, *OF_ZYGOTES], ids=repr)
    def test_it_says_nothing_that_others_say(self, message: Message) -> None:
        with pytest.raises(ChannelError, match="no worker says"):
            WorkerConversation(5).hear(message)

    @pytest.mark.parametrize("code", [-1, 0, 256, 10**12])
    def test_the_exit_code_of_a_failure_is_one_that_there_is(self, code: int) -> None:
        with pytest.raises(ChannelError, match="exit with code"):
            WorkerConversation(5).hear(BootFailed("bug", "", "", code))

    def test_one_that_was_restored_goes_on_where_it_was(self) -> None:
        conversation = WorkerConversation(5, answered=True, stopped_accepting=True)
        for again in (Ready(), StoppedAccepting()):
            with pytest.raises(ChannelError):
                conversation.hear(again)


MESSAGES = st.sampled_from([*ORDERS, *OF_ZYGOTES, *OF_WORKERS, FAILED, None])


@given(st.lists(MESSAGES, max_size=200))
def test_whatever_a_process_says_it_comes_to_an_end_soon(messages: list[Message | None]) -> None:
    conversations: list[ZygoteConversation | WorkerConversation] = [zygote(), WorkerConversation(1)]
    for conversation in conversations:
        said = 0
        for message in messages:
            try:
                conversation.hear(message)
            except ChannelError:
                break
            said += 1
        assert said <= MAX_UNPLACED + 2
