"""The steps in front of HTTP on a new connection, and the choice of the protocol at their end.

    transport ─▶ [ProxyHeader] ─▶ [SecureTransport] ─▶ Opening ─ first octets ─▶ protocol_for(…) ─▶ Connection

Where a listener has neither a PROXY header nor TLS, and one protocol only, a connection of that is the transport's protocol
from the beginning on (`open_connection`). Otherwise an `Opening` is, until the first octets of the protocol arrive: it is
open for the service from the accept on, so time limits and a drain count for the steps before as well.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable

from appserver.engine.connection import Connection
from appserver.engine.http2_connection import HTTP2Connection
from appserver.engine.link import Link
from appserver.engine.listener import Listener
from appserver.engine.peer import Peer
from appserver.engine.proxy_header import ProxyHeader
from appserver.engine.secure import SecureTransport
from appserver.engine.service import Service
from appserver.tls import HTTP_2


def protocol_for(alpn: str | None) -> Callable[[Service, Peer], Link]:
    """Return the class that speaks with a client, by the protocol that TLS has agreed on (None: none).

    Without TLS it is HTTP/1.1 until a client begins with the preface of HTTP/2: see `Connection`.
    """
    return HTTP2Connection if alpn == HTTP_2 else Connection


def open_connection(service: Service, listener: Listener, peer: Peer) -> tuple[Link, asyncio.Protocol]:
    """Begin a connection: returns what it is to the service, and the protocol that its transport begins with."""
    if not (listener.tls or listener.proxy_protocol):
        connection = Connection(service, peer)
        return connection, connection
    opening = Opening(service, peer)
    protocol: asyncio.Protocol = opening
    if listener.tls:
        assert service.tls is not None, "a listener with TLS needs certificates"
        protocol = SecureTransport(service.tls.context, opening, service.loop)
    if listener.proxy_protocol:
        protocol = ProxyHeader(service, opening, protocol)
    return opening, protocol


class Opening(Link):
    """A connection of which it is not known yet what it speaks."""

    __slots__ = ("_alpn", "peer")

    def __init__(self, service: Service, peer: Peer) -> None:
        super().__init__(service)
        self.peer = peer
        self._alpn: str | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._read_by = self.deadline = self._service.clock() + self._service.opening_timeout

    def secured(self, session: ssl.SSLObject) -> None:
        """The TLS handshake is complete."""
        self._alpn = session.selected_alpn_protocol()
        self.peer.secured(session)

    def insecure(self, error: ssl.SSLError) -> None:
        """There was no TLS handshake; the connection ends."""
        self.note_refusal("tls", (error.reason or str(error)).lower().replace("_", " "))

    def data_received(self, data: bytes) -> None:
        """The first octets behind all that stands in front: now it is known what the client speaks."""
        if self._closing:
            return
        connection = protocol_for(self._alpn)(self._service, self.peer)
        by = self._read_by
        self.hand_over(connection)
        connection.send_by(by)
        connection.data_received(data)

    def eof_received(self) -> bool:
        """The client has closed its side without a word: it is owed nothing."""
        self._half_closed = True
        return False

    def note_refusal(self, reason: str, detail: str) -> None:
        """Count and log a client with which nothing can be agreed on."""
        self._service.slot.rejected(reason)
        self._service.logger.info("connection refused", reason=reason, detail=detail, **self._identity())

    def _client_sends_nothing(self) -> None:
        if self._closing:
            self.abort()
        else:
            self.close()

    def _identity(self) -> dict[str, str]:
        return {} if self.peer.address is None else {"client": self.peer.address[0]}

    def drain(self) -> None:
        """Nothing has been promised yet."""

    def close_if_idle(self) -> None:
        if not self._closing:
            self.close()
