"""The processes below the master. The supervisor decides when one is started, told something or signalled; here that is done.

Call `hear` with every event before the supervisor hears of it. An order that cannot be carried out is posted as an event,
too.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace

from appserver.errors import AppserverError, ChannelError
from appserver.master.children import is_child, kill_child, processor_time, reap_strangers
from appserver.master.configuration import Configuration
from appserver.master.handover import WorkerRecord, ZygoteRecord
from appserver.master.observation import Observer
from appserver.master.strays import Strays
from appserver.master.workers import WorkerHandle
from appserver.master.zygotes import ZygoteHandle
from appserver.supervision.events import (
    Event,
    ExitStatus,
    Failure,
    Forked,
    ForkRefused,
    Observed,
    Sample,
    StopRequested,
    WorkerExited,
    WorkerReady,
    ZygoteExited,
    ZygoteFailed,
)
from appserver.telemetry.logs import get_logger
from appserver.telemetry.scoreboard import Scoreboard
from appserver.tls import Material
from appserver.worker.messages import ListenerGrant, Message, RenewTLS, ReopenLogs, ZygoteBoot, write_file


class ProcessTable:
    """Zygotes and workers, by generation and by the supervisor's serial number."""

    def __init__(
        self, observer: Observer, post: Callable[[Event], None], others: Callable[[], Collection[int]] = tuple
    ) -> None:
        """`others` are the children of the master that belong to somebody else."""
        self._observer = observer
        self._others = others
        self._post = post
        self._strays = Strays(self.known, get_logger("appserver.master"))
        self._zygotes: dict[int, ZygoteHandle] = {}
        self._workers: dict[int, WorkerHandle] = {}

    def start(
        self, loop: asyncio.AbstractEventLoop, zygotes: Iterable[ZygoteRecord], workers: Iterable[WorkerRecord]
    ) -> None:
        """Work with this event loop, and hold the processes that the program before this one has started."""
        self._loop = loop
        unanswered: defaultdict[int, list[int]] = defaultdict(list)
        for worker in workers:
            self._workers[worker.worker] = WorkerHandle.restore(worker, loop, self._post)
            if worker.pid is None:
                unanswered[worker.generation].append(worker.worker)
        for zygote in zygotes:
            self._zygotes[zygote.generation] = ZygoteHandle.restore(
                zygote, unanswered[zygote.generation], self._claim, loop, self._post
            )

    # ---- hearing ------------------------------------------------------------------------------------------------------

    def hear(self, event: Event) -> Event:
        """Take note of what concerns a process; returns the event with what else can be known of it."""
        match event:
            case Forked():
                self._watch(event)
            case WorkerReady() if (pid := self._pid(event.worker)) is not None:
                return replace(event, cpu_seconds=processor_time(pid))
            case WorkerExited() if worker := self._workers.pop(event.worker, None):
                # Before its scoreboard slot can be given to another.
                worker.close()
                self._strays.worker_gone()
                return self._observer.examine(event, worker)
            case ForkRefused() if worker := self._workers.pop(event.worker, None):
                worker.close()
            case ZygoteExited() | ZygoteFailed(failure=Failure(kind="spawn")):  # it is gone, or there never was one
                self._lose_zygote(event.generation)
            case Observed():
                self._strays.look()
            case StopRequested():
                self._strays.stopping()
            case _:
                pass
        return event

    def _watch(self, event: Forked) -> None:
        """Watch a new worker; kill one that cannot be watched, for want of a descriptor: nobody would notice its end."""
        worker = self._workers.get(event.worker)
        if worker is None:
            return
        try:
            worker.forked(event.pid)
        except OSError:
            kill_child(event.pid)
            self._post(WorkerExited(event.worker, ExitStatus(signal=signal.SIGKILL)))

    def _pid(self, worker: int) -> int | None:
        handle = self._workers.get(worker)
        return None if handle is None else handle.pid

    def _claim(self, pid: int) -> None:
        """Let a pid that a zygote has named be that of a new worker.

        A zygote runs the application, and the master may kill what it likes. So a pid counts only if it is that of a child
        of the master which is nobody else's. Raises ChannelError.
        """
        if not is_child(pid):
            raise ChannelError(f"it names process {pid} as a worker, which is no child of the master")
        if pid in self.known():
            raise ChannelError(f"it names process {pid} as a worker, which is another one's already")

    def known(self) -> set[int]:
        """The children that are somebody's to watch."""
        known = {zygote.child.pid for zygote in self._zygotes.values()}
        known.update(worker.child.pid for worker in self._workers.values() if worker.child is not None)
        known.update(self._others())
        return known

    def _lose_zygote(self, generation: int) -> None:
        """A worker forked but not reported when its zygote died is nobody's: without its channel it ends by itself."""
        self._zygotes.pop(generation, None)
        for worker in self.workers():
            if worker.generation == generation and worker.child is None:
                worker.close()
                del self._workers[worker.worker]

    # ---- orders -------------------------------------------------------------------------------------------------------

    def spawn_zygote(
        self,
        generation: int,
        configuration: Configuration,
        scoreboard: Scoreboard,
        listeners: Callable[[], tuple[ListenerGrant, ...]],
        environment: Mapping[str, str],
    ) -> None:
        """Start a zygote; `environment` goes on top of what the configuration says.

        `listeners` may raise ListenerError.
        """
        tls = None if configuration.certificates is None else configuration.certificates.material.dump()
        try:
            boot = ZygoteBoot(
                master=os.getpid(),
                generation=generation,
                settings=configuration.settings.model_dump_json(),
                scoreboard=scoreboard.fd,
                listeners=listeners(),
                tls=tls,
                layout=scoreboard.described,
            )
            self._zygotes[generation] = ZygoteHandle.start(
                boot, {**configuration.environment(), **environment}, self._claim, self._loop, self._post
            )
        except (OSError, AppserverError) as error:
            self._post(ZygoteFailed(generation, Failure("spawn", f"cannot start a zygote: {error}", "", 5)))

    def spawn_worker(self, worker: int, number: int, generation: int) -> None:
        zygote = self._zygotes.get(generation)
        try:
            if zygote is None:
                raise BrokenPipeError("the zygote is gone")
            self._workers[worker] = WorkerHandle.order(worker, number, zygote, self._loop, self._post)
        except OSError as error:
            self._post(ForkRefused(worker, str(error)))

    def stop_zygote(self, generation: int) -> None:
        if zygote := self._zygotes.get(generation):
            zygote.let_go()

    def kill_zygote(self, generation: int) -> None:
        if zygote := self._zygotes.get(generation):
            zygote.kill()

    def tell(self, worker: int, message: Message) -> None:
        if handle := self._workers.get(worker):
            handle.tell(message)

    def kill(self, worker: int) -> None:
        if handle := self._workers.get(worker):
            handle.kill()

    def dump_stacks(self, worker: int, blocked: float) -> None:
        if handle := self._workers.get(worker):
            handle.dump_stacks(blocked, self._observer.serving(handle))

    def dump_boot(self, worker: int, seconds: float) -> None:
        if handle := self._workers.get(worker):
            handle.dump_boot(seconds)

    def dump_zygote_boot(self, generation: int, seconds: float) -> None:
        if zygote := self._zygotes.get(generation):
            zygote.dump_boot(seconds)

    def reopen_logs(self) -> None:
        """Have every process open its log files anew."""
        for zygote in self._zygotes.values():
            zygote.tell(ReopenLogs())
        for worker in self._workers.values():
            worker.tell(ReopenLogs())

    def renew_tls(self, generation: int, material: Material) -> None:
        """Have the zygote and the workers of a generation use other certificates."""
        text = material.dump()
        order, file = RenewTLS.of(text), write_file("appserver-tls", text)
        try:
            if zygote := self._zygotes.get(generation):
                zygote.tell(order, [file])
            for worker in self._workers.values():
                if worker.generation == generation:
                    worker.tell(order, [file])
        finally:
            os.close(file)

    def let_go(self) -> None:
        """Let go of the zygotes: each ends when its last worker has."""
        for zygote in self._zygotes.values():
            zygote.let_go()

    def end_strays(self) -> None:
        """End what the application has started and left running, when the last worker has gone."""
        self._strays.end()

    # ---- looking ------------------------------------------------------------------------------------------------------

    def zygotes(self) -> list[ZygoteHandle]:
        return list(self._zygotes.values())

    def workers(self) -> list[WorkerHandle]:
        """The workers that have a process, or are about to get one."""
        return list(self._workers.values())

    def look(self) -> tuple[Sample, ...]:
        """How the workers are."""
        return self._observer.look(self._workers.values())

    def running(self) -> list[str]:
        """The requests that workers are at work on, for people."""
        return self._observer.running(self._workers.values())

    def accepts(self) -> bool:
        """Whether some worker takes connections, or may yet: it has not said that it has stopped."""
        return any(worker.accepting for worker in self._workers.values())

    def reap_strangers(self) -> None:
        """As PID 1, or as the subreaper: reap what fell to this process, and is neither in this table nor of others."""
        # A worker that has exited before its zygote has reported it looks like a stranger.
        if all(worker.child is not None for worker in self._workers.values()):
            reap_strangers(self.known().__contains__)
