"""The listening sockets: bound before anything else happens, kept over reloads, closed by nobody but the master."""

from __future__ import annotations

import contextlib
import socket
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from appserver.errors import ListenerError
from appserver.master.activation import Activation
from appserver.master.backlog import backlog_length
from appserver.master.binding import NOTHING_PASSED, BoundListener, bind, close
from appserver.master.handover import ListenerRecord
from appserver.master.syn_filter import drop_handshakes
from appserver.settings import ListenerSettings
from appserver.settings.address import (
    Address,
    TCPAddress,
    UnixAddress,
    parse_address,
)
from appserver.telemetry.logs import get_logger
from appserver.worker.messages import ListenerGrant

Place = tuple[Address, int]

_LOST = "it has been removed, or another file has its place: no client can connect there"


class ListenerSet:
    """Every listening socket of the server, by the address that the settings name.

    An address that is bound stays bound for as long as some settings want it: connections wait in its backlog while
    workers change, and none is refused.
    """

    def __init__(self, activation: Activation = NOTHING_PASSED, records: Iterable[ListenerRecord] = ()) -> None:
        """Hold what the program before this one has bound, if anything; `activation`: the sockets that systemd has passed.

        Raises ValueError if an address has no meaning.
        """
        self._activation = activation
        self._bound: dict[Place, tuple[BoundListener, ...]] = {}
        self._former: dict[Place, tuple[BoundListener, ...]] = {}  # what `renew` has put others in the place of
        for record in records:
            place = parse_address(record.bind), record.index
            self._bound[place] = (*self._bound.get(place, ()), BoundListener.restore(record))

    def add(self, wanted: Sequence[ListenerSettings]) -> None:
        """Bind what is wanted and not bound yet, all of it or nothing; have the rest as it is wanted now.

        Raises ListenerError.
        """
        added: dict[Place, tuple[BoundListener, ...]] = {}
        places = _places(wanted)
        try:
            for place, listener in places.items():
                if place not in self._bound:
                    added[place] = bind(listener, self._activation)
                else:
                    for bound in self._bound[place]:
                        bound.check(listener)
        except ListenerError:
            for listeners in added.values():
                close(listeners)
            raise
        self._bound.update(added)
        for place, listener in places.items():
            for bound in self._bound[place]:
                bound.adjust(listener)
        for place, listeners in added.items():
            for bound in listeners:
                get_logger("appserver.master").info("listening", listener=str(place[0]), address=bound.name)

    def renew(self, wanted: Sequence[ListenerSettings]) -> None:
        """Bind anew, for a generation that begins, where the file of a unix socket is gone: no client can connect there.

        The generation that serves goes on with the socket it has, which has no name any more; `settle` or `give_back` follows.
        Raises ListenerError.
        """
        log = get_logger("appserver.master")
        for place, listener in _places(wanted).items():
            before = self._bound.get(place, ())
            for bound in before:
                if bound.is_lost:
                    log.warning("socket file lost", listener=bound.name, reason=_LOST, advice="it is made anew")
                    self._bound[place] = bind(listener, self._activation)
                    self._former[place] = before

    def settle(self) -> None:
        """Close what others have been put in the place of: the new generation serves."""
        for listeners in self._former.values():
            close(listeners)
        self._former.clear()

    def give_back(self) -> None:
        """Close what `renew` has bound, on which nobody is going to accept: the old generation serves on."""
        for place, listeners in self._former.items():
            close(self._bound.get(place, ()))
            self._bound[place] = listeners
            for bound in listeners:
                get_logger("appserver.master").error(
                    "socket file lost", listener=bound.name, reason=_LOST, advice="the next reload makes it anew"
                )
        self._former.clear()

    def keep(self, *wanted: Sequence[ListenerSettings]) -> None:
        """Close what none of these settings wants any more; clients are refused there, whoever still holds a copy."""
        kept = {place for listeners in wanted for place in _places(listeners)}
        gone = self._bound.keys() - kept
        self.refuse(gone)
        for place in gone:
            close(self._bound.pop(place))

    def turn_away(self) -> None:
        """Let nobody connect any more, so that workers can take all who are connected.

        Sockets that were passed to this program are left alone: connections wait in them for its next start.
        """
        for bound in self._own(self._bound):
            with contextlib.suppress(OSError):  # it has been done before, or the kernel cannot
                drop_handshakes(bound.socket)

    def refuse(self, places: Iterable[Place] | None = None) -> None:
        """Have the kernel refuse connections, everywhere or at some places, although workers still hold the sockets.

        Those that are in a backlog are lost. Sockets that were passed to this program are left alone.
        """
        for bound in self._own(self._bound if places is None else places):
            with contextlib.suppress(OSError):  # it has been done before
                bound.socket.shutdown(socket.SHUT_RDWR)

    def _own(self, places: Iterable[Place]) -> Iterator[BoundListener]:
        """The sockets that this program has bound, and nobody else listens on."""
        for place in places:
            if _is_own(place):
                yield from self._bound[place]

    def names(self) -> list[str]:
        """The bound addresses, as people know them."""
        return [bound.name for listeners in self._bound.values() for bound in listeners]

    def urls(self, wanted: Sequence[ListenerSettings]) -> list[str]:
        """The bound addresses as URLs that a browser on this machine can open; a unix socket by its address."""
        return [
            url(bound.socket, bound.name, tls=listener.tls)
            for place, listener in _places(wanted).items()
            for bound in self._bound[place]
        ]

    def backlogs(self) -> dict[str, int]:
        """How many connections wait to be accepted, by listener; without those of which the kernel does not tell."""
        bound = [one for listeners in self._bound.values() for one in listeners]
        lengths = {one.name: backlog_length(one.socket) for one in bound}
        return {name: length for name, length in lengths.items() if length is not None}

    def grants(self, wanted: Sequence[ListenerSettings], *, anew: bool = False) -> tuple[ListenerGrant, ...]:
        """The sockets that a zygote is given for its workers to accept on.

        With `anew`, for a generation that begins, lost ones are made anew before (see `renew`). Raises ListenerError.
        """
        if anew:
            self.renew(wanted)
        return tuple(
            ListenerGrant(bound.socket.fileno(), bound.name, listener.tls, listener.proxy_protocol, _is_own(place))
            for place, listener in _places(wanted).items()
            for bound in self._bound[place]
        )

    def records(self) -> list[ListenerRecord]:
        """The state for the program that takes over."""
        return [
            ListenerRecord(
                str(address),
                index,
                bound.socket.fileno(),
                bound.name,
                str(bound.path) if bound.path else None,
                bound.file,
            )
            for (address, index), listeners in self._bound.items()
            for bound in listeners
        ]

    def passed(self) -> list[int]:
        """The descriptors that this process was started with, for listeners that a reload may add."""
        return self._activation.descriptors()

    def close(self) -> None:
        """Close everything, and remove the files of unix sockets."""
        self.settle()
        self.keep()


def url(listening: socket.socket, name: str, *, tls: bool) -> str:
    """Return the URL of a listening socket; every interface is called by the one that this machine surely has."""
    if listening.family == socket.AF_UNIX:
        return name
    host, port = listening.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)  # noqa: S104
    return f"{'https' if tls else 'http'}://{host}:{port}"


def _places(wanted: Sequence[ListenerSettings]) -> dict[Place, ListenerSettings]:
    """Tell listeners with the same address apart by their order: with port 0 each is a port of its own."""
    seen: Counter[Address] = Counter()
    places = {}
    for listener in wanted:
        places[listener.bind, seen[listener.bind]] = listener
        seen[listener.bind] += 1
    return places


def _is_own(place: Place) -> bool:
    """Whether this program binds what is there, and it is not passed to it."""
    return isinstance(place[0], TCPAddress | UnixAddress)
