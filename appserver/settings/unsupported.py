"""Settings that the model knows and the server does not act on yet.

Setting one is refused: a limit that is silently not kept is worse than none. An entry goes when its meaning arrives.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from appserver.settings.locations import Location

NOT_SUPPORTED_YET = frozenset(
    (
        "tls",
        "listeners.tls",
        "listeners.proxy_protocol",
    )
)
"""Dotted keys; the name of a section stands for all of its keys."""


def is_unsupported(dotted: str) -> bool:
    """Tell whether a key, by its dotted name ("listeners.tls"), is refused."""
    return dotted in NOT_SUPPORTED_YET or dotted.partition(".")[0] in NOT_SUPPORTED_YET


def unsupported(given: Iterable[Location]) -> Iterator[Location]:
    """Yield where a value was given that is not supported yet."""
    for location in given:
        if is_unsupported(f"{location[0]}.{location[-1]}"):
            yield location
