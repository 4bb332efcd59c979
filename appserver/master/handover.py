"""What one program of the master hands over to the next when it is replaced in place.

A JSON document in an anonymous file whose descriptor is passed on. The two programs may be of different versions: what
the reader does not know it leaves out, and what it misses it takes from the defaults. So a field that is added has to
have a default, and none may change its meaning; where that is not enough, `FORMAT` goes up, and a program that does not
understand the number says so before it has replaced anything.
"""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from appserver import __version__
from appserver.errors import UpgradeError
from appserver.master.certificates import Certificates
from appserver.master.plan import Plan
from appserver.master.verdicts import Verdict
from appserver.settings import Loaded
from appserver.settings.transfer import read_settings
from appserver.supervision.snapshot import decode, encode
from appserver.tls import Material

FORMAT = 1


@dataclass(slots=True)
class ListenerRecord:
    """A listening socket: the address in the settings, which one of those with that address, and what it is bound to."""

    bind: str
    index: int
    fd: int
    name: str
    path: str | None = None


@dataclass(slots=True)
class SiteRecord:
    """A socket of an admin address; `controls` if commands are taken on it."""

    bind: str
    controls: bool
    fd: int
    name: str
    path: str | None = None


@dataclass(slots=True)
class ZygoteRecord:
    """A zygote; `channel` is None when the master has let go of it."""

    generation: int
    pid: int
    channel: int | None


@dataclass(slots=True)
class WorkerRecord:
    """A worker; `pid` is None until its zygote has reported it, `stacks_read` is how much of its stacks file is known."""

    worker: int
    number: int
    generation: int
    pid: int | None
    channel: int
    stacks: int
    stacks_read: int
    forked_at: float


@dataclass(slots=True)
class KeptMetrics:
    """The directory of the application's metrics, and the descriptor that holds its lock."""

    directory: str
    lock: int


@dataclass(slots=True)
class PlansRecord:
    """What the generations are made from: each different plan once, and by its index where it is in use."""

    settings: list[str]
    paths: list[str | None]
    serving: int
    wanted: int
    generations: dict[int, int]
    tls: list[str | None] = field(default_factory=list)
    """The key material of each, as JSON: its files may have changed, or gone."""

    @classmethod
    def of(cls, serving: Plan, wanted: Plan, generations: Mapping[int, Plan]) -> PlansRecord:
        plans = list({id(plan): plan for plan in (serving, wanted, *generations.values())}.values())
        index = {id(plan): number for number, plan in enumerate(plans)}
        return cls(
            settings=[plan.settings.model_dump_json() for plan in plans],
            paths=[None if plan.loaded.path is None else str(plan.loaded.path) for plan in plans],
            serving=index[id(serving)],
            wanted=index[id(wanted)],
            generations={number: index[id(plan)] for number, plan in generations.items()},
            tls=[None if plan.certificates is None else plan.certificates.material.dump() for plan in plans],
        )

    def restore(self) -> tuple[Plan, Plan, dict[int, Plan]]:
        """The plan of what is serving, of what is wanted next, and those of the generations; equal ones are one again.

        Raises ValueError if the settings cannot be understood.
        """
        plans = []
        for settings, path, tls in itertools.zip_longest(self.settings, self.paths, self.tls):
            loaded = Loaded(read_settings(settings), origins={}, path=None if path is None else Path(path))
            certificates = None if tls is None else Certificates(loaded.settings.tls, Material.load(tls))
            plans.append(Plan.again(loaded, certificates))
        generations = {number: plans[index] for number, index in self.generations.items()}
        return plans[self.serving], plans[self.wanted], generations


@dataclass(slots=True)
class Handover:
    """All that the master knows and holds."""

    scoreboard: int
    supervisor: dict[str, Any]
    plans: PlansRecord
    listeners: list[ListenerRecord]
    zygotes: list[ZygoteRecord]
    workers: list[WorkerRecord]
    sites: list[SiteRecord] = field(default_factory=list)
    kept: list[int] = field(default_factory=list)
    """Descriptors that the program was started with and that a reload may want."""
    started_at: float = 0.0
    """When the server was started, in seconds since the epoch."""
    last_reload: Verdict | None = None
    application_metrics: KeptMetrics | None = None
    version: str = __version__
    """Of the program that hands over."""

    def descriptors(self) -> Iterator[int]:
        """Everything that has to be passed on with it."""
        yield self.scoreboard
        yield from self.kept
        if self.application_metrics is not None:
            yield self.application_metrics.lock
        yield from (listener.fd for listener in self.listeners)
        yield from (site.fd for site in self.sites)
        yield from (zygote.channel for zygote in self.zygotes if zygote.channel is not None)
        for worker in self.workers:
            yield worker.channel
            yield worker.stacks

    def write(self) -> int:
        """Write it into an anonymous file; returns the descriptor, which is closed on exec."""
        fd = os.memfd_create("appserver-handover")
        with open(fd, "w", closefd=False) as file:
            json.dump({"format": FORMAT, "state": encode(self)}, file)
        return fd

    @classmethod
    def read(cls, fd: int) -> Handover:
        """Read it back. Raises UpgradeError if it cannot be understood."""
        try:
            document = json.loads(os.pread(fd, os.fstat(fd).st_size, 0))
            found = document["format"]
            if found != FORMAT:
                raise UpgradeError(
                    f"the running master hands over in format {found}; appserver {__version__} understands {FORMAT}"
                )
            state = decode(cls, document["state"])
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise UpgradeError(f"what the running master hands over cannot be understood: {error!r}") from error
        assert isinstance(state, cls)
        return state


def set_inheritable(descriptors: Sequence[int], inheritable: bool) -> None:
    """Pass descriptors on through exec, or not."""
    for fd in descriptors:
        os.set_inheritable(fd, inheritable)
