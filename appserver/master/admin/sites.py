"""Binding `admin.bind` and `admin.control`, serving on them, and moving them at a reload."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from appserver.master.admin.application import AdminApplication
from appserver.master.admin.credentials import CredentialSocket, denial
from appserver.master.admin.operations import Operations
from appserver.master.handover import SiteRecord
from appserver.master.listeners import BoundListener, bind
from appserver.settings import (
    Address,
    AdminSettings,
    HTTPSettings,
    ListenerSettings,
    UnixAddress,
    WebSocketSettings,
    WorkersSettings,
)
from appserver.settings.address import parse_address
from appserver.telemetry.logs import get_logger
from appserver.telemetry.scoreboard import Scoreboard, WorkerSlot, WorkerState

if TYPE_CHECKING:
    from appserver.engine.server import Server

# A command is a small object, and an answer to many at once no hurry.
_HTTP = HTTPSettings(max_body_size=64 * 1024)
_LIMITS = WorkersSettings(max_connections=256)

# What open connections get when an address is given up, in seconds: as `reload.linger`, and at the end of the program.
_LINGER = 1.0
_LAST_WORDS = 1.0

Place = tuple[Address, bool]  # the address, and whether it is for control


class Site:
    """One address: bound when it is made, served when the event loop runs."""

    def __init__(self, bound: tuple[BoundListener, ...], *, controls: bool) -> None:
        """Hold what is bound; `controls` if commands are taken there."""
        self._controls = controls
        if controls:
            bound = tuple(replace(one, socket=CredentialSocket.take_over(one.socket)) for one in bound)
        self._bound = bound
        self._server: Server | None = None

    @classmethod
    def bind(cls, place: Place) -> Site:
        """Bind an address. Raises ListenerError."""
        address, controls = place
        # The mode is the first of two locks; the second is the look at who has connected.
        settings = ListenerSettings(bind=address, mode="0600") if controls else ListenerSettings(bind=address)
        site = cls(bind(settings), controls=controls)
        for name in site.names:
            get_logger("appserver.master").info("admin listening", address=name, controls=controls)
        return site

    def records(self, place: Place) -> list[SiteRecord]:
        """What a program that takes over has to know."""
        address, controls = place
        return [
            SiteRecord(str(address), controls, one.socket.fileno(), one.name, str(one.path) if one.path else None)
            for one in self._bound
        ]

    @property
    def names(self) -> list[str]:
        """The addresses as people know them, with the port that was chosen for port 0."""
        return [listener.name for listener in self._bound]

    def serve(self, master: Operations) -> None:
        """Answer; to be called in the running event loop."""
        # A master that is asked nothing does without the engine: 5 MB, and a fifth of what it imports.
        from appserver.engine.listener import Listener
        from appserver.engine.server import Server

        self._server = Server(
            AdminApplication(master, denial if self._controls else None),
            http=_HTTP,
            websocket=WebSocketSettings(enabled=False),
            workers=_LIMITS,
            root_path="",
            state={},
            slot=_private_slot(),
            access_log=None,
            logger=get_logger("appserver.admin"),
        )
        self._server.start([Listener(listener.socket, listener.name) for listener in self._bound])

    async def stop(self, limit: float | None, linger: float) -> None:
        """Accept no more, and let what is being answered come to its end, within `limit` seconds."""
        server = self._server
        if server is not None:
            server.begin_drain(linger)
            self.close()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(limit):
                    await server.wait_drained()
            server.cancel()
            server.close()

    def close(self) -> None:
        """Let go of the address, and of the file of a unix socket."""
        for listener in self._bound:
            listener.close()


def _private_slot() -> WorkerSlot:
    """Where the engine counts: what it serves here is no traffic of the application's."""
    scoreboard = Scoreboard.create(1)
    os.close(scoreboard.fd)  # the mapping is all that is wanted, and nobody is to inherit it
    slot = scoreboard.slot(0)
    slot.begin(pid=os.getpid(), generation=0)
    slot.state = WorkerState.READY
    return slot


class Admin:
    """The sites that the settings want.

    As with the listeners of workers, an address stays for as long as some settings want it, so a reload that is rolled
    back changes nothing, and a command is answered on the address on which it was given.
    """

    def __init__(self) -> None:
        self._sites: dict[Place, Site] = {}
        self._master: Operations | None = None
        self._leaving: set[asyncio.Task[None]] = set()

    def add(self, wanted: AdminSettings) -> None:
        """Bind what is wanted and not bound yet, all of it or nothing, and serve if serving has begun.

        Raises ListenerError.
        """
        added: dict[Place, Site] = {}
        try:
            for place in _places(wanted):
                if place not in self._sites:
                    added[place] = Site.bind(place)
        except BaseException:
            for site in added.values():
                site.close()
            raise
        self._sites.update(added)
        if self._master is not None:
            for site in added.values():
                site.serve(self._master)

    @classmethod
    def restore(cls, records: Sequence[SiteRecord]) -> Admin:
        """Hold the sites that the program before this one has bound. Raises ValueError if an address has no meaning."""
        bound: dict[Place, tuple[BoundListener, ...]] = {}
        for record in records:
            place = parse_address(record.bind), record.controls
            path = Path(record.path) if record.path else None
            one = BoundListener(socket.socket(fileno=record.fd), record.name, path)
            bound[place] = (*bound.get(place, ()), one)
        admin = cls()
        admin._sites = {place: Site(found, controls=place[1]) for place, found in bound.items()}
        return admin

    def records(self) -> list[SiteRecord]:
        """What a program that takes over has to know."""
        return [record for place, site in self._sites.items() for record in site.records(place)]

    def start(self, master: Operations) -> None:
        """Serve; to be called in the running event loop."""
        self._master = master
        for site in self._sites.values():
            site.serve(master)

    def keep(self, *wanted: AdminSettings) -> None:
        """Give up what none of these settings wants any more, once what is being answered there has been."""
        kept = {place for settings in wanted for place in _places(settings)}
        for place in self._sites.keys() - kept:
            task = asyncio.create_task(self._sites.pop(place).stop(None, _LINGER))
            self._leaving.add(task)
            task.add_done_callback(self._leaving.discard)

    async def stop(self) -> None:
        """End it all: the program ends right after."""
        sites = list(self._sites.values())
        self._sites.clear()
        await asyncio.gather(*(site.stop(_LAST_WORDS, 0.0) for site in sites))

    def close(self) -> None:
        """Let go of what is bound; what `stop` does not get to if the event loop has never run, or broke down."""
        for site in self._sites.values():
            site.close()
        self._sites.clear()


def _places(settings: AdminSettings) -> Iterator[Place]:
    if settings.bind is not None:
        yield settings.bind, False
    if settings.control is not None:
        yield UnixAddress(str(settings.control)), True
