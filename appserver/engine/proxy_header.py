"""A proxy says for whom it connects: the header of the PROXY protocol, in front of everything else on a connection."""

from __future__ import annotations

import asyncio
from typing import Protocol, cast

from appserver.engine.peer import Peer
from appserver.engine.service import Service
from appserver.proxy.protocol import V1_SIZE, Announced, ProxyProtocolError, Unnamed, measure, parse


class Announcement(Protocol):
    """The connection that the header is about."""

    peer: Peer

    def note_refusal(self, reason: str, detail: str) -> None: ...

    def abort(self) -> None: ...


class ProxyHeader(asyncio.Protocol):
    """Protocol of a transport until the header is complete; `rest` is its protocol from then on.

    The connection is open for the service from the beginning, so that its time limits count: the header has to be there
    within what the first head has.
    """

    __slots__ = ("_connection", "_received", "_rest", "_service", "_transport")

    _transport: asyncio.Transport

    def __init__(self, service: Service, connection: Announcement, rest: asyncio.Protocol) -> None:
        """`rest`: the connection itself, or what stands between it and the transport."""
        self._service = service
        self._connection = connection
        self._rest = rest
        self._received = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._rest.connection_made(transport)
        if not self._connection.peer.trusted:
            self._refuse("the peer is not in proxy.trusted")

    def data_received(self, data: bytes) -> None:
        if self._transport.is_closing():
            return
        received = self._received
        received += data
        try:
            # The size of a header stands at its beginning: nothing is copied again as it drips in.
            size = measure(bytes(received[:V1_SIZE]))
            if size is None or size > len(received):
                return
            announced = parse(bytes(received[:size]))
        except ProxyProtocolError as error:
            self._refuse(str(error))
            return
        if isinstance(announced, Announced):
            self._connection.peer.introduce(*announced)
        elif announced is Unnamed.STRANGER:
            # The peer's trust is the proxy's own. The octets behind the header may be written by anybody.
            self._connection.peer.trusted = False
        self._transport.set_protocol(self._rest)
        if len(received) > size:
            self._rest.data_received(bytes(received[size:]))

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, error: Exception | None) -> None:
        self._rest.connection_lost(error)

    def _refuse(self, detail: str) -> None:
        """There is no way to answer whoever does not speak as agreed."""
        self._connection.note_refusal("proxy_protocol", detail)
        self._connection.abort()
