"""The id by which a request is found again: in the response, in the scope, in every record that is about it."""

from __future__ import annotations

import os
import re

from appserver.http.head import RequestHead
from appserver.settings import RequestIDSettings

# An id has 32 digits, as a UUID has. The last two count, so that chance, which is dear, serves for many.
_CHANCE = 15
_COUNT = tuple(f"{number:02x}" for number in range(256))

# What is taken over from a proxy goes into logs, headers and other programs: printable ASCII, none that quotes or escapes.
_ACCEPTABLE = re.compile(rb"[!#-&(-\[\]-~]{1,128}")


class RequestIDs:
    """Makes ids, and takes over those of proxies. One for each process: it must not be shared through a fork."""

    __slots__ = ("_accept", "_made", "name", "prefix")

    def __init__(self, settings: RequestIDSettings) -> None:
        """Raises ValueError if `settings.header` is empty: then requests have no id."""
        if not settings.header:
            raise ValueError("request_id.header is empty")
        self.name = settings.header.lower().encode()
        """The field that holds it, in lower case."""
        self._accept = settings.accept
        self._made: list[str] = []
        self.prefix = b"\r\n" + self.name + b": "
        """What stands before the id in the head of a response."""

    def of(self, head: RequestHead, trusted: bool) -> str:
        """The id of a request: the proxy's, if the peer is trusted and has sent one that can be used; else a new one."""
        if trusted and self._accept:
            wanted = self.name
            for name, value in head.headers:
                if name == wanted and _ACCEPTABLE.fullmatch(value):
                    return value.decode()
        if not self._made:
            chance = os.urandom(_CHANCE).hex()
            self._made = [chance + digits for digits in _COUNT]
        return self._made.pop()


def make_request_ids(settings: RequestIDSettings | None) -> RequestIDs | None:
    """What gives requests their ids; None where they are to have none."""
    return RequestIDs(settings) if settings is not None and settings.header else None
