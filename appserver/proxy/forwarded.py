"""The Forwarded header (RFC 7239): one element for each proxy, each with what that proxy saw."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice

from appserver.http.fields import Fields
from appserver.proxy.origin import MAX_HOPS, Origin, read_authority, read_scheme
from appserver.proxy.trust import Address, Trust

# forwarded-pair, or none, and what separates it from the next one (section 4). A value should be quoted if it holds a
# colon; not everybody does.
_PAIR = re.compile(
    r"""[ \t]*+(?:([!#$%&'*+\-.^_`|~0-9A-Za-z]++)=(?:"((?:[^"\\]|\\.)*)"|([!#$%&'*+\-.^_`|~0-9A-Za-z:\[\]/@]++)))?"""
    r"[ \t]*+([;,]|\Z)"
)
_QUOTED_PAIR = re.compile(r"\\(.)")

Element = dict[str, str]

MAX_LINE = 8 * 1024
"""Characters of a field line; a longer one is nothing that proxies have written, and would take its time."""

MAX_PAIRS = 4 * MAX_HOPS
"""Pairs, or empty places of them, in a field line. Of 8 KiB of commas a client of HTTP/2 sends many with a few octets."""

BROKEN: Element = {"for": "unknown"}
"""Stands for a field line that does not follow the grammar: what it hides is not known, and nothing before it counts."""


def read_forwarded(fields: Fields, peer: Address | None, trust: Trust) -> Origin:
    """Read what the proxy at the other end, which is trusted, says about a request.

    An element tells about the proxy that has added it, and `for` who its client was. So the next one to the left counts
    if that client is trusted.
    """
    client = peer
    scheme: str | None = None
    authority: str | None = None
    for element in islice(_from_the_right(fields), MAX_HOPS):
        scheme = read_scheme(element.get("proto", "")) or scheme
        authority = read_authority(element.get("host", "")) or authority
        if "for" not in element:
            break
        client, trusted = trust.node(element["for"])
        if not trusted:
            break
    return Origin(client, scheme=scheme, authority=authority)


def _from_the_right(fields: Fields) -> Iterator[Element]:
    """The elements, those of the nearest proxy first. A line is read when its turn comes: most are the client's, and nobody asks for them."""
    for name, value in reversed(fields):
        if name == b"forwarded":
            yield from reversed(parse_line(value.decode("latin-1")))


def parse_line(line: str) -> list[Element]:
    """Take a field line apart; one that does not follow the grammar is one BROKEN element."""
    if len(line) > MAX_LINE or line.count(",") + line.count(";") > MAX_PAIRS:
        return [BROKEN]
    elements: list[Element] = []
    element: Element = {}
    position = 0
    while True:
        match = _PAIR.match(line, position)
        if match is None:
            return [BROKEN]
        name, quoted, plain, end = match.groups()
        if name is not None:
            name = name.lower()
            if name in element:
                return [BROKEN]
            element[name] = plain if quoted is None else _QUOTED_PAIR.sub(r"\1", quoted)
        if end != ";":
            if element:
                elements.append(element)
            element = {}
        if not end:
            return elements
        position = match.end()
