"""Orders to the processes below the master, and their exits in any order, with a test for the processes."""

from __future__ import annotations

import errno
import os
import signal
from pathlib import Path

import pytest

from appserver.master.children import is_child
from appserver.master.configuration import Configuration
from appserver.master.observation import Observer
from appserver.master.oom import OutOfMemoryKills
from appserver.master.process_table import ProcessTable
from appserver.settings import load
from appserver.supervision.events import (
    Event,
    ExitStatus,
    Forked,
    ForkRefused,
    WorkerExited,
    ZygoteFailed,
)
from appserver.telemetry.scoreboard import Scoreboard
from appserver.tls import Material
from appserver.worker.messages import (
    Drain,
    Imported,
    PreloadGivenUp,
    Ready,
    RenewTLS,
    ReopenLogs,
    StoppedAccepting,
    read_file,
)
from tests.unit.master.stage import FarWorker, Play, Stage, room_for, rounds, runs, until

CONFIGURATION = Configuration.of(load(None, environ={"APPSERVER_APP__TARGET": "a:b"}))
MATERIAL = Material((), None)


class Loss:
    dropped = 0


class Scene:
    """A table, and what was posted after it has taken note."""

    def __init__(self, stage: Stage, board: Scoreboard, nowhere: Path) -> None:
        self.stage = stage
        self.board = board
        self.table = ProcessTable(Observer(board, Loss(), OutOfMemoryKills(nowhere, nowhere / "none")), self.post)
        self.table.start(stage.loop, (), ())

    def post(self, event: Event) -> None:
        self.stage.events.append(self.table.hear(event))

    def zygote(self, generation: int = 1) -> None:
        self.table.spawn_zygote(generation, CONFIGURATION, self.board, tuple, {})

    def worker(self, number: int, generation: int = 1) -> FarWorker:
        """A worker that has been forked, and not been reported."""
        self.table.spawn_worker(number, number, generation)
        return self.stage.zygotes[generation - 1].forks()

    async def reported(self, worker: FarWorker, generation: int = 1) -> FarWorker:
        self.stage.zygotes[generation - 1].say(Forked(worker.worker, worker.pid))
        await until(lambda: Forked(worker.worker, worker.pid) in self.stage.events, "it is reported")
        return worker

    async def end(self) -> None:
        """Let go of what is there; what had a process is reaped."""
        self.table.let_go()
        for pid in filter(runs, self.stage.pids):
            os.kill(pid, signal.SIGKILL)
        await until(lambda: not self.table.zygotes(), "the zygotes have been reaped")
        await until(lambda: not self.table.workers(), "the workers have been reaped, and the others let go of")


@pytest.fixture
def board() -> Scoreboard:
    board = Scoreboard.create(4)
    os.close(board.fd)
    return board


class TestOrders:
    def test_an_order_to_nobody_is_answered_or_nothing(self, play: Play, board: Scoreboard, tmp_path: Path) -> None:
        async def act(stage: Stage) -> None:
            scene = Scene(stage, board, tmp_path)
            table = scene.table
            table.spawn_worker(1, 1, 1)
            assert stage.events == [ForkRefused(1, "the zygote is gone")]
            table.stop_zygote(1)
            table.kill_zygote(1)
            table.dump_zygote_boot(1, 1.0)
            table.tell(1, Drain("stop", 0.0))
            table.kill(1)
            table.dump_stacks(1, 1.0)
            table.dump_boot(1, 1.0)
            table.reopen_logs()
            table.renew_tls(1, MATERIAL)
            assert (table.workers(), table.zygotes(), table.known()) == ([], [], set())
            assert not table.accepts()

        play(act)

    def test_everybody_reopens_logs_and_a_generation_renews_certificates(
        self, play: Play, board: Scoreboard, tmp_path: Path
    ) -> None:
        async def act(stage: Stage) -> None:
            scene = Scene(stage, board, tmp_path)
            scene.zygote(1)
            scene.zygote(2)
            old, new = scene.worker(1, 1), scene.worker(2, 2)
            scene.table.reopen_logs()
            scene.table.renew_tls(2, MATERIAL)
            assert [far.hear() for far in (stage.zygotes[0], old, stage.zygotes[1], new)] == [(ReopenLogs(), [])] * 4
            assert (stage.zygotes[0].orders(), old.orders()) == ([], [])
            for far in (stage.zygotes[1], new):
                heard = far.hear()
                assert heard is not None
                order, descriptors = heard
                assert isinstance(order, RenewTLS)
                assert Material.load(order.material) == MATERIAL
                assert Material.load(read_file(*descriptors)) == MATERIAL, "for a process of an older version"
            await scene.end()

        play(act)

    def test_a_zygote_that_cannot_be_started_has_failed(self, play: Play, board: Scoreboard, tmp_path: Path) -> None:
        async def act(stage: Stage) -> None:
            scene = Scene(stage, board, tmp_path)
            stage.fails = OSError(errno.EAGAIN, "no more processes")
            scene.zygote()
            [failed] = stage.events
            assert isinstance(failed, ZygoteFailed)
            assert (failed.failure.kind, failed.failure.exit_code) == ("spawn", 5)
            assert scene.table.zygotes() == []

        play(act)

    def test_one_that_cannot_be_started_over_is_not_kept(self, play: Play, board: Scoreboard, tmp_path: Path) -> None:
        """A record of a process that is gone could not be taken over by the next program."""

        async def act(stage: Stage) -> None:
            scene = Scene(stage, board, tmp_path)
            scene.zygote()
            stage.fails = OSError(errno.EAGAIN, "no more processes")
            stage.zygotes[0].say(PreloadGivenUp())
            await until(lambda: stage.events, "it has failed")
            assert stage.kinds() == ["ZygoteFailed"]
            assert scene.table.zygotes() == []
            stage.fails = None
            scene.zygote()
            stage.zygotes[1].say(Imported(preloaded=False))
            await until(lambda: "ZygoteReady" in stage.kinds(), "it is tried again")
            await scene.end()

        play(act)


class TestExits:
    def test_a_worker_that_cannot_be_watched_is_killed(self, play: Play, board: Scoreboard, tmp_path: Path) -> None:
        async def act(stage: Stage) -> None:
            scene = Scene(stage, board, tmp_path)
            scene.zygote()
            worker = scene.worker(1)
            with room_for(0):
                scene.table.hear(Forked(1, worker.pid))
            assert stage.events == [WorkerExited(1, ExitStatus(signal=signal.SIGKILL))]
            assert worker.is_let_go
            await until(lambda: not runs(worker.pid), "it is killed")
            await scene.end()

        play(act)

    def test_a_zygote_takes_those_with_it_that_it_has_not_reported(
        self, play: Play, board: Scoreboard, tmp_path: Path
    ) -> None:
        async def act(stage: Stage) -> None:
            scene = Scene(stage, board, tmp_path)
            scene.zygote(1)
            scene.zygote(2)
            reported, unreported = await scene.reported(scene.worker(1)), scene.worker(2)
            other = scene.worker(3, 2)
            stage.zygotes[0].signal(signal.SIGKILL)
            await until(lambda: "ZygoteExited" in stage.kinds(), "its exit")
            assert [far.is_let_go for far in (reported, unreported, other)] == [False, True, False]
            assert [handle.worker for handle in scene.table.workers()] == [1, 3]
            reported.say(Ready(), StoppedAccepting())
            await until(lambda: "WorkerStoppedAccepting" in stage.kinds(), "it is heard without its zygote")
            assert scene.table.accepts(), "the other has not said that it does not"
            stage.zygotes[1].signal(signal.SIGKILL)
            await until(lambda: stage.kinds().count("ZygoteExited") == 2, "its exit")
            assert not scene.table.accepts()
            await scene.end()

        play(act)

    def test_a_word_after_the_exit_concerns_nobody(self, play: Play, board: Scoreboard, tmp_path: Path) -> None:
        async def act(stage: Stage) -> None:
            scene = Scene(stage, board, tmp_path)
            scene.zygote()
            worker = await scene.reported(scene.worker(1))
            worker.signal(signal.SIGKILL)
            await until(lambda: "WorkerExited" in stage.kinds(), "its exit")
            worker.close()
            for late in (Forked(1, worker.pid), ForkRefused(1, "no"), WorkerExited(1, ExitStatus(code=0))):
                assert scene.table.hear(late) == late
            assert scene.table.workers() == []
            assert worker.pid not in scene.table.known()
            await scene.end()

        play(act)

    def test_strangers_are_reaped_only_while_every_worker_is_known(
        self, play: Play, board: Scoreboard, tmp_path: Path
    ) -> None:
        """A worker may have exited before its zygote reports it: its status must not be lost."""

        async def act(stage: Stage) -> None:
            scene = Scene(stage, board, tmp_path)
            scene.zygote()
            worker = scene.worker(1)
            worker.signal(signal.SIGTERM)
            await until(lambda: not runs(worker.pid), "it has exited")
            scene.table.reap_strangers()
            await scene.reported(worker)
            await until(lambda: "WorkerExited" in stage.kinds(), "its exit")
            exited = stage.events[-1]
            assert isinstance(exited, WorkerExited)
            assert exited.status == ExitStatus(signal=signal.SIGTERM)
            stranger = stage.sleeper()
            os.kill(stranger, signal.SIGKILL)
            await until(lambda: not runs(stranger), "it has exited")
            scene.table.reap_strangers()
            assert not is_child(stranger)
            await scene.end()

        play(act)

    def test_letting_go_of_zygotes_leaves_their_workers_alone(
        self, play: Play, board: Scoreboard, tmp_path: Path
    ) -> None:
        async def act(stage: Stage) -> None:
            scene = Scene(stage, board, tmp_path)
            scene.zygote()
            worker = await scene.reported(scene.worker(1))
            scene.table.let_go()
            await rounds()
            assert (stage.zygotes[0].is_let_go, worker.is_let_go) == (True, False)
            assert runs(stage.zygotes[0].pid)
            scene.table.spawn_worker(2, 2, 1)
            assert stage.events[-1] == ForkRefused(2, "the zygote is gone")
            await scene.end()

        play(act)
