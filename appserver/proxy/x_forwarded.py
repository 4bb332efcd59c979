"""X-Forwarded-For, -Proto, -Host, -Port and -Prefix: a convention without a specification.

-For grows by one address at its right end with each proxy. Of the others some proxies write one value anew, and some
append theirs: the value that belongs to the outermost trusted proxy is as far from the right end as its address is in
-For, or the leftmost if there are fewer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from appserver.http.fields import Fields
from appserver.proxy.origin import MAX_HOPS, Origin, read_authority, read_chain, read_port, read_prefix, read_scheme
from appserver.proxy.trust import Address, Trust

Value = TypeVar("Value")

_NAMES = frozenset(f"x-forwarded-{name}".encode() for name in ("for", "proto", "host", "port", "prefix"))


def read_x_forwarded(fields: Fields, peer: Address | None, trust: Trust) -> Origin:
    """Read what the proxy at the other end, which is trusted, says about a request."""
    if len(fields) == 1 and fields[0][0] == b"x-forwarded-for" and 0x2C not in fields[0][1]:
        # The usual case: one client, whom the peer has seen.
        node = fields[0][1].decode("latin-1").strip()
        return Origin(trust.address(node) if node else peer)
    values: dict[bytes, list[str]] = {}
    for name, value in fields:
        if name in _NAMES:
            text = value.decode("latin-1")
            # From the right, and not more than counts: there may be tens of thousands.
            members = text.rsplit(",", MAX_HOPS)[-MAX_HOPS:] if "," in text else [text]
            members = [stripped for member in members if (stripped := member.strip())]
            values[name] = values[name] + members if name in values else members
    chain = values.pop(b"x-forwarded-for", None)
    client, hops = read_chain(chain, peer, trust) if chain else (peer, 0)
    if not values:
        return Origin(client)

    def pick(name: bytes, read: Callable[[str], Value | None]) -> Value | None:
        given = values.get(name)
        return read(given[-min(max(hops, 1), len(given))]) if given else None

    return Origin(
        client,
        scheme=pick(b"x-forwarded-proto", read_scheme),
        authority=pick(b"x-forwarded-host", read_authority),
        port=pick(b"x-forwarded-port", read_port),
        prefix=pick(b"x-forwarded-prefix", read_prefix),
    )
