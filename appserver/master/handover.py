"""The state that one program of the master hands over to the next when it is replaced in place.

A JSON document in an anonymous file whose descriptor is passed on. The two programs may be of different versions: what
the reader does not know it leaves out, and what it misses it takes from the defaults. So a field that is added has to
have a default, and none may change its meaning; where that is not enough, `FORMAT` goes up, and a program that does not
understand the number says so before it has replaced anything.
"""

from __future__ import annotations

import itertools
import json
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from appserver import __version__
from appserver.errors import UpgradeError
from appserver.master.certificates import Certificates
from appserver.master.configuration import Configuration, Configurations
from appserver.master.reload_outcomes import ReloadOutcome
from appserver.settings import Loaded, read_settings
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
    file: tuple[int, int] | None = None
    """Which file of a unix socket is the server's own (st_dev, st_ino)."""


@dataclass(slots=True)
class AdminListenerRecord:
    """A socket of an admin address; `controls` if commands are taken on it."""

    bind: str
    controls: bool
    fd: int
    name: str
    path: str | None = None
    file: tuple[int, int] | None = None
    """Which file of a unix socket is the server's own (st_dev, st_ino)."""


@dataclass(slots=True)
class ZygoteRecord:
    """A zygote; `channel` is None when the master has let go of it, `answered` whether it has said how its boot went."""

    generation: int
    pid: int
    channel: int | None
    answered: bool = False


@dataclass(slots=True)
class WorkerRecord:
    """A worker; `pid` is None until its zygote has reported it, `stacks_read` is how much of its stacks file is known.

    `answered` and `stopped_accepting` are what it has said, and may not say again.
    """

    worker: int
    number: int
    generation: int
    pid: int | None
    channel: int
    stacks: int
    stacks_read: int
    forked_at: float
    answered: bool = False
    stopped_accepting: bool = False


@dataclass(slots=True)
class KeptMetrics:
    """The directory of the application's metrics, and the descriptor that holds its lock."""

    directory: str
    lock: int


@dataclass(slots=True)
class ConfigurationsRecord:
    """The configurations of the generations: each different one once, and by its index where it is in use."""

    settings: list[str]
    paths: list[str | None]
    serving: int
    wanted: int
    generations: dict[int, int]
    tls: list[str | None] = field(default_factory=list)
    """The key material of each, as JSON: its files may have changed, or gone."""

    @classmethod
    def of(cls, in_use: Configurations) -> ConfigurationsRecord:
        serving, wanted, generations = in_use.serving, in_use.wanted, in_use.generations()
        all_of_them = (serving, wanted, *generations.values())
        configurations = list({id(one): one for one in all_of_them}.values())
        index = {id(one): number for number, one in enumerate(configurations)}
        return cls(
            settings=[one.settings.model_dump_json() for one in configurations],
            paths=[None if one.loaded.path is None else str(one.loaded.path) for one in configurations],
            serving=index[id(serving)],
            wanted=index[id(wanted)],
            generations={number: index[id(one)] for number, one in generations.items()},
            tls=[None if one.certificates is None else one.certificates.material.dump() for one in configurations],
        )

    def restore(self) -> Configurations:
        """The configurations as they were; those that were one are one again.

        Raises ValueError if the settings cannot be understood.
        """
        configurations = []
        for settings, path, tls in itertools.zip_longest(self.settings, self.paths, self.tls):
            loaded = Loaded(read_settings(settings), origins={}, paths=() if path is None else (Path(path),))
            certificates = None if tls is None else Certificates(loaded.settings.tls, Material.load(tls))
            configurations.append(Configuration.again(loaded, certificates))
        generations = {number: configurations[index] for number, index in self.generations.items()}
        return Configurations(configurations[self.serving], configurations[self.wanted], generations)


@dataclass(slots=True, kw_only=True)
class Inheritance:
    """Everything that a master goes on with when it begins. At a boot that is nothing, as the defaults say."""

    listeners: list[ListenerRecord] = field(default_factory=list)
    sites: list[AdminListenerRecord] = field(default_factory=list)
    """The admin addresses. Names are part of the format, so this one and `plans` stay as they are."""
    zygotes: list[ZygoteRecord] = field(default_factory=list)
    workers: list[WorkerRecord] = field(default_factory=list)
    application_metrics: KeptMetrics | None = None
    started_at: float = field(default_factory=time.time)
    """When the server was started, in seconds since the epoch."""
    last_reload: ReloadOutcome | None = None


@dataclass(slots=True, kw_only=True)
class Handover(Inheritance):
    """All that a master knows and holds, for the program that takes its place."""

    scoreboard: int
    layout: str = ""
    """How the scoreboard is laid out (`Scoreboard.described`)."""
    supervisor: dict[str, Any]
    plans: ConfigurationsRecord
    kept: list[int] = field(default_factory=list)
    """Descriptors that the program was started with and that a reload may want."""
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
