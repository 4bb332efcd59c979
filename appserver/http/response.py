"""The rules of a response, whatever carries it (RFC 9110 sections 6, 8 and 15), and what the server adds to it.

Whatever an application does wrong is a `ResponseError`, raised before any of it is on the wire wherever that is possible.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from email.utils import formatdate
from http import HTTPStatus
from typing import Any, Final

from appserver.errors import AppserverError, RequestError
from appserver.http.fields import MAX_LENGTH_DIGITS, Fields

# Flags for fields that the server would add and the application has sent itself.
HAS_DATE: Final = 1
HAS_SERVER: Final = 2
HAS_ID: Final = 4

BODILESS = frozenset({HTTPStatus.NO_CONTENT, HTTPStatus.RESET_CONTENT, HTTPStatus.NOT_MODIFIED})
"""Statuses of responses without a body (RFC 9110 sections 15.3.5, 15.3.6 and 15.4.5)."""

_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
# Changes every value of a field that holds what none may; to compare the two is the quickest way to find out.
_CONTROLS = bytes(octet for octet in (*range(0x20), 0x7F) if octet != 0x09)
MARK_CONTROLS = bytes.maketrans(_CONTROLS, b"?" * len(_CONTROLS))

# Fields about the message as a whole, which come too late behind its body.
_NO_TRAILERS = {b"transfer-encoding", b"content-length", b"host", b"connection", b"trailer", b"content-encoding"}


# Decided by the handshake of a WebSocket session, or without a meaning in a response that has no body.
_NOT_IN_HANDSHAKES = {
    b"connection", b"content-length", b"sec-websocket-accept", b"sec-websocket-extensions", b"sec-websocket-protocol",
    b"sec-websocket-version", b"transfer-encoding", b"upgrade",
}  # fmt: skip


class ResponseError(AppserverError):
    """The application broke its contract (ASGI, or HTTP) with what it sent; the message says how, and what to do."""


class DefaultFields:
    """The fields that the server itself adds to every response.

    `added` has those that `missing` returns for 0, 1, 2 and 3, with names in lower case. `known_names` is for HTTP/2, which
    remembers there which names of applications' fields need no attention: all but those that are among the defaults.
    """

    __slots__ = ("added", "date", "fields", "id_name", "known_names", "server")

    def __init__(
        self, server: str, *, date: bool, fields: Iterable[tuple[str, str]] = (), id_name: bytes = b""
    ) -> None:
        """`server`: the value of the Server field, empty for none. `date`: whether to send Date (RFC 9110, 6.6.1).

        `id_name`: the name of the field for the id of a request, in lower case; empty if there is none.
        """
        self.id_name = id_name
        self.known_names: dict[bytes, bytes] = {}
        self.server = server.encode("latin-1")
        self.fields: Fields = [(name.encode(), value.encode("latin-1")) for name, value in fields]
        self.date: bytes | None = b"" if date else None
        self.refresh(0.0)

    def refresh(self, now: float) -> None:
        """Encode the date anew, which is due once a second; `now` is seconds since the epoch."""
        if self.date is not None:
            self.date = formatdate(now, usegmt=True).encode()
        self.added = [[(name.lower(), value) for name, value in self.missing(flags)] for flags in range(4)]

    def missing(self, flags: int) -> Fields:
        """The fields left to add, by the flags HAS_DATE and HAS_SERVER of what the application has sent itself."""
        own: Fields = []
        if self.server and not flags & HAS_SERVER:
            own.append((b"server", self.server))
        if self.date is not None and not flags & HAS_DATE:
            own.append((b"date", self.date))
        return own + self.fields


def plain_status(status: object) -> int:
    """The status of a final response, as an int. Raises ResponseError.

    It may be an int in another shape, as HTTPStatus is. A float is none, although it may equal one.
    """
    if not isinstance(status, int) or isinstance(status, bool) or not 200 <= status <= 999:
        raise ResponseError(
            f"the status of http.response.start has to be an int from 200 to 999, got {status!r}"
            " (1xx responses are not final; for 103 use the extension http.response.early_hint)"
        )
    return int(status)


def check_field(name: Any, value: Any) -> None:
    """Check a field that an application sends. Raises TypeError if it is no pair of bytes, and ResponseError."""
    if not isinstance(name, bytes) or not isinstance(value, bytes):
        raise TypeError(f"got {name!r}: {value!r}")
    check_name(name)
    check_value(name, value)


def check_name(name: bytes) -> None:
    if _TOKEN.fullmatch(name) is None:
        raise ResponseError(f"the response header name {name!r} is not a token (RFC 9110, 5.1)")


def check_value(name: bytes, value: bytes) -> None:
    if value.translate(MARK_CONTROLS) != value:
        raise control_octet(name)


def control_octet(name: bytes) -> ResponseError:
    """CR, LF and NUL could start another field, or another response; the others are invalid, too (RFC 9110, 5.5)."""
    return ResponseError(f"the value of the response header {name!r} holds a control character: remove or encode it")


def not_pairs(error: Exception) -> ResponseError:
    """The message for an `error` that was raised while the headers of a response were taken apart."""
    return ResponseError(f"the headers of http.response.start have to be pairs of bytes, a name and a value ({error})")


def read_length(value: bytes, before: int | None) -> int:
    """Read the Content-Length of a response, `before` being one that was there already. Raises ResponseError."""
    if before is not None or not value.isdigit() or len(value) > MAX_LENGTH_DIGITS:
        raise ResponseError(f"the response header content-length ({value!r}) has to be one number of octets, sent once")
    return int(value)


def refuse_codings(value: bytes) -> None:
    """Drop `chunked`, which the server applies itself; refuse what the server would have to apply before it."""
    if value.strip().lower() != b"chunked":
        raise ResponseError(
            f"the response header transfer-encoding is {value!r}: the server frames the body itself, leave it out"
        )


def check_handshake_field(name: object, value: object) -> None:
    """Check a field of the response with which a WebSocket session begins (RFC 6455, 4.2.2); raises ResponseError."""
    if type(name) is not bytes or type(value) is not bytes:
        raise ResponseError(f"the headers of websocket.accept have to be pairs of bytes, got {name!r}: {value!r}")
    check_name(name)
    check_value(name, value)
    lower = name.lower()
    if lower in _NOT_IN_HANDSHAKES:
        advice = "use its key subprotocol" if lower == b"sec-websocket-protocol" else "the server sends what is needed"
        raise ResponseError(f"{name!r} cannot be among the headers of websocket.accept: {advice}")


def check_trailer(name: object, value: object) -> None:
    """Check a trailer field; raises ResponseError."""
    if type(name) is not bytes or type(value) is not bytes:
        raise ResponseError(f"a trailer field has to be a pair of bytes, got {name!r}: {value!r}")
    check_name(name)
    check_value(name, value)
    if name.lower() in _NO_TRAILERS:
        raise ResponseError(f"{name!r} cannot be a trailer field (RFC 9110, 6.5.1)")


def check_links(links: Iterable[object]) -> list[bytes]:
    """Check what http.response.early_hint names; returns the values of the Link fields. Raises ResponseError."""
    checked = []
    for link in links:
        if not isinstance(link, bytes):
            raise ResponseError(f"the links of http.response.early_hint have to be bytes, got {link!r}")
        check_value(b"link", link)
        checked.append(link)
    return checked


def still_owed(left: int, size: int, more: bool) -> int:
    """The rest of the announced Content-Length behind a piece of `size` octets. Raises ResponseError."""
    if size > left:
        raise ResponseError(f"the response body is longer than its content-length, by {size - left} octets or more")
    if size < left and not more:
        raise ResponseError(f"the response body is shorter than its content-length, by {left - size} octets")
    return left - size


def describe_error(error: RequestError) -> tuple[Sequence[tuple[bytes, bytes]], bytes]:
    """The fields and the body of the answer to `error`."""
    fields = [(b"content-type", b"text/plain; charset=utf-8")]
    fields += [(name.encode(), value.encode()) for name, value in error.fields]
    if error.status == HTTPStatus.SERVICE_UNAVAILABLE:
        fields.append((b"retry-after", b"1"))
    return fields, f"{error.status} {HTTPStatus(error.status).phrase}: {error}\n".encode()
