"""What comes before the first request where a proxy says for whom it connects: a header of the PROXY protocol."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

from appserver.engine.service import Service
from appserver.proxy.protocol import Announced, ProxyProtocolError, Unnamed, measure, parse

if TYPE_CHECKING:
    from appserver.engine.connection import Connection


class Preface(asyncio.Protocol):
    """Protocol of a transport until the header is complete; `rest` is its protocol from then on.

    The connection is open for the service from the beginning, so that its time limits count: the header has to be there
    within what the first head has.
    """

    __slots__ = ("_connection", "_received", "_rest", "_service", "_transport")

    _transport: asyncio.Transport

    def __init__(self, service: Service, connection: Connection, rest: asyncio.Protocol) -> None:
        """`rest`: the connection itself, or what stands between it and the transport."""
        self._service = service
        self._connection = connection
        self._rest = rest
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._rest.connection_made(transport)
        if not self._connection.trusted:
            self._refuse("the peer is not in proxy.trusted")

    def data_received(self, data: bytes) -> None:
        if self._transport.is_closing():
            return
        received = self._received = self._received + data
        try:
            size = measure(received)
            if size is None or size > len(received):
                return
            announced = parse(received[:size])
        except ProxyProtocolError as error:
            self._refuse(str(error))
            return
        if isinstance(announced, Announced):
            self._connection.introduce(*announced)
        elif announced is Unnamed.STRANGER:
            # The peer's trust is the proxy's own. What comes now may be written by anybody.
            self._connection.trusted = False
        self._transport.set_protocol(self._rest)
        if len(received) > size:
            self._rest.data_received(received[size:])

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, error: Exception | None) -> None:
        self._rest.connection_lost(error)

    def _refuse(self, detail: str) -> None:
        """There is no way to answer whoever does not speak as agreed."""
        self._service.slot.rejected("proxy_protocol")
        self._service.logger.info(
            "connection refused", reason="proxy_protocol", client=self._connection.peer, detail=detail
        )
        self._connection.abort()
