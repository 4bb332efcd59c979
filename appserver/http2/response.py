"""The response of an application on a stream: the fields of its head, and how much of a body follows (RFC 9113 section 8).

The head is held back until the first piece of the body, as in HTTP/1.1: a response that is complete at once gets a
Content-Length. The rules for names, values and lengths are those of `http.response`; the framing is the connection's.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from appserver.errors import RequestError
from appserver.http.fields import Fields
from appserver.http.response import (
    BODILESS,
    HAS_DATE,
    HAS_ID,
    HAS_SERVER,
    MARK_CONTROLS,
    DefaultFields,
    check_field,
    check_links,
    check_trailer,
    control_octet,
    describe_error,
    not_pairs,
    plain_status,
    read_length,
    refuse_codings,
    still_owed,
)

CONTINUE: Fields = [(b":status", b"100")]

# So many names are remembered as applications write them.
_MAX_NAMES = 1024

_CONTENT_TYPE = b"content-type"
"""What `known_names` has for this field is this object: identity is the comparison that each field of each response can bear."""

_STATUSES = {status: b"%d" % status for status in range(200, 600)}

_OF_CONNECTION = frozenset((b"connection", b"keep-alive", b"proxy-connection", b"upgrade"))
"""Fields that would make the response malformed (section 8.2.2): dropped, as a proxy would drop them."""

_FLAGS = {b"date": HAS_DATE, b"server": HAS_SERVER}
_IS_EVENT_STREAM = 8
"""A flag behind those of `http.response`."""
_ADDED = HAS_DATE | HAS_SERVER


class Response:
    """The response on one stream. Call `start`, then `head` once, then `piece` for everything behind it.

    `id_value` is the id of the request, empty if it has none: it is added unless the application sends one itself.
    """

    __slots__ = (
        "_defaults",
        "_fields",
        "_flags",
        "_head_request",
        "_left",
        "bodiless",
        "id_value",
        "on_wire",
        "status",
    )

    def __init__(self, defaults: DefaultFields, method: str) -> None:
        self._defaults = defaults
        self._head_request = method == "HEAD"
        self.id_value = b""
        self.on_wire = False
        self.bodiless = False
        self.status = 0

    def start(self, status: Any, headers: Iterable[Sequence[Any]]) -> bool:
        """Take the head and hold it; returns whether it is that of an event stream. Raises ResponseError."""
        if type(status) is not int or not 200 <= status <= 999:
            status = plain_status(status)
        fields: Fields = [(b":status", _STATUSES.get(status) or b"%d" % status)]
        length: int | None = None
        flags = 0
        known_names = self._defaults.known_names
        try:
            for name, value in headers:
                if not isinstance(value, bytes):
                    # Text would get through all that follows, and fail in the middle of a block that has changed the table by then.
                    raise TypeError(f"got {name!r}: {value!r}")
                known = known_names.get(name)
                if known is not None:
                    if value.translate(MARK_CONTROLS) != value:  # as check_value
                        raise control_octet(name)
                    kept = value.strip()  # white space at an end is malformed (section 8.2.1)
                    fields.append((known, kept))
                    if known is _CONTENT_TYPE and kept.startswith(b"text/event-stream"):
                        flags |= _IS_EVENT_STREAM
                elif name == b"content-length" or name.lower() == b"content-length":
                    length = read_length(value, length)
                    if status != 204 and status != 205:
                        fields.append((b"content-length", value))
                else:
                    flags |= self._take_unusual(name, value, fields)
        except (TypeError, ValueError, AttributeError) as error:
            raise not_pairs(error) from error
        self.status = status
        self._fields = fields
        self._left = length
        self._flags = flags
        self.bodiless = self._head_request or status in BODILESS
        return flags >= _IS_EVENT_STREAM

    def _take_unusual(self, name: bytes, value: bytes, fields: Fields) -> int:
        """Take a field whose name is new, or has a meaning to the server; returns its flag."""
        check_field(name, value)
        lower = name.lower()
        if lower in _OF_CONNECTION:
            return 0
        if lower == b"transfer-encoding":
            refuse_codings(value)
            return 0
        fields.append((lower, value.strip(b" \t")))
        if lower == self._defaults.id_name:
            return HAS_ID
        flag = _FLAGS.get(lower, 0)
        if flag:
            return flag
        if lower == _CONTENT_TYPE:
            lower = _CONTENT_TYPE
            if fields[-1][1].startswith(b"text/event-stream"):
                flag = _IS_EVENT_STREAM
        known_names = self._defaults.known_names
        if len(known_names) < _MAX_NAMES and len(name) <= 64 and value == fields[-1][1]:
            known_names[name] = lower
        return flag

    def head(self, size: int, more: bool) -> Fields:
        """The head, with what the server adds to it, for a first piece of the body of `size` octets. Raises ResponseError."""
        fields, left = self._fields, self._left
        if self.bodiless:
            # A body is what GET would have got; the fields say what it would have been (RFC 9110, 9.3.2 and 15.4.5).
            if self.status == 205:
                fields.append((b"content-length", b"0"))  # nor has 205 (Reset Content) a body to speak of (15.3.6)
            elif left is None and size and not more and self.status != 204:
                fields.append((b"content-length", b"%d" % size))
        elif left is not None:
            if size != left or more:
                self._left = still_owed(left, size, more)
            else:
                self._left = 0
        elif not more:
            self._left = 0
            fields.append((b"content-length", b"%d" % size))
        defaults, flags = self._defaults, self._flags
        if self.id_value and not flags & HAS_ID:
            fields.append((defaults.id_name, self.id_value))
        fields += defaults.added[flags & _ADDED]
        self.on_wire = True
        return fields

    def piece(self, size: int, more: bool) -> None:
        """Take a piece of the body behind the head. Raises ResponseError."""
        if self._left is not None and not self.bodiless:
            self._left = still_owed(self._left, size, more)

    def file(self, size: int, more: bool) -> int:
        """How many octets of a file are to be sent, of which there are `size`; to be asked before `head` and `piece`.

        None if the response has no body, and of the last piece not more than Content-Length leaves.
        """
        if not more and self._left is not None:
            size = min(size, self._left)
        if not self.on_wire and self._left is None and not more and self.status not in BODILESS:
            self._fields.append((b"content-length", b"%d" % size))
            self._left = size
        if self._left is not None and not self.bodiless:
            still_owed(self._left, size, more)
        return 0 if self.bodiless else size

    def trailers(self, headers: Iterable[Sequence[Any]], *, accepted: bool) -> Fields:
        """Take the trailer fields, of which none is left unless they are `accepted`. Raises ResponseError."""
        fields: Fields = []
        for name, value in headers:
            check_trailer(name, value)
            if accepted:
                fields.append((name.lower(), value.strip()))
        self.piece(0, False)
        return fields


def early_hints(links: Iterable[Any]) -> Fields:
    """The fields of an interim response that names what the final one will refer to (RFC 8297). Raises ResponseError."""
    return [(b":status", b"103"), *((b"link", link.strip()) for link in check_links(links))]


def error_response(defaults: DefaultFields, error: RequestError, method: str, id_value: bytes) -> tuple[Fields, bytes]:
    """Head and body of the answer to `error`; the body is empty for HEAD."""
    response = Response(defaults, method)
    response.id_value = id_value
    fields, body = describe_error(error)
    response.start(error.status, fields)
    head = response.head(len(body), False)
    return head, b"" if response.bodiless else body
