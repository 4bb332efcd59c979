"""The PROXY protocol, versions 1 and 2: what a proxy puts in front of a connection, before everything else.

By the specification of HAProxy ("The PROXY protocol", sections 2.1 and 2.2). What it says about more than addresses
(TLVs) is skipped.
"""

from __future__ import annotations

import enum
import re
from typing import NamedTuple

from appserver.errors import AppserverError
from appserver.proxy.trust import Address, plain_address

V1_START = b"PROXY "
V1_SIZE = 107
"""A header of version 1 is not longer, its CRLF included."""

V2_START = b"\r\n\r\n\0\r\nQUIT\n"
V2_FIXED = 16

_PORT = rb"(0|[1-9][0-9]{0,4})"
_V1 = re.compile(rb"PROXY (TCP4|TCP6) ([0-9A-Fa-f:.]{2,45}) ([0-9A-Fa-f:.]{2,45}) " + _PORT + b" " + _PORT + rb"\r\n")
_V1_UNKNOWN = re.compile(rb"PROXY UNKNOWN(?: [\x20-\x7e]*)?\r\n")

_LOCAL, _PROXY = 0x20, 0x21
_TCP4, _TCP6, _UNIX = 0x11, 0x21, 0x31
_FAMILIES = range(4)  # unspecified, IPv4, IPv6, unix
_TRANSPORTS = range(3)  # unspecified, stream, datagram


class ProxyProtocolError(AppserverError):
    """The beginning of a connection is no header of the PROXY protocol."""


class Announced(NamedTuple):
    """Source and destination of a connection, as its proxy saw them; both None for unix sockets."""

    client: Address | None
    server: Address | None


class Unnamed(enum.Enum):
    """The origin of a connection whose header names nobody: its addresses are those of the connection itself."""

    PROXY = enum.auto()
    """The proxy, for itself, as in a health check."""

    STRANGER = enum.auto()
    """Somebody whom the proxy does not know, or cannot name: nobody to believe."""


def measure(data: bytes) -> int | None:
    """The size of the header that `data` begins with; None if that takes more octets to tell. Raises ProxyProtocolError.

    A header of version 2 may be longer than `data`.
    """
    if data.startswith(V1_START):
        end = data.find(b"\r\n", 0, V1_SIZE) + 2
        if end >= 2:
            return end
        if len(data) >= V1_SIZE:
            raise ProxyProtocolError("a header of version 1 without an end")
        return None
    if data.startswith(V2_START):
        return V2_FIXED + int.from_bytes(data[14:16], "big") if len(data) >= V2_FIXED else None
    if not V1_START.startswith(data) and not V2_START.startswith(data):
        raise ProxyProtocolError("it does not begin with a PROXY protocol header")
    return None


def parse(header: bytes) -> Announced | Unnamed:
    """Read a complete header. Raises ProxyProtocolError."""
    return _parse_v1(header) if header.startswith(V1_START) else _parse_v2(header)


def _parse_v1(header: bytes) -> Announced | Unnamed:
    if _V1_UNKNOWN.fullmatch(header):
        return Unnamed.STRANGER
    match = _V1.fullmatch(header)
    if match is None:
        raise ProxyProtocolError("a header of version 1 that is malformed")
    family, source, destination, source_port, destination_port = match.groups()
    version = 4 if family == b"TCP4" else 6
    return Announced(_v1_address(source, source_port, version), _v1_address(destination, destination_port, version))


def _v1_address(text: bytes, port: bytes, version: int) -> Address:
    try:
        address = plain_address(text.decode())
    except ValueError:
        raise ProxyProtocolError("a header of version 1 with an address that is none") from None
    if int(port) > 65535 or (b":" in text) != (version == 6):
        raise ProxyProtocolError("a header of version 1 with a port or an address of another kind")
    return str(address), int(port)


def _parse_v2(header: bytes) -> Announced | Unnamed:
    command, kind = header[12], header[13]
    if command not in (_LOCAL, _PROXY):
        raise ProxyProtocolError("a header of version 2 with a version or command that is not known")
    if kind >> 4 not in _FAMILIES or kind & 0x0F not in _TRANSPORTS:
        raise ProxyProtocolError("a header of version 2 with a kind of address that is not known")
    if command == _LOCAL:
        return Unnamed.PROXY
    if kind not in (_TCP4, _TCP6, _UNIX):
        return Unnamed.STRANGER
    size = {_TCP4: 4, _TCP6: 16, _UNIX: 108}[kind]
    block = header[V2_FIXED:]
    if len(block) < 2 * size + (0 if kind == _UNIX else 4):
        raise ProxyProtocolError("a header of version 2 that is too short for its addresses")
    if kind == _UNIX:
        return Announced(None, None)
    ports = block[2 * size :]
    source, destination = block[:size], block[size : 2 * size]
    return Announced(_v2_address(source, ports[:2]), _v2_address(destination, ports[2:4]))


def _v2_address(octets: bytes, port: bytes) -> Address:
    groups = ".".join(map(str, octets)) if len(octets) == 4 else octets.hex(":", 2)
    return str(plain_address(groups)), int.from_bytes(port, "big")
