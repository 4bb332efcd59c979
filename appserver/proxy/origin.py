"""The client and scheme of a request that a proxy passes on, as the proxy states them."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import NamedTuple
from urllib.parse import unquote

from appserver.http.fields import AUTHORITY, Fields
from appserver.proxy.trust import Address, Trust

DEFAULT_PORTS = {"http": 80, "https": 443}

MAX_HOPS = 64
"""No chain of proxies is longer; a chain in a header may be."""

# A WebSocket's scheme is that of the request that opens it.
_SCHEMES = {"http": "http", "https": "https", "ws": "http", "wss": "https"}
# Segments of a path (RFC 3986 section 3.3).
_PREFIX = re.compile(r"(?:/(?:[A-Za-z0-9\-._~!$&'()*+,;=:@]|%[0-9A-Fa-f]{2})+)+")
# The same decoded, as applications build links from it: "//example.com" and, for browsers, "/\example.com" would be another
# host, dots another place, a line break another header.
_DECODED_PREFIX = re.compile(r"(?:/(?!\.{1,2}(?:/|\Z))[^/\\\x00-\x1f\x7f]+)+")
_PORT = re.compile(r":([0-9]*)$")


class Origin(NamedTuple):
    """A request as the outermost trusted proxy got it. None: nothing was said about that, or nothing that is valid.

    `client` is who sent it (None: not known). `authority` is what the client wants to talk to (host, and port if it is
    not the usual one), `port` the port at which the proxy was reached, `prefix` what it has taken off the path, decoded.
    """

    client: Address | None
    scheme: str | None = None
    authority: str | None = None
    port: int | None = None
    prefix: str | None = None

    def host(self, scheme: str, present: bytes | None) -> bytes | None:
        """The Host field as the client meant it, `present` as it came; None if there is nothing to change about it."""
        authority = self.authority
        if authority is None:
            if self.port is None or not present:
                return None
            authority = present.decode("latin-1")
        if self.port is not None and not _PORT.search(authority) and self.port != DEFAULT_PORTS[scheme]:
            authority += f":{self.port}"
        return authority.encode("latin-1")

    def server(self, scheme: str, present: tuple[str, int | None]) -> tuple[str, int | None]:
        """Host and port that the client has reached; `present` are those of the listener."""
        host, port = present
        if self.authority is not None:
            match = _PORT.search(self.authority)
            host = self.authority[: match.start()] if match else self.authority
            host = host.removeprefix("[").removesuffix("]")
            named = read_port(match[1]) if match else None
            return host, named or self.port or DEFAULT_PORTS[scheme]
        return host, port if self.port is None else self.port


NOTHING_ELSE = (None, None, None, None)
"""What `Origin` holds behind the client where nothing was said about anything else."""

OriginReader = Callable[[Fields, Address | None, Trust], Origin]
"""Reads the origin of a request from `Request.forwarded`; the second argument is the peer, which is trusted."""


def read_chain(nodes: Sequence[str], peer: Address | None, trust: Trust) -> tuple[Address | None, int]:
    """Go through proxies from the nearest on, for as long as each is trusted; `nodes` are in the order of the header.

    Returns the first who is not, or the last of them, and how many nodes that took.
    """
    client, hops = peer, 0
    for text in reversed(nodes[-MAX_HOPS:]):
        client, trusted = trust.node(text)
        hops += 1
        if not trusted:
            break
    return client, hops


def read_scheme(text: str) -> str | None:
    return _SCHEMES.get(text.lower())


def read_authority(text: str) -> str | None:
    if not text or not AUTHORITY.fullmatch(text.encode("latin-1")):
        return None
    port = _PORT.search(text)
    return None if port and port[1] and read_port(port[1]) is None else text


def read_port(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= 5 and 0 < int(text) <= 65535 else None


def read_prefix(text: str) -> str | None:
    """The prefix of a path, decoded, without a slash at its end."""
    text = text.removesuffix("/")
    if text and not _PREFIX.fullmatch(text):
        return None
    prefix = unquote(text)
    return prefix if not prefix or _DECODED_PREFIX.fullmatch(prefix) else None
