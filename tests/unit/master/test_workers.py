"""The master's hold on a worker, with a real channel and a test for the zygote and the worker."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import signal

import pytest

from appserver.master import workers
from appserver.master.stacks import NO_STACKS
from appserver.master.workers import NO_TASKS, NO_TASKS_YET, WorkerHandle
from appserver.supervision.events import (
    ExitStatus,
    Forked,
    Request,
    WorkerExited,
    WorkerMisbehaved,
    WorkerReady,
    WorkerStoppedAccepting,
)
from appserver.worker.messages import (
    BootFailed,
    Drain,
    Fork,
    Imported,
    Message,
    Ready,
    ReopenLogs,
    ReportTasks,
    StoppedAccepting,
    TasksReported,
)
from tests.unit.master.conftest import Log
from tests.unit.master.stage import FarWorker, Play, Stage, descriptors, room_for, rounds, runs, until

FAILED = BootFailed("startup", "the database is down", "Traceback …", 5)


def ordered(stage: Stage) -> tuple[WorkerHandle, FarWorker]:
    """A worker that has been ordered and is being forked; serial 7, number 2."""
    zygote, far = stage.zygote()
    handle = WorkerHandle.order(7, 2, zygote, stage.loop, stage.events.append)
    zygote.let_go()
    return handle, far.forks()


def forked(stage: Stage) -> tuple[WorkerHandle, FarWorker]:
    """A worker that runs."""
    handle, worker = ordered(stage)
    handle.forked(worker.pid)
    return handle, worker


class TestOrdering:
    def test_the_zygote_is_given_the_workers_end_of_all(self, play: Play) -> None:
        async def act(stage: Stage) -> None:
            handle, worker = ordered(stage)
            assert (handle.pid, handle.accepting) == (None, True)
            assert (worker.worker, worker.number) == (7, 2)
            handle.tell(ReopenLogs())
            assert worker.orders() == [ReopenLogs()]
            os.write(worker.stacks, b"here")
            assert handle._stacks.read_new() == "here"
            handle.close()
            assert worker.is_let_go

        play(act)

    @pytest.mark.parametrize("zygote", ["let go of", "gone", "deaf"])
    def test_an_order_that_cannot_be_given_leaves_nothing_behind(self, play: Play, zygote: str) -> None:
        async def act(stage: Stage) -> None:
            handle, far = stage.zygote()
            if zygote == "let go of":
                handle.let_go()
            elif zygote == "gone":
                far.channel.close()
            else:
                with contextlib.suppress(BlockingIOError):
                    while True:
                        handle.fork(1, 1, [])
            before = descriptors()
            with pytest.raises(OSError, match=r"gone|pipe|unavailable"):
                WorkerHandle.order(7, 2, handle, stage.loop, stage.events.append)
            assert descriptors() <= before
            handle.let_go()

        play(act)

    def test_for_want_of_descriptors_nothing_is_ordered_and_none_is_kept(self, play: Play) -> None:
        async def act(stage: Stage) -> None:
            zygote, far = stage.zygote()
            before, failures = descriptors(), 0
            while True:
                try:
                    with room_for(failures):
                        handle = WorkerHandle.order(7, 2, zygote, stage.loop, stage.events.append)
                    break
                except OSError:
                    failures += 1
                    assert descriptors() <= before
            assert failures == 3, "two ends of a channel, and the file for its stacks"
            assert far.orders() == [Fork(7, 2)]
            handle.close()
            zygote.let_go()

        play(act)

    def test_a_record_is_what_it_was_restored_from(self, play: Play) -> None:
        async def act(stage: Stage) -> None:
            handle, worker = forked(stage)
            worker.say(Ready(), StoppedAccepting())
            await until(lambda: len(stage.events) == 2, "both are heard")
            record = handle.record()
            assert (record.pid, record.answered, record.stopped_accepting) == (worker.pid, True, True)
            handle._hearing._stop_reading()
            record.channel, record.stacks = os.dup(record.channel), os.dup(record.stacks)
            again = WorkerHandle.restore(record, stage.loop, stage.events.append)
            assert again.record() == record
            worker.say(Ready())
            await until(lambda: len(stage.events) == 3, "it has said so to the program before")
            assert isinstance(stage.events[2], WorkerMisbehaved)
            again.close()
            handle.close()

        play(act)


class TestHearing:
    def test_what_it_says_is_posted_in_order_and_its_exit_last(self, play: Play) -> None:
        async def act(stage: Stage) -> None:
            handle, worker = forked(stage)
            worker.say(Ready(), StoppedAccepting())
            handle._exited(ExitStatus(code=0))  # whatever the event loop sees first
            assert stage.events == [WorkerReady(7), WorkerStoppedAccepting(7), WorkerExited(7, ExitStatus(code=0))]
            assert not handle.accepting
            handle.close()

        play(act)

    @pytest.mark.parametrize(
        "words",
        [
            [Ready(), Ready()],
            [Ready(), FAILED],
            [FAILED, Ready()],
            [StoppedAccepting(), StoppedAccepting()],
            [Imported(preloaded=False)],
            [Forked(8, 1)],
            [Drain("stop", 0.0)],
            [BootFailed("bug", "", "", 0)],
            [TasksReported(number) for number in range(17)],
        ],
        ids=lambda words: " ".join(type(word).__name__ for word in words[:2]),
    )
    def test_one_that_speaks_out_of_turn_is_heard_no_more(self, play: Play, words: list[Message]) -> None:
        async def act(stage: Stage) -> None:
            handle, worker = forked(stage)
            worker.say(*words, StoppedAccepting())
            await until(lambda: "WorkerMisbehaved" in stage.kinds(), "it is found out")
            await rounds()
            assert stage.kinds()[-1] == "WorkerMisbehaved", "nothing is heard after that"
            assert stage.kinds().count("WorkerMisbehaved") == 1
            assert not worker.is_let_go, "it can still be told to drain"
            assert runs(worker.pid), "what becomes of it is for the supervisor to decide"
            handle.close()

        play(act)

    @pytest.mark.parametrize("data", [b"{", b"[]", b'{"type": "BootFailed"}', b'{"type": ["Ready"]}', b"\xff" * 1000])
    def test_noise_is_the_last_that_is_heard(self, play: Play, data: bytes) -> None:
        async def act(stage: Stage) -> None:
            handle, worker = forked(stage)
            worker.shout(data)
            worker.say(Ready())
            await until(lambda: stage.events, "it is found out")
            await rounds()
            assert stage.kinds() == ["WorkerMisbehaved"]
            worker.signal(signal.SIGKILL)
            await until(lambda: "WorkerExited" in stage.kinds(), "its exit is reported all the same")
            handle.close()

        play(act)

    @pytest.mark.usefixtures("soon")
    def test_one_that_is_not_reported_yet_may_close_its_channel(self, play: Play) -> None:
        """Its process is not known: it may have exited long ago."""

        async def act(stage: Stage) -> None:
            handle, worker = ordered(stage)
            worker.close()
            await asyncio.sleep(0.05)  # what is asked is that nothing happens
            assert stage.events == []
            handle.forked(worker.pid)
            worker.signal(signal.SIGKILL)
            await until(lambda: stage.events, "its exit")
            assert stage.kinds() == ["WorkerExited"]
            handle.close()

        play(act)

    @pytest.mark.usefixtures("soon")
    def test_one_that_is_let_go_of_is_not_suspected_for_closing_its_end(self, play: Play) -> None:
        async def act(stage: Stage) -> None:
            handle, worker = forked(stage)
            worker.close()
            handle._hearing.read()
            handle.close()
            handle.close()
            await asyncio.sleep(0.05)  # what is asked is that nothing happens
            assert stage.events == []

        play(act)


class TestOrders:
    def test_a_worker_that_reads_nothing_does_not_hold_the_master_up(self, play: Play, log: Log) -> None:
        async def act(stage: Stage) -> None:
            handle, worker = forked(stage)
            while not log():
                handle.tell(ReopenLogs())
            assert log()[0]["event"] == "worker not reached"
            assert set(worker.orders()) == {ReopenLogs()}
            worker.channel.close()
            handle.tell(Drain("stop", 1.0))
            assert len(log()) == 2
            handle.close()
            handle.tell(Drain("stop", 1.0))
            assert len(log()) == 3

        play(act)

    def test_a_kill_before_it_is_reported_is_remembered_and_done_when_it_is_repeated(self, play: Play) -> None:
        async def act(stage: Stage) -> None:
            handle, worker = ordered(stage)
            handle.kill()
            assert handle.killed
            assert runs(worker.pid)
            handle.forked(worker.pid)
            handle.kill()
            await until(lambda: stage.events, "its exit")
            assert stage.events == [WorkerExited(7, ExitStatus(signal=signal.SIGKILL))]
            handle.kill()
            handle.close()

        play(act)


class TestStacks:
    def test_a_worker_reports_its_tasks_itself(self, play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(workers, "TASKS_TIMEOUT", 30.0)

        async def act(stage: Stage) -> None:
            handle, worker = forked(stage)
            asked = [asyncio.create_task(handle.stacks()) for _ in range(2)]
            for text in (b"the first", b"the second"):
                await rounds()
                heard = worker.hear()
                assert heard is not None
                order, [file] = heard
                assert isinstance(order, ReportTasks)
                os.write(file, text)
                os.close(file)
                os.write(worker.stacks, b"threads\n")
                worker.say(TasksReported(order.serial))
            found = await asyncio.gather(*asked)
            assert [tasks for _, tasks in found] == ["the first", "the second"], "each has its own answer"
            assert all("threads" in threads for threads, _ in found)
            assert stage.events == []
            handle.close()

        play(act)

    @pytest.mark.usefixtures("soon")
    def test_a_worker_that_is_blocked_reports_none(self, play: Play) -> None:
        async def act(stage: Stage) -> None:
            handle, worker = forked(stage)
            assert await handle.stacks() == (NO_STACKS, NO_TASKS)
            worker.orders()
            worker.say(TasksReported(0), TasksReported(1), Ready())
            await until(lambda: stage.events, "late answers, and such as nobody waits for, are left out")
            assert stage.events == [WorkerReady(7)]
            worker.channel.close()
            assert await handle.stacks() == (NO_STACKS, NO_TASKS)
            handle.close()
            assert await handle.stacks() == (NO_STACKS, NO_TASKS)

        play(act)

    def test_without_descriptors_there_are_no_tasks(self, play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(_name: str) -> int:
            raise OSError(errno.EMFILE, "Too many open files")

        async def act(stage: Stage) -> None:
            handle, worker = forked(stage)
            monkeypatch.setattr(workers, "report_file", refuse)
            assert await handle.stacks() == (NO_STACKS, NO_TASKS)
            assert worker.orders() == []
            handle.close()

        play(act)

    @pytest.mark.usefixtures("soon")
    def test_stacks_of_a_blocked_loop_are_logged_with_what_it_serves(self, play: Play, log: Log) -> None:
        async def act(stage: Stage) -> None:
            handle, worker = forked(stage)
            os.write(worker.stacks, b"from before\n")
            handle.dump_stacks(7.123456, [Request("GET", "/slow", 8.0, "id")])
            os.write(worker.stacks, b"File app.py, line 1\n")
            await until(log, "the record")
            [record] = log()
            assert (record["event"], record["seconds"], record["worker_pid"]) == ("worker stacks", 7.123, worker.pid)
            assert record["stacks"] == "File app.py, line 1"
            assert "/slow" in str(record)
            assert runs(worker.pid), "without a handler the signal would end it"
            handle.close()

        play(act)

    @pytest.mark.usefixtures("soon")
    @pytest.mark.parametrize("written", [True, False])
    def test_stacks_that_are_not_there_at_once_are_looked_for_again_but_not_for_ever(
        self, play: Play, log: Log, written: bool
    ) -> None:
        async def act(stage: Stage) -> None:
            handle, worker = forked(stage)
            handle.dump_stacks(7.0, [])
            handle._log_stacks(7.0, (), handle._stacks.mark(), 2)
            assert log() == []
            if written:
                os.write(worker.stacks, b"File app.py, line 1\n")
            await until(lambda: len(log()) == 2, "the record of each")
            assert {record["stacks"] for record in log()} == {"File app.py, line 1" if written else NO_STACKS}
            handle.close()

        play(act)

    @pytest.mark.usefixtures("soon")
    def test_a_boot_that_takes_long_is_logged(self, play: Play, log: Log) -> None:
        async def act(stage: Stage) -> None:
            handle, _ = forked(stage)
            handle.dump_boot(58.0)
            await until(log, "the record")
            [record] = log()
            assert (record["event"], record["seconds"], record["booting"]) == ("worker stacks", 58.0, True)
            assert (record["stacks"], record["tasks"]) == (NO_STACKS, NO_TASKS_YET)
            handle.close()

        play(act)

    @pytest.mark.usefixtures("soon")
    def test_nothing_is_logged_of_one_that_is_gone_by_then(self, play: Play, log: Log) -> None:
        async def act(stage: Stage) -> None:
            handle, _ = forked(stage)
            handle.dump_stacks(7.0, [])
            handle.dump_boot(58.0)
            handle.close()
            await handle._boot_report
            await asyncio.sleep(0.05)  # what is asked is that nothing happens any more
            assert log() == []

        play(act)

    def test_what_it_wrote_when_it_crashed_is_logged_unless_it_is_gone(self, play: Play, log: Log) -> None:
        async def act(stage: Stage) -> None:
            handle, worker = forked(stage)
            os.write(worker.stacks, b"Fatal Python error: Aborted")
            worker.signal(signal.SIGABRT)
            await until(lambda: stage.events, "its exit")
            assert [(record["event"], record["stacks"]) for record in log()] == [
                ("worker crashed", "Fatal Python error: Aborted")
            ]
            handle.close()

        play(act)
