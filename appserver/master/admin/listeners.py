"""Binding `admin.bind` and `admin.control`, serving on them, and moving them at a reload."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from appserver.errors import ListenerError
from appserver.master.admin.application import AdminApplication, Control
from appserver.master.admin.credentials import CredentialSocket, denial
from appserver.master.admin.operations import Operations, Watching
from appserver.master.binding import BoundListener, bind
from appserver.master.handover import AdminListenerRecord
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
from appserver.settings.runtime import make_directory
from appserver.telemetry.logs import get_logger
from appserver.telemetry.scoreboard import Scoreboard, WorkerSlot, WorkerState

if TYPE_CHECKING:
    from appserver.engine.server import Server

# Probes have to get an answer, whoever else has connections here: an orchestrator kills what does not answer. So clients get
# little time, for whatever it is, and where there is no room the one that has been idle the longest gives way. A command is
# a small object.
_PATIENCE = 10.0
_HTTP = HTTPSettings(
    max_body_size=64 * 1024,
    header_timeout=_PATIENCE,
    body_timeout=_PATIENCE,
    keepalive_timeout=_PATIENCE,
    write_timeout=_PATIENCE,
)
_MAX_CONNECTIONS = 128
# They may take one of so many descriptors of this process on each address: reloads and new workers need some as well.
_SHARE = 4

# Time for open connections when an address is given up, in seconds: as `reload.linger`, and at the end of the program.
_LINGER = 1.0
_LAST_WORDS = 1.0

Place = tuple[Address, bool]  # the address, and whether it is for control


class AdminListener:
    """One address: bound when it is made, served when the event loop runs."""

    def __init__(self, bound: tuple[BoundListener, ...], *, controls: bool) -> None:
        """Hold what is bound; `controls` if commands are taken there."""
        self._controls = controls
        if controls:
            bound = tuple(replace(one, socket=CredentialSocket.take_over(one.socket)) for one in bound)
        self._bound = bound
        self._server: Server | None = None

    @classmethod
    def bind(cls, place: Place) -> AdminListener:
        """Bind an address. Raises ListenerError."""
        address, controls = place
        # The mode is the first of two locks; the second is the look at who has connected.
        settings = ListenerSettings(bind=address, mode="0600") if controls else ListenerSettings(bind=address)
        listener = cls(bind(settings), controls=controls)
        for name in listener.names:
            get_logger("appserver.master").info("admin listening", address=name, controls=controls)
        return listener

    def records(self, place: Place) -> list[AdminListenerRecord]:
        """The state for the program that takes over."""
        address, controls = place
        return [
            AdminListenerRecord(
                str(address), controls, one.socket.fileno(), one.name, str(one.path) if one.path else None, one.file
            )
            for one in self._bound
        ]

    @property
    def names(self) -> list[str]:
        """The addresses as people know them, with the port that was chosen for port 0."""
        return [listener.name for listener in self._bound]

    @property
    def is_lost(self) -> bool:
        """Whether nobody can connect any more, since the file of the socket is gone."""
        return any(listener.is_lost for listener in self._bound)

    def serve(self, view: Watching, operations: Operations) -> None:
        """Answer; to be called in the running event loop.

        A master that is asked nothing does without the engine: 5 MB, and a fifth of what it imports. So the first client
        waits until that is there.
        """
        application = AdminApplication(view, Control(operations, denial) if self._controls else None)
        loop = asyncio.get_running_loop()
        for listener in self._bound:
            loop.add_reader(listener.socket, self._wake, application)

    def _wake(self, application: AdminApplication) -> None:
        self._sleep_no_more()
        from appserver.engine.listener import Listener
        from appserver.engine.server import Server

        self._server = Server(
            application,
            http=_HTTP,
            http2=None,
            websocket=WebSocketSettings(enabled=False),
            workers=WorkersSettings(max_connections=_max_connections()),
            root_path="",
            state={},
            slot=_private_slot(),
            access_log=None,
            logger=get_logger("appserver.admin"),
            makes_room=True,
        )
        self._server.start([Listener(listener.socket, listener.name) for listener in self._bound])

    def _sleep_no_more(self) -> None:
        if self._server is None:
            loop = asyncio.get_running_loop()
            for listener in self._bound:
                loop.remove_reader(listener.socket)

    async def stop(self, limit: float | None, linger: float) -> None:
        """Accept no more, and let what is being answered come to its end, within `limit` seconds."""
        self._sleep_no_more()
        server = self._server
        if server is None:
            self.close()
        else:
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


def _max_connections() -> int:
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _MAX_CONNECTIONS if limit < 0 else min(_MAX_CONNECTIONS, max(1, limit // _SHARE))  # below 0: there is none


def _private_slot() -> WorkerSlot:
    """Where the engine counts: what it serves here is no traffic of the application's."""
    scoreboard = Scoreboard.create(1)
    os.close(scoreboard.fd)  # the mapping is all that is wanted, and nobody is to inherit it
    slot = scoreboard.slot(0)
    slot.begin(pid=os.getpid(), generation=0)
    slot.state = WorkerState.READY
    return slot


class Admin:
    """The listeners that the settings want.

    As with the listeners of workers, an address stays for as long as some settings want it, so a reload that is rolled
    back changes nothing, and a command is answered on the address on which it was given.
    """

    def __init__(self, default_control: Path | None = None, records: Iterable[AdminListenerRecord] = ()) -> None:
        """Hold what the program before this one has bound, if anything.

        `default_control` is the path of the control socket where the settings leave it to us; None: there is none. Raises
        ValueError if an address has no meaning.
        """
        bound: dict[Place, tuple[BoundListener, ...]] = {}
        for record in records:
            place = parse_address(record.bind), record.controls
            bound[place] = (*bound.get(place, ()), BoundListener.restore(record))
        self._default_control = default_control
        self._listeners = {place: AdminListener(found, controls=place[1]) for place, found in bound.items()}
        self._serve: Callable[[AdminListener], None] | None = None
        self._leaving: set[asyncio.Task[None]] = set()

    def add(self, wanted: AdminSettings) -> None:
        """Bind what is wanted and not bound yet, all of it or nothing, and serve if serving has begun.

        Raises ListenerError.
        """
        added: dict[Place, AdminListener] = {}
        try:
            for place in self._places(wanted):
                if place not in self._listeners:
                    added[place] = AdminListener.bind(place)
            added |= self._default_listener(wanted)
        except BaseException:
            for listener in added.values():
                listener.close()
            raise
        added |= self._found_again()
        self._listeners.update(added)
        if self._serve is not None:
            for listener in added.values():
                self._serve(listener)

    def _found_again(self) -> dict[Place, AdminListener]:
        """Bind anew where the file of a socket is gone: commands come through it, so nobody could ask for that otherwise."""
        again: dict[Place, AdminListener] = {}
        for place, listener in self._listeners.items():
            if listener.is_lost:
                log = get_logger("appserver.master")
                log.warning("socket file lost", listener=str(place[0]), reason="removed, or another file has its place")
                try:
                    again[place] = AdminListener.bind(place)
                except ListenerError as error:
                    log.warning("socket file not made anew", listener=str(place[0]), reason=str(error))
                else:
                    self._leave(listener)
        return again

    def _default_listener(self, wanted: AdminSettings) -> dict[Place, AdminListener]:
        """Bind the control socket that nobody has asked for; that it cannot be is no reason not to serve."""
        place = self._default_place(wanted)
        if place is None or place in self._listeners:
            return {}
        assert self._default_control is not None
        try:
            make_directory(self._default_control.parent)
            return {place: AdminListener.bind(place)}
        except (OSError, ListenerError) as error:
            get_logger("appserver.master").warning(
                "no control socket", path=str(self._default_control), reason=str(error), setting="admin.control"
            )
            return {}

    def records(self) -> list[AdminListenerRecord]:
        """The state for the program that takes over."""
        return [record for place, listener in self._listeners.items() for record in listener.records(place)]

    def start(self, view: Watching, operations: Operations) -> None:
        """Serve; to be called in the running event loop."""
        self._serve = lambda listener: listener.serve(view, operations)
        for listener in self._listeners.values():
            self._serve(listener)

    def keep(self, *wanted: AdminSettings) -> None:
        """Give up what none of these settings wants any more, once what is being answered there has been."""
        kept = {place for settings in wanted for place in (*self._places(settings), self._default_place(settings))}
        for place in self._listeners.keys() - kept:
            self._leave(self._listeners.pop(place))

    def _leave(self, listener: AdminListener) -> None:
        """Accept nothing more there, once what is being answered there has been."""
        if self._serve is None:
            listener.close()
            return
        task = asyncio.create_task(listener.stop(None, _LINGER))
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)

    async def stop(self) -> None:
        """End it all: the program ends right after."""
        listeners = list(self._listeners.values())
        self._listeners.clear()
        await asyncio.gather(*(listener.stop(_LAST_WORDS, 0.0) for listener in listeners))

    def close(self) -> None:
        """Let go of what is bound; what `stop` does not get to if the event loop has never run, or broke down."""
        for listener in self._listeners.values():
            listener.close()
        self._listeners.clear()

    @staticmethod
    def _places(settings: AdminSettings) -> Iterator[Place]:
        """Yield what the settings name."""
        if settings.bind is not None:
            yield settings.bind, False
        if isinstance(settings.control, Path):
            yield UnixAddress(str(settings.control)), True

    def _default_place(self, settings: AdminSettings) -> Place | None:
        if settings.control != "auto" or self._default_control is None:
            return None
        return UnixAddress(str(self._default_control)), True
