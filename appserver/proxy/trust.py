"""The peers that are believed: the one place that decides it, for headers, the PROXY protocol and request ids alike."""

from __future__ import annotations

import re
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import NamedTuple

Address = tuple[str, int]

# node (RFC 7239 section 6), with what is written in practice: an IPv6 address without brackets (then without a port).
# A port may be obfuscated, too.
_NODE = re.compile(
    r"(?:\[([0-9A-Fa-f:.]{2,45})\]|([0-9]{1,3}(?:\.[0-9]{1,3}){3}))(?::([0-9]{1,5}|_[\w.-]+))?", re.ASCII
)
_BARE_V6 = re.compile(r"[0-9A-Fa-f:.]{2,45}", re.ASCII)

# The numbers in an IPv4 address in its usual form, which has no zeros in front.
_NUMBERS = {str(number): number for number in range(256)}

# So many nodes are remembered, none of which has more characters: an address and a port have fewer, and what a client writes may have more.
_REMEMBERED = 1024
_LONGEST = 64


class Node(NamedTuple):
    """Somebody that a request has come through. `address` is None if that is hidden, or no address (port 0: unknown)."""

    address: Address | None
    trusted: bool


HIDDEN = Node(None, False)


class Trust:
    """Tells the peers, and the proxies before them, that are believed from those that are not.

    Addresses that a peer names and that are cut to a form (port, brackets, case) are compared as addresses, and an IPv4
    address mapped into IPv6 (RFC 4291 section 2.5.5.2) is that IPv4 address.
    """

    def __init__(self, trusted: Iterable[str]) -> None:
        """`trusted`: as `proxy.trusted`, addresses, networks, "*" for everybody, "unix" for the peers of unix sockets."""
        entries = frozenset(trusted)
        self._everybody = "*" in entries
        self._unix = self._everybody or "unix" in entries
        self._networks = [_plain_network(entry) for entry in sorted(entries - {"*", "unix"})]
        self._nodes: dict[str, Node] = {}
        # The IPv4 networks as numbers, by their masks.
        self._v4: dict[int, set[int]] = {0: {0}} if self._everybody else {}
        for network in self._networks:
            if network.version == 4:
                self._v4.setdefault(int(network.netmask), set()).add(int(network.network_address))

    def trusts(self, peer: Address | None) -> bool:
        """Whether to believe the peer of a connection; None is the peer of a unix socket."""
        if peer is None:
            return self._unix
        return self.node(peer[0].partition("%")[0]).trusted  # without the zone (RFC 4007 section 11)

    def node(self, text: str) -> Node:
        """Read the name of a node, as a proxy has written it: an address with or without a port, or something hidden."""
        address = _number(text)
        if address is not None:
            return Node((text, 0), self._contains_v4(address))
        found = self._nodes.get(text)
        if found is None:
            found = self._read(text)
            if len(text) <= _LONGEST:
                if len(self._nodes) >= _REMEMBERED:
                    self._nodes.clear()
                self._nodes[text] = found
        return found

    def address(self, text: str) -> Address | None:
        """The address of a node, whether it is trusted or not."""
        return self.node(text).address if _number(text) is None else (text, 0)

    def _read(self, text: str) -> Node:
        if text.startswith("unix:"):
            return Node(None, self._unix)  # what nginx makes of a client on a unix socket
        match = _NODE.fullmatch(text)
        if match is not None:
            host, port = match[1] or match[2], match[3] or "0"
        elif _BARE_V6.fullmatch(text):
            host, port = text, "0"
        else:
            return HIDDEN
        try:
            address = plain_address(host)
        except ValueError:
            return HIDDEN
        number = int(port) if port.isdecimal() and int(port) <= 65535 else 0
        return Node((str(address), number), self._contains(address))

    def _contains_v4(self, address: int) -> bool:
        for mask, networks in self._v4.items():  # noqa: SIM110 - a generator costs three times as much
            if address & mask in networks:
                return True
        return False

    def _contains(self, address: IPv4Address | IPv6Address) -> bool:
        return self._everybody or any(address in network for network in self._networks)


def _number(text: str) -> int | None:
    """An IPv4 address in its usual form, and nothing else, as a number.

    That is what most proxies name, and more of them than a server could remember.
    """
    numbers = text.split(".")
    if len(numbers) != 4:
        return None
    a, b, c, d = numbers
    try:
        return _NUMBERS[a] << 24 | _NUMBERS[b] << 16 | _NUMBERS[c] << 8 | _NUMBERS[d]
    except KeyError:
        return None


def plain_address(text: str) -> IPv4Address | IPv6Address:
    """The address in its one form; raises ValueError."""
    address = ip_address(text)
    return (address.version == 6 and address.ipv4_mapped) or address


def _plain_network(text: str) -> IPv4Network | IPv6Network:
    """The network in the form in which addresses are compared."""
    network = ip_network(text)
    if network.version == 6 and network.prefixlen >= 96 and (mapped := network.network_address.ipv4_mapped):
        return IPv4Network((mapped, network.prefixlen - 96))
    return network
