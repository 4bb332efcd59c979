"""X-Forwarded-For, -Proto, -Host, -Port and -Prefix: a convention without a specification.

-For grows by one address at its right end with each proxy. Of the others some proxies write one value anew, and some
append theirs: the value that belongs to the outermost trusted proxy is as far from the right end as its address is in
-For, or the leftmost if there are fewer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from appserver.http.grammar import Fields
from appserver.proxy.origin import MAX_HOPS, Origin, read_authority, read_chain, read_port, read_prefix, read_scheme
from appserver.proxy.trust import Address, Trust

Value = TypeVar("Value")


def read_x_forwarded(fields: Fields, peer: Address | None, trust: Trust) -> Origin:
    """Read what the proxy at the other end, which is trusted, says about a request."""
    values: dict[bytes, list[str]] = {}
    for name, value in fields:
        if name.startswith(b"x-forwarded-"):
            # From the right, and not more than counts: there may be tens of thousands.
            members = map(str.strip, value.decode("latin-1").rsplit(",", MAX_HOPS)[-MAX_HOPS:])
            values.setdefault(name, []).extend(member for member in members if member)
    client, hops = read_chain(values.get(b"x-forwarded-for", ()), peer, trust)

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
