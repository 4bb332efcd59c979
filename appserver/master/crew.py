"""The processes below the master: started, told, signalled and reaped here; when, is for the supervisor to decide.

`hear` has to be called with every event before the supervisor hears of it. What goes wrong while an order is carried out
is posted as an event, too.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Iterable, Mapping

from appserver.errors import AppserverError
from appserver.master.children import reap_strangers
from appserver.master.handover import WorkerRecord, ZygoteRecord
from appserver.master.observation import Observer
from appserver.master.plan import Plan
from appserver.master.workers import WorkerHandle
from appserver.master.zygotes import ZygoteHandle
from appserver.supervision.events import (
    Event,
    ExitStatus,
    Failure,
    ForkFailed,
    Sample,
    WorkerExited,
    WorkerForked,
    ZygoteExited,
    ZygoteFailed,
)
from appserver.tls import Material
from appserver.worker.messages import ListenerGrant, Message, RenewTLS, ReopenLogs, ZygoteBoot, write_file


class Crew:
    """Zygotes and workers, by generation and by the supervisor's serial number."""

    def __init__(self, observer: Observer, post: Callable[[Event], None]) -> None:
        self._observer = observer
        self._post = post
        self._zygotes: dict[int, ZygoteHandle] = {}
        self._workers: dict[int, WorkerHandle] = {}

    def start(
        self, loop: asyncio.AbstractEventLoop, zygotes: Iterable[ZygoteRecord], workers: Iterable[WorkerRecord]
    ) -> None:
        """Work with this event loop, and hold the processes that the program before this one has started."""
        self._loop = loop
        for zygote in zygotes:
            self._zygotes[zygote.generation] = ZygoteHandle.restore(zygote, loop, self._post)
        for worker in workers:
            self._workers[worker.worker] = WorkerHandle.restore(worker, loop, self._post)

    # ---- hearing ------------------------------------------------------------------------------------------------------

    def hear(self, event: Event) -> Event:
        """Take note of what concerns a process; returns the event with what else can be known of it."""
        match event:
            case WorkerForked():
                self._watch(event)
            case WorkerExited() if worker := self._workers.pop(event.worker, None):
                # Before its scoreboard slot can be given to another.
                worker.close()
                return self._observer.examine(event, worker)
            case ZygoteExited():
                self._lose_zygote(event.generation)
            case _:
                pass
        return event

    def _watch(self, event: WorkerForked) -> None:
        """Watch a new worker; kill one that cannot be watched, for want of a descriptor: nobody would notice its end."""
        worker = self._workers.get(event.worker)
        if worker is None:
            return
        try:
            worker.forked(event.pid)
        except OSError:
            os.kill(event.pid, signal.SIGKILL)
            self._post(WorkerExited(event.worker, ExitStatus(signal=signal.SIGKILL)))

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
        plan: Plan,
        scoreboard: int,
        listeners: tuple[ListenerGrant, ...],
        environment: Mapping[str, str],
    ) -> None:
        """Start a zygote; `environment` goes on top of what the plan says."""
        tls = None if plan.certificates is None else plan.certificates.material.dump()
        boot = ZygoteBoot(os.getpid(), generation, plan.settings.model_dump_json(), scoreboard, listeners, tls)
        try:
            self._zygotes[generation] = ZygoteHandle.start(
                boot, {**plan.environment(), **environment}, self._loop, self._post
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
            self._post(ForkFailed(worker, str(error)))

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

    def reopen_logs(self) -> None:
        """Have every process open its log files anew."""
        for zygote in self._zygotes.values():
            zygote.tell(ReopenLogs())
        for worker in self._workers.values():
            worker.tell(ReopenLogs())

    def renew_tls(self, generation: int, material: Material) -> None:
        """Have the zygote and the workers of a generation use other certificates."""
        file = write_file("appserver-tls", material.dump())
        try:
            if zygote := self._zygotes.get(generation):
                zygote.tell(RenewTLS(), [file])
            for worker in self._workers.values():
                if worker.generation == generation:
                    worker.tell(RenewTLS(), [file])
        finally:
            os.close(file)

    def let_go(self) -> None:
        """Let go of the zygotes: each ends when its last worker has."""
        for zygote in self._zygotes.values():
            zygote.let_go()

    # ---- looking ------------------------------------------------------------------------------------------------------

    def zygotes(self) -> list[ZygoteHandle]:
        return list(self._zygotes.values())

    def workers(self) -> list[WorkerHandle]:
        """The workers that have a process, or are about to get one."""
        return list(self._workers.values())

    def look(self) -> tuple[Sample, ...]:
        """How the workers are."""
        return self._observer.look(self._workers.values())

    def accepts(self) -> bool:
        """Whether some worker takes connections, or may yet: it has not said that it has stopped."""
        return any(worker.accepting for worker in self._workers.values())

    def reap_strangers(self, others: Iterable[int]) -> None:
        """As PID 1, or as the subreaper: reap what fell to this process, and is neither of the crew nor of `others`."""
        workers = self._workers.values()
        # A worker that has exited before its zygote has reported it looks like a stranger.
        if all(worker.child is not None for worker in workers):
            mine = {zygote.child.pid for zygote in self._zygotes.values()}
            mine.update(worker.child.pid for worker in workers if worker.child is not None)
            mine.update(others)
            reap_strangers(mine.__contains__)
