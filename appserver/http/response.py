"""How an application's response becomes octets (RFC 9112 sections 4, 6 and 7).

`ResponseEncoder` serves one connection, one response after the other: `begin`, `start`, then `body` until `more` is
false. The head is held back until the first body message, because only then is it known whether the response is whole:
head and body leave in one piece, and a response that is complete at once gets a Content-Length instead of chunks.

Nothing an application returns can break the framing. Names and values of fields are checked, Content-Length and
Transfer-Encoding are the server's business, and a body is held against the length that was announced for it. Whatever
is wrong is a `ResponseError`, raised before any of it is on the wire wherever that is possible.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from email.utils import formatdate
from http import HTTPStatus

from appserver.errors import AppserverError, RequestError

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

HAS_DATE = 1
HAS_SERVER = 2
HAS_ID = 4

_STATUS_LINES = {status.value: b"HTTP/1.1 %d %s" % (status, status.phrase.encode()) for status in HTTPStatus}

# What comes before the value of a field that needs no attention. Filled from what applications send, within bounds.
_PREFIXES: dict[bytes, bytes] = {}
_MAX_PREFIXES = 1024
# Names, in lower case, for which some connection looks out: they need attention everywhere.
_NOTICED: set[bytes] = set()

# What is about the message as a whole, and comes too late behind its body.
_NO_TRAILERS = {b"transfer-encoding", b"content-length", b"host", b"connection", b"trailer", b"content-encoding"}

_BODILESS = frozenset({HTTPStatus.NO_CONTENT, HTTPStatus.RESET_CONTENT, HTTPStatus.NOT_MODIFIED})

_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
# Changes every value of a field that holds what none may; to compare the two is the quickest way to find out.
_CONTROLS = bytes(octet for octet in (*range(0x20), 0x7F) if octet != 0x09)
_MARK_CONTROLS = bytes.maketrans(_CONTROLS, b"?" * len(_CONTROLS))

_MAX_LENGTH_DIGITS = 18  # 2^63 has 19: a longer number cannot be the size of anything


class ResponseError(AppserverError):
    """The application broke its contract (ASGI, or HTTP) with what it sent; the message says how, and what to do."""


class DefaultFields:
    """The fields that the server itself adds to every response, encoded once a second instead of once a response.

    `tails` holds the end of a response head: what is left to add, by the flags HAS_DATE and HAS_SERVER of what the
    application has sent itself, and the empty line.
    """

    __slots__ = ("_date", "_fields", "_server", "id_name", "tails")

    def __init__(
        self, server: str, *, date: bool, fields: Iterable[tuple[str, str]] = (), id_name: bytes = b""
    ) -> None:
        """`server`: the value of the Server field, empty for none. `date`: whether to send Date (RFC 9110, 6.6.1).

        `id_name`: the field of `ResponseEncoder.id_field`, in lower case.
        """
        self.id_name = id_name
        _NOTICED.add(id_name)
        for name in [name for name in _PREFIXES if name.lower() == id_name]:
            del _PREFIXES[name]
        self._server = b"\r\nserver: " + server.encode("latin-1") if server else b""
        self._date = date
        self._fields = b"".join(b"\r\n%b: %b" % (name.encode(), value.encode("latin-1")) for name, value in fields)
        self.tails: tuple[bytes, bytes, bytes, bytes] = (b"", b"", b"", b"")
        self.refresh(0.0)

    def refresh(self, now: float) -> None:
        """Encode them anew; `now` is seconds since the epoch."""
        date = b"\r\ndate: " + formatdate(now, usegmt=True).encode() if self._date else b""
        end = self._fields + b"\r\n\r\n"
        self.tails = (self._server + date + end, self._server + end, date + end, end)


class ResponseEncoder:
    """Turns the responses of one HTTP/1.1 connection into octets.

    `keep_alive` may be set to False from outside until the head is on the wire; afterwards it says what was promised.
    `on_wire` says whether the head of the present response has been handed out. `id_field` is the id of the request, as
    a field with the line break in front of it: it is added unless the application sends one of that name itself.
    """

    __slots__ = (
        "_bodiless", "_chunked", "_defaults", "_flags", "_head_request", "_held", "_http_1_0", "_left", "id_field",
        "keep_alive", "on_wire", "status",
    )  # fmt: skip

    def __init__(self, defaults: DefaultFields) -> None:
        self._defaults = defaults
        self.id_field = b""
        self.begin("GET", "1.1", True)

    def begin(self, method: str, http_version: str, keep_alive: bool) -> None:
        """Prepare for the response to a request with that method and version; drops what was held of another one."""
        self.keep_alive = keep_alive
        self.on_wire = False
        self.status = 0
        self._head_request = method == "HEAD"
        self._http_1_0 = http_version == "1.0"

    @property
    def ends_with_connection(self) -> bool:
        """Whether only the end of the connection ends this response, so that breaking off must not look like it."""
        return self.on_wire and not self._bodiless and not self._chunked and self._left is None

    def start(self, status: int, headers: Iterable[Sequence[bytes]]) -> None:
        """Take the head and hold it. Raises ResponseError."""
        if type(status) is not int:
            status = _plain_status(status)
        line = _STATUS_LINES.get(status)
        if line is None or status < 200:
            line = _status_line(status)
        parts = [line]
        length: int | None = None
        flags = 0
        try:
            for name, value in headers:
                prefix = _PREFIXES.get(name)
                if prefix is not None:
                    if value.translate(_MARK_CONTROLS) != value:  # as check_value
                        raise _control_octet(name)
                    parts.append(prefix)
                    parts.append(value)
                elif name == b"content-length" or name.lower() == b"content-length":
                    if length is not None or not value.isdigit() or len(value) > _MAX_LENGTH_DIGITS:
                        raise _bad_length(value)
                    length = int(value)
                    if status != 204 and status != 205:
                        parts.append(b"\r\ncontent-length: ")
                        parts.append(value)
                else:
                    flags |= self._unusual_field(name, value, parts)
            self._held = b"".join(parts)
        except (TypeError, ValueError, AttributeError) as error:
            raise ResponseError(
                f"the headers of http.response.start have to be pairs of bytes, a name and a value ({error})"
            ) from error
        self.status = status
        self._left = length
        self._flags = flags
        self._chunked = False
        self._bodiless = self._head_request or status in _BODILESS

    def _unusual_field(self, name: object, value: object, parts: list[bytes]) -> int:
        """Take a field whose name is new, spelled in another way, or has a meaning to the server; returns its flag."""
        if not isinstance(name, bytes) or not isinstance(value, bytes):
            raise TypeError(f"got {name!r}: {value!r}")
        check_name(name)
        check_value(name, value)
        lower = name.lower()
        if lower == b"transfer-encoding":
            _refuse_codings(value)
            return 0
        if lower == b"connection":
            self._persistence(value, parts)
            return 0
        prefix = b"\r\n" + name + b": "
        parts += (prefix, value)
        if lower == b"date":
            return HAS_DATE
        if lower == b"server":
            return HAS_SERVER
        if lower in _NOTICED:
            return HAS_ID if lower == self._defaults.id_name else 0
        if len(_PREFIXES) < _MAX_PREFIXES and len(name) <= 64:
            _PREFIXES[name] = prefix
        return 0

    def _persistence(self, value: bytes, parts: list[bytes]) -> None:
        """Take the application's Connection field: "close" is its right, keep-alive is ours, the rest is passed on."""
        options = [option.strip().lower() for option in value.split(b",")]
        if b"close" in options:
            self.keep_alive = False
        others = [option for option in options if option not in (b"close", b"keep-alive", b"")]
        if others:
            parts += (b"\r\nconnection: ", b", ".join(others))

    def body(self, data: bytes, more: bool) -> list[bytes]:
        """Take a piece of the body, the last one unless `more`; returns what to write. Raises ResponseError."""
        if not self.on_wire:
            return self.head_and_body(data, more)
        if self._bodiless:
            return []
        if self._chunked:
            if not data:
                return [] if more else [b"0\r\n\r\n"]
            return [b"%x\r\n" % len(data), data, b"\r\n" if more else b"\r\n0\r\n\r\n"]
        if self._left is not None:
            self._left = _still_owed(self._left, len(data), more)
        return [data]

    def file(self, size: int, more: bool) -> tuple[list[bytes], list[bytes], int]:
        """Take a piece of the body that the caller sends from a file of which there are `size` octets.

        Returns what to write before and behind them, and how many there are to send: none if the response has no body,
        and of the last piece not more than Content-Length leaves. Raises ResponseError.
        """
        before: list[bytes] = []
        if not more and self._left is not None and not self._bodiless:
            size = min(size, self._left)
        if not self.on_wire:
            if self._left is None and not more and self.status not in _BODILESS:
                self._held += b"\r\ncontent-length: %d" % size
                self._left = size
            if self._left is not None and not self._bodiless:
                _still_owed(self._left, size, more)
            before = self.head_and_body(b"", True)
        if self._bodiless:
            return before, [], 0
        if self._chunked:
            if size:
                before.append(b"%x\r\n" % size)
            end = b"" if more else b"0\r\n\r\n"
            return before, [b"\r\n" + end if size else end], size
        if self._left is not None:
            self._left = _still_owed(self._left, size, more)
        return before, [], size

    def trailers(self, headers: Iterable[Sequence[bytes]], *, accepted: bool) -> list[bytes]:
        """Take the trailer fields, which end a chunked body (RFC 9112, 7.1.2), and drop them otherwise.

        They are dropped as well unless they are `accepted`. Returns what to write; raises ResponseError.
        """
        parts = [b"0"]
        for name, value in headers:
            if type(name) is not bytes or type(value) is not bytes:
                raise ResponseError(f"a trailer field has to be a pair of bytes, got {name!r}: {value!r}")
            check_name(name)
            check_value(name, value)
            if name.lower() in _NO_TRAILERS:
                raise ResponseError(f"{name!r} cannot be a trailer field (RFC 9110, 6.5.1)")
            if accepted:
                parts += (b"\r\n", name, b": ", value)
        if self._left is not None and not self._bodiless:
            self._left = _still_owed(self._left, 0, False)
        return [*parts, b"\r\n\r\n"] if self._chunked else []

    def head_and_body(self, data: bytes, more: bool) -> list[bytes]:
        """Take the first piece of the body, and let the head go with it. As `body`, which finds out by itself."""
        parts = [self._held]
        size = len(data)
        left = self._left
        if self._bodiless:
            # A body is what GET would have got; the fields say what it would have been (RFC 9110, 9.3.2 and 15.4.5).
            if self.status == 205:
                parts.append(b"\r\ncontent-length: 0")  # nor has 205 (Reset Content) a body to speak of (15.3.6)
            elif left is None and size and not more and self.status != 204:
                parts.append(b"\r\ncontent-length: %d" % size)
            data = b""
        elif left is not None:
            if size != left or more:
                self._left = _still_owed(left, size, more)
        elif not more:
            self._left = 0
            parts.append(b"\r\ncontent-length: %d" % size)
        elif self._http_1_0:
            self.keep_alive = False
        else:
            self._chunked = True
            parts.append(b"\r\ntransfer-encoding: chunked")
        if not self.keep_alive:
            parts.append(b"\r\nconnection: close")
        elif self._http_1_0:
            parts.append(b"\r\nconnection: keep-alive")
        if self._flags < HAS_ID:
            parts.append(self.id_field)
        parts.append(self._defaults.tails[self._flags & (HAS_DATE | HAS_SERVER)])
        self.on_wire = True
        if self._chunked:
            parts += self.body(data, more)
        else:
            parts.append(data)
        return parts


def early_hints(links: Iterable[bytes]) -> bytes:
    """Encode an interim response that names what the final one will refer to (RFC 8297). Raises ResponseError."""
    parts = [b"HTTP/1.1 103 Early Hints"]
    for link in links:
        if not isinstance(link, bytes):
            raise ResponseError(f"the links of http.response.early_hint have to be bytes, got {link!r}")
        check_value(b"link", link)
        parts += (b"\r\nlink: ", link)
    return b"".join((*parts, b"\r\n\r\n"))


def error_response(encoder: ResponseEncoder, error: RequestError) -> list[bytes]:
    """Encode the answer to `error`, for a response that has been begun; returns what to write."""
    phrase = HTTPStatus(error.status).phrase
    fields = [(b"content-type", b"text/plain; charset=utf-8")]
    fields += [(name.encode(), value.encode()) for name, value in error.fields]
    if error.status == HTTPStatus.SERVICE_UNAVAILABLE:
        fields.append((b"retry-after", b"1"))
    encoder.start(error.status, fields)
    return encoder.body(f"{error.status} {phrase}: {error}\n".encode(), False)


def _plain_status(status: object) -> int:
    """A status that is an int in another shape, as HTTPStatus is. A float is none, although it may equal one."""
    if not isinstance(status, int) or isinstance(status, bool):
        raise _bad_status(status)
    return int(status)


def _status_line(status: int) -> bytes:
    """The status line of a status that has no name. Raises ResponseError for what no final response can have."""
    if not 200 <= status <= 999:
        raise _bad_status(status)
    return b"HTTP/1.1 %d " % status


def _bad_status(status: object) -> ResponseError:
    return ResponseError(
        f"the status of http.response.start has to be an int from 200 to 999, got {status!r}"
        " (1xx responses are not final; for 103 use the extension http.response.early_hint)"
    )


def check_name(name: bytes) -> None:
    if _TOKEN.fullmatch(name) is None:
        raise ResponseError(f"the response header name {name!r} is not a token (RFC 9110, 5.1)")


def check_value(name: bytes, value: bytes) -> None:
    if value.translate(_MARK_CONTROLS) != value:
        raise _control_octet(name)


def _bad_length(value: bytes) -> ResponseError:
    return ResponseError(f"the response header content-length ({value!r}) has to be one number of octets, sent once")


def _refuse_codings(value: bytes) -> None:
    """Drop `chunked`, which the server applies itself; refuse what the server would have to apply before it."""
    if value.strip().lower() != b"chunked":
        raise ResponseError(
            f"the response header transfer-encoding is {value!r}: the server frames the body itself, leave it out"
        )


def _still_owed(left: int, size: int, more: bool) -> int:
    """What is left of the announced Content-Length behind a piece of `size` octets. Raises ResponseError."""
    if size > left:
        raise ResponseError(f"the response body is longer than its content-length, by {size - left} octets or more")
    if size < left and not more:
        raise ResponseError(f"the response body is shorter than its content-length, by {left - size} octets")
    return left - size


def _control_octet(name: bytes) -> ResponseError:
    """CR, LF and NUL could start another field, or another response; the others are invalid, too (RFC 9110, 5.5)."""
    return ResponseError(f"the value of the response header {name!r} holds a control character: remove or encode it")
