"""Which kind of header is believed: one of them, never both.

A proxy that writes one kind passes the other on as the client has sent it.
"""

from __future__ import annotations

from appserver.proxy.forwarded import read_forwarded
from appserver.proxy.origin import OriginReader
from appserver.proxy.x_forwarded import read_x_forwarded

READERS: dict[str, OriginReader | None] = {
    "x-forwarded": read_x_forwarded,
    "forwarded": read_forwarded,
    "none": None,
}


def make_reader(headers: str) -> OriginReader | None:
    """The reader for `proxy.headers`; None if no header is believed."""
    return READERS[headers]
