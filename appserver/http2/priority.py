"""Priorities of responses: the field `priority` and the frame PRIORITY_UPDATE (RFC 9218)."""

from __future__ import annotations

import re
from typing import Final, NamedTuple


class Priority(NamedTuple):
    """How urgent a response is, from 0 (most) to 7, and whether parts of it are of use before the whole is there."""

    urgency: int = 3
    incremental: bool = False


UNSAID: Final = Priority(3, incremental=True)
"""For clients that say nothing: no response has to wait until another one is complete."""

MAX_FIELD: Final = 256
"""A longer value is passed over."""

# Members of a dictionary (RFC 8941 section 3.2), as far as they can be ours: a key, and an integer or a boolean.
_MEMBER = re.compile(rb"[ \t]*+([a-z*][a-z0-9_\-.*]*+)(?:=([^,; \t]*+))?(?:;[^,]*+)?[ \t]*+(?:,|\Z)")
_known: dict[bytes, Priority] = {}


def read_priority(value: bytes) -> Priority:
    """Read a priority (RFC 9218 section 4). A value that cannot be understood counts as if it were not there (section 4)."""
    known = _known.get(value)
    if known is not None:
        return known
    urgency, incremental = 3, False
    position = 0
    while position < len(value) <= MAX_FIELD:
        member = _MEMBER.match(value, position)
        if member is None:
            return Priority()  # no dictionary: all of it is passed over (RFC 8941 section 4.2)
        position = member.end()
        key, said = member[1], member[2]
        if key == b"u" and said is not None and len(said) == 1 and b"0" <= said <= b"7":
            urgency = said[0] - 0x30
        elif key == b"i" and said in (None, b"?1", b"?0"):
            incremental = said != b"?0"
    priority = Priority(urgency, incremental)
    if len(_known) < 256 and len(value) <= MAX_FIELD:
        _known[value] = priority
    return priority
