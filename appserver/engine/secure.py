"""TLS between a transport and the protocol above it: transport to the one, protocol to the other.

OpenSSL works on two buffers in memory, so nothing here waits, and nothing is buffered that is not with the transport
below already: its flow control, its time limits and its ends are those of the connection. (The event loops' own TLS has
buffers, timers and tasks of its own; it costs more for each request, and hides from a connection what its client takes.)

    octets ─▶ incoming ─▶ handshake, then decrypted ─▶ data_received, eof_received
    octets ◀─ outgoing ◀────────────── encrypted ◀──── write

The protocol above is connected from the beginning on; it has nothing to write before the first octets that it gets.
OpenSSL is asked when the first record is complete: what it needs for a connection is some 50 KB, and a client that opens
connections and sends half a greeting on each should not cost the server more than it has sent.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterable
from typing import Any, Protocol, cast

READ_SIZE = 16 * 1024
"""Octets that are decrypted at once: what a record holds at most (RFC 8446 section 5.1)."""

HANDSHAKE = 22
"""The type of the record that a connection begins with, as its first octet."""

RECORD_HEADER = 5
"""Octets in front of a record: its type, a version, and its length in two octets."""


class SecureProtocol(Protocol):
    """The protocol above."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None: ...

    def secured(self, session: ssl.SSLObject) -> None:
        """The handshake is complete."""

    def insecure(self, error: ssl.SSLError) -> None:
        """The peer does not speak TLS, or not so that both understand it; the connection ends."""

    def data_received(self, data: bytes) -> None: ...

    def eof_received(self) -> bool: ...

    def pause_writing(self) -> None: ...

    def resume_writing(self) -> None: ...

    def connection_lost(self, error: Exception | None) -> None: ...


class SecureTransport(asyncio.Transport, asyncio.Protocol):
    """The server's side of one connection."""

    __deletable__ = ("_protocol",)  # mypyc asks for that
    __slots__ = (
        "_begun", "_congested", "_context", "_ended", "_greeting", "_held", "_incoming", "_loop", "_outgoing", "_paused",
        "_plain", "_protocol", "_ready", "_session",
    )  # fmt: skip

    _plain: asyncio.Transport
    # These are there when the handshake has begun.
    _incoming: ssl.MemoryBIO
    _outgoing: ssl.MemoryBIO
    _session: ssl.SSLObject

    def __init__(self, context: ssl.SSLContext, protocol: SecureProtocol, loop: asyncio.AbstractEventLoop) -> None:
        self._protocol = protocol
        self._loop = loop
        self._context = context
        self._greeting = b""  # the beginning of the first record, until it is complete
        self._begun = False  # the handshake has begun
        self._ready = False  # the handshake is complete
        self._ended = False  # nothing more is decrypted or encrypted
        self._paused = False  # the protocol wants nothing more
        self._congested = False  # the peer takes less than there is for it
        self._held = False  # it gets no answers to what is no data before it takes what there is

    # The side of the transport below.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._plain = cast("asyncio.Transport", transport)
        self._protocol.connection_made(self)

    def data_received(self, data: bytes) -> None:
        if self._ended:
            return
        if not self._begun:
            self._greeting = data = self._greeting + data
            if not _is_complete(data):
                return
            self._begin()
        self._incoming.write(data)
        if self._ready or self._shake_hands():
            self._deliver()

    def eof_received(self) -> bool:
        """The peer has closed its side, with or without saying so before (RFC 8446 section 6.1): HTTP frames itself."""
        if self._ended or not self._ready:
            return False
        return bool(self._protocol.eof_received())

    def pause_writing(self) -> None:
        self._congested = True
        self._protocol.pause_writing()

    def resume_writing(self) -> None:
        self._congested = False
        if self._held:
            self._held = False
            if not self._paused:
                self.resume_reading()
        self._protocol.resume_writing()

    def connection_lost(self, error: Exception | None) -> None:
        self._ended = True
        self._protocol.connection_lost(error)
        del self._protocol  # it refers to this transport: not to be left to the garbage collector

    def _begin(self) -> None:
        self._begun = True
        self._greeting = b""
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._session = self._context.wrap_bio(self._incoming, self._outgoing, server_side=True)

    def _shake_hands(self) -> bool:
        """Go on with the handshake; returns whether it is complete."""
        try:
            self._session.do_handshake()
        except ssl.SSLWantReadError:
            self._flush()
            return False
        except ssl.SSLError as error:
            self._protocol.insecure(error)
            self._fail()
            return False
        self._flush()
        self._ready = True
        self._protocol.secured(self._session)
        return True

    def _deliver(self) -> None:
        """Decrypt what is there, and hand it over, until the protocol wants no more."""
        incoming, session = self._incoming, self._session
        while not (self._paused or self._ended):
            try:
                data = session.read(READ_SIZE)
            except ssl.SSLWantReadError:
                break
            except ssl.SSLError:
                self._fail()
                return
            if not data:
                self._peer_ended()
                return
            self._protocol.data_received(data)
            if not incoming.pending and not session.pending():
                break
        if self._outgoing.pending and not self._ended:
            self._answer()

    def _answer(self) -> None:
        """Send the answers to what was no data (a change of keys), of which a peer may ask for any number without reading."""
        self._flush()
        if self._congested and not self._held:
            self._held = True
            self._plain.pause_reading()

    def _peer_ended(self) -> None:
        """The peer has said that it sends nothing more; it may still read."""
        if not self._protocol.eof_received():
            self.close()

    def _fail(self) -> None:
        """Tell the peer what is wrong, if OpenSSL does, and end the connection."""
        self._ended = True
        self._flush()
        self._plain.close()

    def _flush(self) -> None:
        if self._outgoing.pending:
            self._plain.write(self._outgoing.read())

    # The side of the protocol above.

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self._ended or not self._ready or not data:
            return
        try:
            written = self._session.write(data)
            while written < len(data):
                written += self._session.write(memoryview(data)[written:])
        except ssl.SSLError:
            self._fail()
            return
        self._plain.write(self._outgoing.read())

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview]) -> None:
        self.write(b"".join(list_of_data))

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        """Say that nothing more comes, and close our side."""
        self._end()
        self._plain.write_eof()

    def close(self) -> None:
        """Say that nothing more comes, and close the connection when that is written."""
        self._end()
        self._plain.close()

    def abort(self) -> None:
        self._ended = True
        self._plain.abort()

    def _end(self) -> None:
        """Send close_notify; without it the peer could not tell an end from one that somebody else has made."""
        if self._ready and not self._ended:
            try:
                self._session.unwrap()
            except ssl.SSLError:
                pass  # it waits for that of the peer, which we do not
            self._flush()
        self._ended = True

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Hand over to another protocol; one that takes over from the first is told of no handshake."""
        self._protocol = cast("SecureProtocol", protocol)

    def is_closing(self) -> bool:
        return self._plain.is_closing()

    def pause_reading(self) -> None:
        self._paused = True
        self._plain.pause_reading()

    def resume_reading(self) -> None:
        self._paused = False
        if self._held:
            return  # `resume_writing` goes on
        self._plain.resume_reading()
        if self._begun and not self._ended and (self._incoming.pending or self._session.pending()):
            self._loop.call_soon(self._go_on)

    def _go_on(self) -> None:
        if not self._ended:
            self._deliver()

    def get_write_buffer_size(self) -> int:
        return self._plain.get_write_buffer_size()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._plain.set_write_buffer_limits(high=high, low=low)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """The value that the transport below has, and "ssl_object" and "sslcontext"."""
        if name == "ssl_object":
            return self._session if self._begun else default
        if name == "sslcontext":
            return self._session.context if self._begun else self._context
        return self._plain.get_extra_info(name, default)


def _is_complete(greeting: bytes) -> bool:
    """Whether the first record is there as a whole; anything that is none is for OpenSSL to refuse, at once."""
    if not greeting or greeting[0] != HANDSHAKE:
        return bool(greeting)
    if len(greeting) < RECORD_HEADER:
        return False
    length = int.from_bytes(greeting[3:RECORD_HEADER], "big")
    return length > READ_SIZE or len(greeting) >= RECORD_HEADER + length
