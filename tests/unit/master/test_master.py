"""The master as a whole, with real channels, signals and sockets, and a test for its zygotes and workers."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from appserver import leftovers
from appserver.errors import ControlError
from appserver.master.admin import Admin
from appserver.master.application_metrics import ApplicationMetricsKeeper
from appserver.master.configuration import Configuration, Configurations
from appserver.master.handover import Inheritance
from appserver.master.listeners import ListenerSet
from appserver.master.log_files import MasterLog
from appserver.master.master import Master, Parts
from appserver.master.notify import Notifier
from appserver.master.upgrade import Command
from appserver.settings import ListenerSettings, Loaded, load
from appserver.supervision.events import Event, Forked, ScaleRequested
from appserver.supervision.supervisor import Supervisor
from appserver.telemetry.scoreboard import Scoreboard
from appserver.worker.messages import (
    BootFailed,
    Drain,
    Imported,
    Ready,
    ReopenLogs,
    StoppedAccepting,
)
from tests.unit.master.conftest import Log
from tests.unit.master.stage import FarWorker, FarZygote, Play, Stage, runs, until

FAILED = BootFailed("import", "no module named 'app'", "Traceback …", 4)


class Quiet(MasterLog):
    """A log of the master that is not set up for the whole process."""

    def __init__(self) -> None:
        self.reopened = 0

    @property
    def dropped(self) -> int:
        return 0

    def apply(self, settings: object) -> None:
        pass

    def reopen(self) -> None:
        self.reopened += 1


class Reign:
    """A master that runs, and the settings that it reads when it is to reload."""

    def __init__(self, stage: Stage, directory: Path) -> None:
        self.stage = stage
        self.file = directory / "server.toml"
        self.write()
        configuration = Configuration.of(self.read())
        self.listeners, self.admin, self.output = ListenerSet(), Admin(), Quiet()
        self.listeners.add(configuration.settings.listeners)
        self.board = Scoreboard.create(configuration.policy.capacity, configuration.settings.metrics.buckets)
        self.supervisor = Supervisor(configuration.policy, random=lambda: 0.5)
        parts = Parts(
            configurations=Configurations(configuration),
            listeners=self.listeners,
            admin=self.admin,
            application_metrics=ApplicationMetricsKeeper(),
            scoreboard=self.board,
            supervisor=self.supervisor,
            output=self.output,
            notifier=Notifier({}, os.getpid()),
        )
        self.master = Master(parts, Inheritance(), self.read, Command(("/bin/false",), ()))
        self.view = self.master._view()
        self.run = asyncio.create_task(self.master.run())

    def write(self, workers: str = "", more: str = "", target: str = "a:b") -> None:
        self.file.write_text(
            f'[app]\ntarget = "{target}"\n[[listeners]]\nbind = "127.0.0.1:0"\n{more}\n'
            f"[workers]\ncount = 2\n{workers}\n[reload]\nlinger = 0\n[shutdown]\nlinger = 0\n"
        )

    def read(self) -> Loaded:
        return load(self.file, environ={})

    async def zygote(self, generation: int = 1) -> FarZygote:
        """The zygote that was started last, which is to be of that generation, and has booted."""
        await until(lambda: self.stage.zygotes and self.stage.zygotes[-1].boot.generation == generation, "a zygote")
        zygote = self.stage.zygotes[-1]
        zygote.say(Imported(preloaded=False))
        return zygote

    async def forked(self, zygote: FarZygote) -> FarWorker:
        """A worker that was ordered of the zygote, and has been reported."""
        found: list[FarWorker] = []
        await until(lambda: forks(zygote, found), "an order to fork")
        zygote.say(Forked(found[0].worker, found[0].pid))
        return found[0]

    async def ready(self, zygote: FarZygote) -> FarWorker:
        worker = await self.forked(zygote)
        worker.say(Ready())
        await until(lambda: self.state(worker) == "ready", "the worker is ready")
        return worker

    async def serving(self) -> tuple[FarZygote, FarWorker, FarWorker]:
        """A server of which everything has booted."""
        zygote = await self.zygote()
        first, second = await self.forked(zygote), await self.forked(zygote)
        first.say(Ready())
        second.say(Ready())
        await until(lambda: self.supervisor.state == "serving", "it serves")
        return zygote, first, second

    def state(self, worker: FarWorker) -> str | None:
        """The state of a worker as people see it; None if it is not there."""
        return next((one["state"] for one in self.view.status()["workers"] if one["pid"] == worker.pid), None)

    async def exit(self, *far: FarWorker | FarZygote, by: int = signal.SIGKILL) -> None:
        """Have processes exit at once, and wait until the master has seen it."""
        for one in far:
            one.signal(by)
        await until(lambda: not {one.pid for one in far} & self.master._processes.known(), "their exits are seen")

    async def leave(self, *workers: FarWorker) -> None:
        """Have workers do what a drain asks for."""
        for worker in workers:
            worker.say(StoppedAccepting())
        await self.exit(*workers, by=signal.SIGTERM)

    async def end(self) -> None:
        if not self.run.done():
            self.master.stop(now=True)
        await asyncio.wait_for(self.run, 30)

    def close(self) -> None:
        self.listeners.close()
        self.admin.close()
        self.board.close()


Deed = Callable[[Reign], Awaitable[None]]
Rule = Callable[[Deed], int]


@pytest.fixture
def rule(play: Play, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, log: Log) -> Rule:
    """Lets something happen to a master; returns the code that it has ended with."""
    monkeypatch.setattr(leftovers, "of_this_process", list)  # children of this process may be those of other tests

    @contextlib.asynccontextmanager
    async def reign(stage: Stage) -> AsyncIterator[Reign]:
        present = Reign(stage, tmp_path)
        try:
            yield present
        finally:
            await present.end()
            present.close()

    def rule(deed: Deed) -> int:
        codes = []

        async def act(stage: Stage) -> None:
            async with reign(stage) as present:
                await deed(present)
            codes.append(present.run.result())

        play(act)
        assert "bug in appserver" not in events(log), log()
        return codes[0]

    return rule


def events(log: Log) -> list[Any]:
    return [record["event"] for record in log()]


class TestBoot:
    def test_it_serves_when_all_workers_are_ready(self, rule: Rule, log: Log) -> None:
        async def deed(reign: Reign) -> None:
            zygote = await reign.zygote()
            first = await reign.ready(zygote)
            assert reign.view.unreadiness() == "booting: 1 of 2 serve"
            second = await reign.ready(zygote)
            assert reign.view.unreadiness() is None
            status = reign.view.status()
            assert [worker["pid"] for worker in status["workers"]] == [first.pid, second.pid]
            assert (status["state"], status["generation"], status["last_reload"]) == ("serving", 1, None)
            assert [record["urls"] for record in log() if record["event"] == "serving"] == [
                [f"http://{name}" for name in status["listeners"]]
            ]

        assert rule(deed) == 0

    @pytest.mark.parametrize("who", ["zygote", "worker"])
    def test_one_that_cannot_come_up_ends_it_with_its_exit_code(self, rule: Rule, who: str) -> None:
        async def deed(reign: Reign) -> None:
            if who == "zygote":
                await until(lambda: reign.stage.zygotes, "the zygote is started")
                reign.stage.zygotes[0].say(FAILED)
            else:
                (await reign.forked(await reign.zygote())).say(FAILED)
            assert await asyncio.wait_for(reign.run, 30) == 4

        assert rule(deed) == 4

    def test_a_zygote_that_exits_at_once_ends_it(self, rule: Rule) -> None:
        async def deed(reign: Reign) -> None:
            await until(lambda: reign.stage.zygotes, "the zygote is started")
            reign.stage.zygotes[0].signal(signal.SIGKILL)
            await asyncio.wait_for(reign.run, 30)

        assert rule(deed) != 0


class TestSignals:
    def test_term_drains_refuses_and_ends(self, rule: Rule) -> None:
        async def deed(reign: Reign) -> None:
            zygote, *workers = await reign.serving()
            host, _, port = reign.view.status()["listeners"][0].rpartition(":")
            os.kill(os.getpid(), signal.SIGTERM)
            await until(lambda: reign.supervisor.state == "stopping", "it stops")
            assert [worker.orders() for worker in workers] == [[Drain("stop", 0.0)]] * 2
            workers[0].say(StoppedAccepting())
            await reign.exit(workers[0], by=signal.SIGTERM)
            os.kill(os.getpid(), signal.SIGTERM)
            workers[1].say(StoppedAccepting())
            await until(lambda: not reign.master._processes.accepts(), "nobody takes connections any more")
            with pytest.raises(ConnectionRefusedError):
                await asyncio.wait_for(asyncio.open_connection(host, int(port)), 30)
            assert reign.view.unreadiness() == "stopping"
            with pytest.raises(ControlError, match="stopping"):
                reign.master.scale(3, 0)
            await reign.exit(workers[1], by=signal.SIGTERM)
            await until(lambda: zygote.is_let_go, "the zygote is let go of")
            zygote.signal(signal.SIGTERM)
            await asyncio.wait_for(reign.run, 30)

        assert rule(deed) == 0

    @pytest.mark.parametrize("numbers", [[signal.SIGQUIT], [signal.SIGINT, signal.SIGINT]])
    def test_quit_and_a_second_interrupt_kill(self, rule: Rule, numbers: list[int]) -> None:
        async def deed(reign: Reign) -> None:
            await reign.serving()
            for number in numbers:
                os.kill(os.getpid(), number)
                await until(lambda: reign.supervisor.state != "serving", "it has been seen")
            await asyncio.wait_for(reign.run, 30)

        assert rule(deed) == 0

    def test_usr1_reopens_every_log(self, rule: Rule) -> None:
        async def deed(reign: Reign) -> None:
            everybody = await reign.serving()
            os.kill(os.getpid(), signal.SIGUSR1)
            await until(lambda: reign.output.reopened, "the master's")
            assert [one.orders() for one in everybody] == [[ReopenLogs()]] * 3

        rule(deed)

    def test_ttin_and_ttou_scale(self, rule: Rule) -> None:
        async def deed(reign: Reign) -> None:
            zygote, *_ = await reign.serving()
            os.kill(os.getpid(), signal.SIGTTIN)
            third = await reign.ready(zygote)
            assert third.number == 3
            os.kill(os.getpid(), signal.SIGTTOU)
            await until(lambda: third.orders() == [Drain("scale_down", 0.0)], "it is asked to leave")
            await reign.leave(third)
            assert reign.master.scale(4, 0) == {"count": 4, "before": 2}
            assert reign.master.scale(None, -1) == {"count": 3, "before": 4}
            with pytest.raises(ControlError, match="room for"):
                reign.master.scale(1000, 0)

        rule(deed)


class TestExits:
    def test_a_worker_that_dies_is_replaced_in_its_place(self, rule: Rule, log: Log) -> None:
        async def deed(reign: Reign) -> None:
            zygote, first, second = await reign.serving()
            await reign.exit(second)
            again = await reign.ready(zygote)
            assert (again.number, reign.state(first)) == (second.number, "ready")
            await reign.exit(first, again)
            assert {(await reign.ready(zygote)).number for _ in range(2)} == {1, 2}

        rule(deed)
        assert events(log).count("worker exited") == 3 + 2

    def test_an_exit_before_the_fork_is_reported_is_noticed(self, rule: Rule) -> None:
        async def deed(reign: Reign) -> None:
            zygote, first, _ = await reign.serving()
            await reign.exit(first)
            found: list[FarWorker] = []
            await until(lambda: forks(zygote, found), "an order to fork")
            [worker] = found
            worker.close()
            worker.signal(signal.SIGKILL)
            await until(lambda: not runs(worker.pid), "it has exited")
            zygote.say(Forked(worker.worker, worker.pid))
            again = await reign.ready(zygote)
            assert again.number == first.number

        rule(deed)

    def test_a_zygote_that_dies_takes_no_worker_with_it(self, rule: Rule) -> None:
        async def deed(reign: Reign) -> None:
            zygote, first, second = await reign.serving()
            await reign.exit(zygote)
            await until(lambda: len(reign.stage.zygotes) == 2, "another zygote is started")
            assert [reign.state(worker) for worker in (first, second)] == ["ready", "ready"]
            await reign.exit(first)
            assert (await reign.ready(await reign.zygote())).number == first.number

        rule(deed)

    def test_a_hostile_worker_is_killed_and_replaced(self, rule: Rule, log: Log) -> None:
        async def deed(reign: Reign) -> None:
            zygote, first, second = await reign.serving()
            first.say(Ready())
            again = await reign.ready(zygote)
            assert again.number != second.number
            assert reign.state(second) == "ready"
            await until(lambda: reign.state(first) is None, "it is gone")

        rule(deed)
        assert "worker misbehaved" in " ".join(events(log))

    def test_a_hostile_zygote_is_killed_and_its_workers_serve_on(self, rule: Rule) -> None:
        async def deed(reign: Reign) -> None:
            zygote, first, second = await reign.serving()
            zygote.say(Imported(preloaded=True))
            await until(lambda: len(reign.stage.zygotes) == 2, "another zygote is started")
            assert zygote.is_let_go
            assert [reign.state(worker) for worker in (first, second)] == ["ready", "ready"]

        rule(deed)


class TestReloads:
    @pytest.mark.parametrize("problem", ["[workers]\ncuont = 2", '[admin]\npid_file = "other"', "taken"])
    def test_settings_that_cannot_be_used_are_refused_and_nothing_changes(self, rule: Rule, problem: str) -> None:
        async def deed(reign: Reign) -> None:
            await reign.serving()
            names = reign.listeners.names()
            with socket.socket() as taken:
                taken.bind(("127.0.0.1", 0))
                taken.listen()
                if problem == "taken":
                    reign.write(more=f'[[listeners]]\nbind = "127.0.0.1:{taken.getsockname()[1]}"')
                else:
                    reign.file.write_text(f'[app]\ntarget = "a:b"\n{problem}\n')
                outcome = await reign.master.reload()
            assert outcome.result == "refused"
            assert reign.view.status()["last_reload"]["result"] == "refused"
            assert reign.listeners.names() == names
            assert (reign.supervisor.state, len(reign.stage.zygotes)) == ("serving", 1)

        rule(deed)

    def test_one_that_fails_gives_back_what_it_has_changed_outside(
        self, rule: Rule, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        prepared: list[str] = []
        backlogs: list[int] = []
        add = ListenerSet.add

        def adjust(listeners: ListenerSet, wanted: Sequence[ListenerSettings]) -> None:
            backlogs.append(wanted[0].backlog)
            add(listeners, wanted)

        monkeypatch.setattr("appserver.master.belongings.prepare_log_files", lambda it: prepared.append(it.app.target))

        async def deed(reign: Reign) -> None:
            await reign.serving()
            monkeypatch.setattr(ListenerSet, "add", adjust)
            reign.write(target="a:broken", more="backlog = 7")
            outcome = reign.master.reload()
            await until(lambda: len(reign.stage.zygotes) == 2, "the zygote of the new generation")
            assert (prepared, backlogs) == (["a:broken"], [7])
            reign.stage.zygotes[1].say(FAILED)
            assert (await outcome).result == "rolled_back"
            assert (prepared, backlogs) == (["a:broken", "a:b"], [7, 2048])
            reign.write(target="a:refused", more="backlog = 9\n[admin]\nbind = '192.0.2.1:1'")
            assert (await reign.master.reload()).result == "refused"
            assert (prepared[2:], backlogs[2:]) == (["a:refused", "a:b"], [9, 2048])

        rule(deed)

    def test_one_whose_zygote_fails_is_rolled_back_with_what_it_has_bound(self, rule: Rule) -> None:
        async def deed(reign: Reign) -> None:
            await reign.serving()
            names = reign.listeners.names()
            reign.write(target="a:broken", more='[[listeners]]\nbind = "127.0.0.1:0"')
            outcome = reign.master.reload()
            await until(lambda: len(reign.stage.zygotes) == 2, "the zygote of the new generation")
            assert len(reign.listeners.names()) == 2
            assert '"a:broken"' in reign.stage.zygotes[1].boot.settings
            reign.stage.zygotes[1].say(FAILED)
            assert (await outcome).result == "rolled_back"
            assert reign.listeners.names() == names
            await reign.exit(reign.stage.zygotes[0])
            await until(lambda: len(reign.stage.zygotes) == 3, "the old generation's zygote is started anew")
            assert '"a:b"' in reign.stage.zygotes[2].boot.settings

        rule(deed)

    def test_one_that_serves_is_adopted_and_the_old_workers_leave(self, rule: Rule) -> None:
        async def deed(reign: Reign) -> None:
            old_zygote, *old = await reign.serving()
            reign.write(target="a:new")
            outcome = reign.master.reload()
            zygote = await reign.zygote(2)
            for _ in old:
                await reign.ready(zygote)
                leaving = [worker for worker in old if Drain("reload", 0.0) in worker.orders()]
                await reign.leave(*leaving)
            assert (await outcome).result == "ok"
            await until(lambda: old_zygote.is_let_go, "the old zygote may go")
            await reign.exit(old_zygote)
            assert reign.view.status()["generation"] == 2
            assert {worker["generation"] for worker in reign.view.status()["workers"]} == {2}
            await reign.exit(zygote)
            await until(lambda: len(reign.stage.zygotes) == 3, "its zygote is started anew")
            assert '"a:new"' in reign.stage.zygotes[2].boot.settings

        rule(deed)

    def test_a_second_one_waits_for_an_outcome_of_its_own(self, rule: Rule) -> None:
        async def deed(reign: Reign) -> None:
            await reign.serving()
            reign.write(target="a:broken")
            first = reign.master.reload()
            await until(lambda: len(reign.stage.zygotes) == 2, "the zygote of the first")
            reign.write(target="a:mended")
            second = reign.master.reload()
            reign.stage.zygotes[1].say(FAILED)
            assert (await first).result == "rolled_back"
            assert not second.done()
            await until(lambda: len(reign.stage.zygotes) == 3, "the zygote of the second")
            assert '"a:mended"' in reign.stage.zygotes[2].boot.settings
            reign.stage.zygotes[2].say(FAILED)
            assert (await second).generation == 3

        rule(deed)


class TestBugs:
    def test_a_bug_ends_the_program_and_lets_go_of_everything(
        self, play: Play, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, log: Log
    ) -> None:
        async def act(stage: Stage) -> None:
            reign = Reign(stage, tmp_path)
            zygote, *_ = await reign.serving()

            def fail(event: Event, now: float) -> list[Any]:
                raise AssertionError(f"{event} at {now}")

            monkeypatch.setattr(reign.supervisor, "handle", fail)
            reign.master.post(ScaleRequested(delta=1))
            assert await asyncio.wait_for(reign.run, 30) == 70
            assert zygote.is_let_go
            assert events(log)[-1] == "bug in appserver"
            for handle in reign.master._processes.workers():
                handle.close()
            reign.close()

        play(act)


def forks(zygote: FarZygote, found: list[FarWorker]) -> bool:
    """Carry out an order to fork if there is one; the worker is found then."""
    with contextlib.suppress(BlockingIOError):
        found.append(zygote.forks())
    return bool(found)
