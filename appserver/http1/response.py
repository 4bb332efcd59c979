"""How an application's response becomes octets (RFC 9112 sections 4, 6 and 7).

`ResponseEncoder` serves one connection, one response after the other: `begin`, `start`, then `body` until `more` is
false. The head is held back until the first body message, because only then is it known whether the response is whole:
head and body leave in one piece, and a response that is complete at once gets a Content-Length instead of chunks.

Nothing an application returns can break the framing. Names and values of fields are checked (`http.response` has the
rules), Content-Length and Transfer-Encoding are the server's business, and a body is held against the length that was
announced for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from http import HTTPStatus
from typing import Any

from appserver.errors import RequestError
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

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

_STATUS_LINES = {status.value: b"HTTP/1.1 %d %s" % (status, status.phrase.encode()) for status in HTTPStatus}

# The octets before the value of a field that needs no attention. Filled from what applications send, within bounds.
_PREFIXES: dict[bytes, bytes] = {}
_MAX_PREFIXES = 1024
# Names, in lower case, for which some connection looks out: they need attention everywhere.
_NOTICED: set[bytes] = set()


class EncodedDefaults(DefaultFields):
    """The default fields, encoded once a second instead of once a response.

    `tails` holds the end of a response head: what is left to add, by the flags HAS_DATE and HAS_SERVER of what the
    application has sent itself, and the empty line.
    """

    __slots__ = ("tails",)

    def __init__(
        self, server: str, *, date: bool, fields: Iterable[tuple[str, str]] = (), id_name: bytes = b""
    ) -> None:
        _NOTICED.add(id_name)
        for name in [name for name in _PREFIXES if name.lower() == id_name]:
            del _PREFIXES[name]
        super().__init__(server, date=date, fields=fields, id_name=id_name)

    def refresh(self, now: float) -> None:
        super().refresh(now)
        self.tails = tuple(
            b"".join(b"\r\n%b: %b" % field for field in self.missing(flags)) + b"\r\n\r\n" for flags in range(4)
        )


class ResponseEncoder:
    """Turns the responses of one HTTP/1.1 connection into octets.

    `keep_alive` may be set to False from outside until the head is on the wire; afterwards it says what was promised.
    `on_wire` says whether the head of the present response has been handed out. `id_field` is the id of the request, as
    a field with the line break in front of it: it is added unless the application sends one of that name itself. Then
    `flags`, which say what the application has sent, have HAS_ID, and `own_id` is its value.
    """

    __slots__ = (
        "_bodiless", "_chunked", "_defaults", "_head_request", "_held", "_http_1_0", "_left", "flags", "id_field",
        "keep_alive", "on_wire", "own_id", "status",
    )  # fmt: skip

    def __init__(self, defaults: EncodedDefaults) -> None:
        self._defaults = defaults
        self.id_field = self.own_id = b""
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

    def start(self, status: Any, headers: Iterable[Sequence[Any]]) -> bool:
        """Take the head and hold it; returns whether it is that of an event stream. Raises ResponseError."""
        if type(status) is not int or not 200 <= status <= 999:
            status = plain_status(status)
        line = _STATUS_LINES.get(status) or b"HTTP/1.1 %d " % status
        parts = [line]
        length: int | None = None
        flags = 0
        try:
            for name, value in headers:
                prefix = _PREFIXES.get(name)
                if prefix is not None:
                    if value.translate(MARK_CONTROLS) != value:  # as check_value
                        raise control_octet(name)
                    parts.append(prefix)
                    parts.append(value)
                elif name == b"content-length" or name.lower() == b"content-length":
                    length = read_length(value, length)
                    if status != 204 and status != 205:
                        parts.append(b"\r\ncontent-length: ")
                        parts.append(value)
                else:
                    flags |= self._unusual_field(name, value, parts)
            self._held = held = b"".join(parts)
        except (TypeError, ValueError, AttributeError) as error:
            raise not_pairs(error) from error
        self.status = status
        self._left = length
        self.flags = flags
        self._chunked = False
        self._bodiless = self._head_request or status in BODILESS
        # Not `in`: that tries its operand as the number of an octet first, and catches the error.
        return held.find(b": text/event-stream") >= 0

    def _unusual_field(self, name: bytes, value: bytes, parts: list[bytes]) -> int:
        """Take a field whose name is new, spelled in another way, or has a meaning to the server; returns its flag."""
        check_field(name, value)
        lower = name.lower()
        if lower == b"transfer-encoding":
            refuse_codings(value)
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
            if lower == self._defaults.id_name:
                self.own_id = value
                return HAS_ID
            return 0
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
            self._left = still_owed(self._left, len(data), more)
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
            if self._left is None and not more and self.status not in BODILESS:
                self._held += b"\r\ncontent-length: %d" % size
                self._left = size
            if self._left is not None and not self._bodiless:
                still_owed(self._left, size, more)
            before = self.head_and_body(b"", True)
        if self._bodiless:
            return before, [], 0
        if self._chunked:
            if size:
                before.append(b"%x\r\n" % size)
            end = b"" if more else b"0\r\n\r\n"
            return before, [b"\r\n" + end if size else end], size
        if self._left is not None:
            self._left = still_owed(self._left, size, more)
        return before, [], size

    def trailers(self, headers: Iterable[Sequence[Any]], *, accepted: bool) -> list[bytes]:
        """Take the trailer fields, which end a chunked body (RFC 9112, 7.1.2), and drop them otherwise.

        They are dropped as well unless they are `accepted`. Returns what to write; raises ResponseError.
        """
        parts = [b"0"]
        for name, value in headers:
            check_trailer(name, value)
            if accepted:
                parts += (b"\r\n", name, b": ", value)
        if self._left is not None and not self._bodiless:
            self._left = still_owed(self._left, 0, False)
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
                self._left = still_owed(left, size, more)
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
        if self.flags < HAS_ID:
            parts.append(self.id_field)
        parts.append(self._defaults.tails[self.flags & (HAS_DATE | HAS_SERVER)])
        self.on_wire = True
        if self._chunked:
            parts += self.body(data, more)
        else:
            parts.append(data)
        return parts


def early_hints(links: Iterable[Any]) -> bytes:
    """Encode an interim response that names what the final one will refer to (RFC 8297). Raises ResponseError."""
    fields = b"".join(b"\r\nlink: " + link for link in check_links(links))
    return b"HTTP/1.1 103 Early Hints" + fields + b"\r\n\r\n"


def error_response(encoder: ResponseEncoder, error: RequestError) -> list[bytes]:
    """Encode the answer to `error`, for a response that has been begun; returns what to write."""
    fields, body = describe_error(error)
    encoder.start(error.status, fields)
    return encoder.body(body, False)
