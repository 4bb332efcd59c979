"""The master's hold on a zygote, with a real channel and a test for the zygote."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
from dataclasses import replace

import pytest

from appserver.errors import ChannelError
from appserver.master import zygotes
from appserver.master.handover import ZygoteRecord
from appserver.master.zygotes import ZygoteHandle
from appserver.supervision.events import (
    ExitStatus,
    Forked,
    ForkRefused,
    ZygoteExited,
    ZygoteFailed,
    ZygoteMisbehaved,
    ZygoteReady,
)
from appserver.worker.messages import (
    WITHOUT_PRELOAD,
    BootFailed,
    Channel,
    Fork,
    Imported,
    Message,
    PreloadGivenUp,
    Ready,
    ReopenLogs,
)
from tests.support import processes
from tests.unit.master.conftest import Log
from tests.unit.master.stage import BOOT, Play, Stage, claim, descriptors, room_for, rounds, runs, until

FAILED = BootFailed("import", "no module named 'app'", "Traceback …", 4)


class TestStarting:
    def test_what_it_says_is_posted_in_order(self, play: Play) -> None:
        async def act(stage: Stage) -> None:
            handle, zygote = stage.zygote()
            handle.fork(7, 2, [])
            handle.fork(8, 3, [])
            zygote.say(Imported(preloaded=True), ForkRefused(8, "full"), Forked(7, 4711))
            await until(lambda: len(stage.events) == 3, "three events")
            assert stage.events == [ZygoteReady(1, preloaded=True), ForkRefused(8, "full"), Forked(7, 4711)]
            assert zygote.orders() == [Fork(7, 2), Fork(8, 3)]
            handle.let_go()
            zygote.signal(signal.SIGKILL)
            await until(lambda: len(stage.events) == 4, "its exit")

        play(act)

    def test_for_want_of_descriptors_nothing_is_started_and_none_is_kept(self, play: Play) -> None:
        """However far it has come: each of its steps may be the one too many."""

        async def act(stage: Stage) -> None:
            loop, scoreboard = asyncio.get_running_loop(), os.memfd_create("scoreboard")
            boot = replace(BOOT, scoreboard=scoreboard)
            before, failures = descriptors(), 0
            others = children()
            while True:
                try:
                    with room_for(failures):
                        handle = ZygoteHandle.start(boot, os.environ, claim, loop, stage.events.append)
                    break
                except OSError:
                    failures += 1
                    assert descriptors() <= before
                    reap(children() - others)
            assert failures >= 4, "two ends of a channel, two files"
            handle.kill()
            await until(lambda: any(isinstance(event, ZygoteExited) for event in stage.events), "its exit")
            os.close(scoreboard)

        play(act, real=True)

    def test_a_program_that_cannot_be_executed_leaves_nothing_behind(
        self, play: Play, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(zygotes, "python", lambda *_: ["/nowhere/python"])

        async def act(stage: Stage) -> None:
            loop, scoreboard = asyncio.get_running_loop(), os.memfd_create("scoreboard")
            boot = replace(BOOT, scoreboard=scoreboard)
            before = descriptors()
            with pytest.raises(FileNotFoundError):
                ZygoteHandle.start(boot, os.environ, claim, loop, stage.events.append)
            assert descriptors() <= before
            os.close(scoreboard)

        play(act, real=True)

    def test_one_that_cannot_be_watched_is_killed_and_let_go_of(
        self, play: Play, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def act(stage: Stage) -> None:
            _, first = stage.zygote()
            monkeypatch.setattr(zygotes, "Child", full)
            with pytest.raises(OSError, match="too many files"):
                stage.zygote()
            first.say(PreloadGivenUp())
            await until(lambda: stage.events, "it cannot be started over")
            assert stage.kinds() == ["ZygoteFailed"]
            for zygote in stage.zygotes[1:]:
                assert zygote.is_let_go
                await until(lambda zygote=zygote: not runs(zygote.pid), "it is killed")  # type: ignore[misc]

        play(act)


class TestHostility:
    @pytest.mark.parametrize(
        "words",
        [
            [Ready()],
            [Imported(preloaded=True), Imported(preloaded=True)],
            [FAILED, Imported(preloaded=False)],
            [Imported(preloaded=False), PreloadGivenUp()],
            [Forked(7, 1), Forked(7, 2)],
            [ForkRefused(7, "no"), Forked(7, 1)],
            [Forked(9, 1)],
            [Fork(7, 1)],
        ],
        ids=lambda words: " ".join(type(word).__name__ for word in words),
    )
    def test_one_that_speaks_out_of_turn_is_heard_no_more(self, play: Play, words: list[Message]) -> None:
        async def act(stage: Stage) -> None:
            handle, zygote = stage.zygote()
            handle.fork(7, 1, [])
            zygote.say(*words, Imported(preloaded=False))
            await until(lambda: "ZygoteMisbehaved" in stage.kinds(), "it is found out")
            assert stage.kinds()[len(words) - 1 :] == ["ZygoteMisbehaved"], (
                "what was in turn counts, and nothing after it"
            )
            assert zygote.is_let_go
            with pytest.raises(BrokenPipeError):
                handle.fork(8, 2, [])
            handle.tell(ReopenLogs())
            assert handle.record().channel is None
            zygote.signal(signal.SIGKILL)
            await until(lambda: stage.kinds()[-1] == "ZygoteExited", "its exit")

        play(act)

    @pytest.mark.parametrize("data", [b"{", b"[]", b'{"type": "Forked"}', b'{"type": "Imported", "preloaded": 1}'])
    def test_noise_is_the_last_that_is_heard(self, play: Play, data: bytes) -> None:
        async def act(stage: Stage) -> None:
            _, zygote = stage.zygote()
            zygote.shout(data)
            zygote.say(Imported(preloaded=False))
            await until(lambda: stage.events, "it is found out")
            await rounds()
            assert stage.kinds() == ["ZygoteMisbehaved"]
            assert zygote.is_let_go

        play(act)

    def test_a_pid_that_is_not_to_be_a_workers_ends_the_conversation(self, play: Play) -> None:
        def refuse(pid: int) -> None:
            raise ChannelError(f"{pid} is somebody else's")

        async def act(stage: Stage) -> None:
            handle = ZygoteHandle.start(BOOT, {}, refuse, stage.loop, stage.events.append)
            handle.fork(7, 1, [])
            stage.zygotes[0].say(Forked(7, 4711))
            await until(lambda: stage.events, "it is found out")
            assert stage.events == [ZygoteMisbehaved(1, "4711 is somebody else's")]

        play(act)


class TestExit:
    def test_its_last_words_come_before_its_exit(self, play: Play) -> None:
        async def act(stage: Stage) -> None:
            handle, zygote = stage.zygote()
            zygote.say(FAILED)
            handle._exited(ExitStatus(code=4))  # whatever the event loop sees first
            assert stage.kinds() == ["ZygoteFailed", "ZygoteExited"]
            assert stage.events[1] == ZygoteExited(1, ExitStatus(code=4))

        play(act)

    def test_what_it_wrote_when_it_crashed_is_logged(self, play: Play, log: Log) -> None:
        async def act(stage: Stage) -> None:
            _, zygote = stage.zygote()
            os.write(zygote.stacks, b"Fatal Python error: Segmentation fault")
            zygote.signal(signal.SIGSEGV)
            await until(lambda: stage.events, "its exit")
            [record] = log()
            assert (record["event"], record["generation"]) == ("zygote crashed", 1)
            assert "Segmentation fault" in record["stacks"]

        play(act)

    def test_one_that_was_let_go_of_still_has_its_exit_reported(self, play: Play) -> None:
        async def act(stage: Stage) -> None:
            handle, zygote = stage.zygote()
            handle.let_go()
            handle.let_go()
            assert zygote.is_let_go
            zygote.signal(signal.SIGTERM)
            await until(lambda: stage.events, "its exit")
            assert stage.events == [ZygoteExited(1, ExitStatus(signal=signal.SIGTERM))]
            handle.kill()
            handle.dump_boot(1.0)

        play(act)

    def test_one_that_is_restored_without_a_channel_is_only_watched(self, play: Play) -> None:
        async def act(stage: Stage) -> None:
            record = ZygoteRecord(3, stage.sleeper(), None, answered=True)
            handle = ZygoteHandle.restore(record, [], claim, stage.loop, stage.events.append)
            assert handle.record() == record
            handle.tell(ReopenLogs())
            handle.dump_boot(1.0)
            handle.kill()
            await until(lambda: stage.events, "its exit")
            assert stage.events == [ZygoteExited(3, ExitStatus(signal=signal.SIGKILL))]

        play(act)


class TestStartingOver:
    """A zygote that gives its preload up has another one take its place."""

    def test_the_second_one_is_heard_in_the_place_of_the_first(self, play: Play) -> None:
        async def act(stage: Stage) -> None:
            handle, first = stage.zygote()
            first.say(PreloadGivenUp(), Imported(preloaded=True))
            await until(lambda: len(stage.zygotes) == 2, "the second zygote")
            second = stage.zygotes[1]
            assert (first.options, second.options) == ((), (WITHOUT_PRELOAD,))
            await until(lambda: not runs(first.pid), "the first has been killed")
            second.say(Imported(preloaded=False))
            await until(lambda: stage.events, "the second is heard")
            await rounds()
            assert stage.events == [ZygoteReady(1, preloaded=False)], "neither word nor exit of the first"
            assert (handle.child.pid, first.is_let_go) == (second.pid, True)
            second.say(PreloadGivenUp())
            await until(lambda: "ZygoteMisbehaved" in stage.kinds(), "it is not to do so again")

        play(act)

    def test_a_second_one_that_never_preloads_cannot_give_that_up(self, play: Play) -> None:
        async def act(stage: Stage) -> None:
            _, first = stage.zygote()
            first.say(PreloadGivenUp())
            await until(lambda: len(stage.zygotes) == 2, "the second zygote")
            stage.zygotes[1].say(PreloadGivenUp())
            await until(lambda: stage.events, "it is found out")
            assert stage.kinds() == ["ZygoteMisbehaved"]
            assert len(stage.zygotes) == 2

        play(act)

    def test_if_there_is_no_second_one_the_boot_has_failed(self, play: Play) -> None:
        async def act(stage: Stage) -> None:
            handle, first = stage.zygote()
            stage.fails = OSError(errno.EAGAIN, "no more processes")
            first.say(PreloadGivenUp())
            await until(lambda: stage.events, "the failure")
            await until(lambda: not runs(first.pid), "the first has been killed")
            await rounds()
            [failed] = stage.events
            assert isinstance(failed, ZygoteFailed)
            assert failed.failure.kind == "spawn"
            assert first.is_let_go
            handle.kill()
            handle.let_go()
            handle.dump_boot(1.0)

        play(act)

    def test_one_that_another_program_has_started_is_left_to_exit(self, play: Play) -> None:
        async def act(stage: Stage) -> None:
            ours, theirs = Channel.pair()
            pid = stage.sleeper()
            handle = ZygoteHandle.restore(
                ZygoteRecord(1, pid, ours.detach()), [], claim, stage.loop, stage.events.append
            )
            theirs.send(PreloadGivenUp())
            await until(lambda: stage.events, "it is found out, as it cannot be started again")
            assert stage.kinds() == ["ZygoteMisbehaved"]
            assert runs(pid)
            handle.let_go()
            theirs.close()

        play(act)


class TestStacks:
    @pytest.mark.usefixtures("soon")
    def test_where_it_is_while_it_boots_is_logged(self, play: Play, log: Log) -> None:
        async def act(stage: Stage) -> None:
            handle, zygote = stage.zygote()
            os.write(zygote.stacks, b"from before\n")
            handle.dump_boot(30.0)
            os.write(zygote.stacks, b"File app.py, line 1\n")
            await until(log, "the record")
            [record] = log()
            assert (record["event"], record["zygote_pid"], record["seconds"]) == ("zygote stacks", zygote.pid, 30.0)
            assert record["stacks"] == "File app.py, line 1"
            assert runs(zygote.pid), "without a handler the signal would end it"

        play(act)

    @pytest.mark.usefixtures("soon")
    @pytest.mark.parametrize("end", ["exits", "is started over"])
    def test_nothing_is_logged_of_one_that_is_gone_by_then(self, play: Play, log: Log, end: str) -> None:
        async def act(stage: Stage) -> None:
            handle, _ = stage.zygote()
            handle.dump_boot(30.0)
            if end == "exits":
                handle._exited(ExitStatus(code=0))  # before the event loop gets to anything else
            else:
                handle._start_over()
            await asyncio.sleep(0.05)  # what is asked is that nothing happens any more
            assert log() == []

        play(act)


def full(*_: object) -> None:
    raise OSError(errno.ENFILE, "too many files")


def children() -> set[int]:
    """The children of this process. Other tests may have left it some, such as the resource tracker of multiprocessing."""
    return {process.pid for process in processes.all_processes() if process.parent == os.getpid()}


def reap(pids: set[int]) -> None:
    """Reap what was killed because it could not be held."""
    for pid in pids:
        _, status = os.waitpid(pid, 0)
        assert os.waitstatus_to_exitcode(status) == -signal.SIGKILL
