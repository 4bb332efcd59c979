"""The id by which a request is found again: in the response, in the scope, in every record that is about it.

It also stands in the request's own header, where a middleware that deals with ids (asgi-correlation-id, django-guid) looks for one
before it makes another: so there is one id, and not two.
"""

from __future__ import annotations

import os
import re

from appserver.http.fields import set_apart
from appserver.http.request import Request
from appserver.settings import RequestIDSettings

# An id is a UUID of version 4 (RFC 9562 section 5.4) without hyphens, as middlewares check that. Its last two digits count: `os.urandom`
# is expensive, so one call makes 256 ids.
_CHANCE = 15
_COUNT = tuple(f"{number:02x}" for number in range(256))

# An id that is taken over from a proxy goes into logs, headers and other programs: printable ASCII, none that quotes or escapes.
ACCEPTABLE = re.compile(rb"[!#-&(-\[\]-~]{1,128}")


class RequestIDs:
    """Makes ids, and takes over those of proxies. One for each process: it must not be shared through a fork."""

    __slots__ = ("_accept", "_is_apart", "_made", "name", "prefix")

    def __init__(self, settings: RequestIDSettings) -> None:
        """Raises ValueError if `settings.header` is empty: then requests have no id."""
        if not settings.header:
            raise ValueError("request_id.header is empty")
        self.name = settings.header.lower().encode()
        """The field that holds it, in lower case."""
        self._is_apart = set_apart(self.name)
        self._accept = settings.accept
        self._made: list[str] = []
        self.prefix = b"\r\n" + self.name + b": "
        """The field name and the colon, as in the head of a response."""

    def of(self, request: Request, trusted: bool) -> str:
        """The id of a request: the proxy's, if the peer is trusted and has sent one that can be used; else a new one.

        A new one is put into the header of the request, in place of what the client may have sent there.
        """
        wanted = self.name
        for name, _ in request.forwarded if self._is_apart else request.headers:
            if name == wanted:
                sent = self._take(request, trusted)
                if sent is not None:
                    return sent
                break
        if not self._made:
            self._made = _make_ids()
        made = self._made.pop()
        request.headers.append((wanted, made.encode()))
        return made

    def _take(self, request: Request, trusted: bool) -> str | None:
        """Return the id that the request came with, and leave it in its header; or remove it, and return None."""
        wanted = self.name
        sent = [value for name, value in request.headers if name == wanted]
        if self._is_apart:
            request.forwarded = [field for field in request.forwarded if field[0] != wanted]
        if trusted and self._accept:
            for value in sent:
                if ACCEPTABLE.fullmatch(value):
                    return value.decode()
        request.headers = [field for field in request.headers if field[0] != wanted]
        return None


def _make_ids() -> list[str]:
    """256 ids that share all digits but the last two."""
    chance = os.urandom(_CHANCE).hex()
    variant = "89ab"[int(chance[16], 16) & 3]
    shared = f"{chance[:12]}4{chance[13:16]}{variant}{chance[17:]}"
    return [shared + digits for digits in _COUNT]


def make_request_ids(settings: RequestIDSettings | None) -> RequestIDs | None:
    """The source of request ids; None where requests are to have none."""
    return RequestIDs(settings) if settings is not None and settings.header else None
