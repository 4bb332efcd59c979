"""The response of a WSGI application: `start_response`, `write`, and the iterable (PEP 3333). All of it in the thread."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Any, Protocol

from appserver.asgi.types import Message
from appserver.asgi.wsgi.body import ClientDisconnect
from appserver.asgi.wsgi.files import FileWrapper, regular_file
from appserver.errors import AppserverError

JOIN_LIMIT = 256 * 1024
"""The parts of a list are joined up to this size, so that they leave in one piece, with a Content-Length."""

ExceptionInfo = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]

_STATUS = re.compile(r"([2-9][0-9]{2})(?: [ \t\x21-\x7e\x80-\xff]*)?")
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")

# "Applications and middleware are forbidden from using HTTP/1.1 'hop-by-hop' features or headers" (PEP 3333, "Other HTTP
# Features"); the list is that of RFC 2616, which it refers to.
HOP_BY_HOP = {
    "connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "te", "trailer", "trailers",
    "transfer-encoding", "upgrade",
}  # fmt: skip

# Names that have been found valid, as they are sent: in lower case, as ASGI has them.
_names: dict[str, bytes] = {}
_MAX_NAMES = 1024


class WSGIError(AppserverError):
    """The application broke its contract; the message says how, and what to do. Raised in the application's thread."""


class Delivery(Protocol):
    """Takes the messages of a response to the client."""

    lost: bool  # nothing will arrive any more

    def put(self, messages: Iterable[Message], size: int) -> None:
        """Send messages with `size` octets of body, and wait if too much is on its way; nothing if all is lost."""

    def put_last(self, messages: Iterable[Message]) -> None:
        """Send them with the end of the call, which is near."""

    def wait_sent(self) -> None:
        """Wait until everything has been sent, or nothing can be."""


class Response:
    """One response: hand `start` to the application, what that returns to `transmit`.

    The head is kept until there is something of the body, as PEP 3333 wants it.
    """

    __slots__ = ("_complete", "_delivery", "_head_sent", "_headers", "_left", "_may_send_files", "_status")

    def __init__(self, delivery: Delivery, *, may_send_files: bool) -> None:
        self._delivery = delivery
        self._may_send_files = may_send_files
        self._status = 0
        self._headers: list[tuple[bytes, bytes]] = []
        self._left: int | None = None  # what Content-Length leaves to send
        self._head_sent = False
        self._complete = False

    def start(
        self, status: str, headers: list[tuple[str, str]], /, exc_info: ExceptionInfo | None = None
    ) -> Callable[[bytes], object]:
        """`start_response`: take the head, or replace it by that of an error page; returns `write`. Raises WSGIError.

        Raises the exception of `exc_info` if it is too late for an error page. PEP 3333 wants all of them by position, but
        names this one, and there are applications that take it by its name.
        """
        try:
            if exc_info is not None and exc_info[1] is not None:
                if self._head_sent:
                    raise exc_info[1].with_traceback(exc_info[2])
            elif self._status:
                raise WSGIError("start_response was called twice without exc_info: a request has one response")
        finally:
            exc_info = None  # it refers to this frame
        code = _read_status(status)
        fields, length = _read_headers(headers)
        self._status, self._headers, self._left = code, fields, length
        return self.write

    def write(self, data: bytes, /) -> None:
        """The callable that `start_response` returns: send a piece of the body at once, and wait while it is not taken."""
        if self._delivery.lost:
            raise ClientDisconnect("the client has left")
        self._send(_octets(data, "write"))

    def hint(self, links: Iterable[str]) -> None:
        """Send an interim response with these values of Link, unless the response has begun (RFC 8297)."""
        values = []
        for link in links:
            if not _VALUE.fullmatch(link):
                raise WSGIError("a link of wsgi.early_hints holds a control character, or one that is not in latin-1")
            values.append(link.strip(" \t").encode("latin-1"))
        if not self._head_sent:
            self._delivery.put(({"type": "http.response.early_hint", "links": values},), 0)

    def transmit(self, result: Any) -> None:
        """Send what the application has returned, a piece at a time. Stops when the client has left."""
        kind = type(result)
        if kind is list or kind is tuple:
            self._transmit_parts(result)
        elif not (kind is FileWrapper and self._transmit_file(result)):
            for data in _iterate(result):
                if type(data) is not bytes:
                    data = _octets(data, "the iterable")
                if data:
                    self._send(data)
                if self._delivery.lost:
                    return
            self._end()

    def _transmit_parts(self, parts: list[Any] | tuple[Any, ...]) -> None:
        """Send what is there as a whole: in one piece unless it is large."""
        for part in parts:
            if type(part) is not bytes:
                parts = [_octets(part, "the iterable") for part in parts]
                break
        size = sum(map(len, parts))
        if size > JOIN_LIMIT or self._head_sent:
            for data in filter(None, parts):
                self._send(data)
                if self._delivery.lost:
                    return
            self._end()
            return
        self._check_started()
        data = parts[0] if len(parts) == 1 else b"".join(parts)
        if data:
            self._count(size)
        self._complete = True
        self._delivery.put_last((self._head(), {"type": "http.response.body", "body": data}))

    def _transmit_file(self, wrapper: FileWrapper) -> bool:
        """Have the server copy the file from where it stands; False if that cannot be done."""
        found = regular_file(wrapper.filelike) if self._may_send_files else None
        if found is None:
            return False
        self._check_started()
        file, offset = found
        message: Message = {"type": "http.response.zerocopysend", "file": file, "offset": offset}
        messages = [message] if self._head_sent else [self._head(), message]
        self._complete = True
        self._delivery.put(messages, 1)
        self._delivery.wait_sent()  # the application closes it then
        return True

    def _send(self, data: bytes) -> None:
        self._check_started()
        more = self._count(len(data))
        if self._complete:
            if data:
                raise WSGIError("the application went on with a response that was complete: it had returned a file")
            return
        self._complete = not more
        body: Message = {"type": "http.response.body", "body": data, "more_body": more}
        self._delivery.put((body,) if self._head_sent else (self._head(), body), len(data))

    def _end(self) -> None:
        """The application has nothing more to say."""
        self._check_started()
        if not self._complete:
            self._complete = True
            body: Message = {"type": "http.response.body", "body": b""}
            self._delivery.put_last((body,) if self._head_sent else (self._head(), body))

    def _head(self) -> Message:
        self._head_sent = True
        return {"type": "http.response.start", "status": self._status, "headers": self._headers}

    def _check_started(self) -> None:
        if not self._status:
            raise WSGIError("the application has not called start_response before the first piece of its response")

    def _count(self, size: int) -> bool:
        """Hold a piece against Content-Length; returns whether more has to come. Raises WSGIError."""
        if self._left is None:
            return True
        self._left -= size
        if self._left < 0:
            raise WSGIError(f"the response is longer than its Content-Length, by {-self._left} octets or more")
        return self._left > 0


def _iterate(result: Any) -> Iterator[Any]:
    try:
        iterator: Iterator[Any] = iter(result)
        return iterator
    except TypeError:
        kind = type(result).__qualname__
        raise WSGIError(f"the application returned a {kind}; a WSGI application returns an iterable of bytes") from None


def _octets(data: object, source: str) -> bytes:
    """A piece of a body. Raises WSGIError."""
    if not isinstance(data, bytes):
        raise WSGIError(f"{source} gave a {type(data).__qualname__}; the body of a response has to be bytes: encode it")
    return bytes(data)


def _read_status(status: object) -> int:
    found = _STATUS.fullmatch(status) if isinstance(status, str) else None
    if found is None:
        raise WSGIError(f'the status is {status!r}; it has to be text such as "200 OK", with a number from 200 to 999')
    return int(found[1])


def _read_headers(headers: Iterable[Any]) -> tuple[list[tuple[bytes, bytes]], int | None]:
    """The headers as ASGI has them, and Content-Length. Raises WSGIError."""
    fields = []
    length = None
    for field in headers:
        try:
            name, value = field
        except (TypeError, ValueError):
            raise WSGIError(f"the headers have to be pairs of text, a name and a value; got {field!r}") from None
        octets = _names.get(name) or _read_name(name)
        if not isinstance(value, str):
            raise WSGIError(
                f"the value of the header {name!r} is a {type(value).__qualname__}; it has to be text (str)"
            )
        if not _VALUE.fullmatch(value):
            raise WSGIError(
                f"the value of the header {name!r} holds a control character, or one that is not in latin-1: remove it,"
                " or encode it"
            )
        if octets == b"content-length":
            length = _read_length(value, length)
        fields.append((octets, value.strip(" \t").encode("latin-1")))
    return fields, length


def _read_name(name: object) -> bytes:
    if not isinstance(name, str) or not _TOKEN.fullmatch(name):
        raise WSGIError(f"the header name {name!r} has to be text (str) that is a token (RFC 9110, 5.1)")
    lower = name.lower()
    if lower in HOP_BY_HOP:
        raise WSGIError(
            f"the header {name} is about the connection, which is the server's: leave it out (PEP 3333 forbids it)"
        )
    octets = lower.encode()
    if len(_names) < _MAX_NAMES and len(name) <= 64:
        _names[name] = octets
    return octets


def _read_length(value: str, before: int | None) -> int:
    digits = value.strip(" \t")
    if before is not None or not (digits.isascii() and digits.isdecimal()) or len(digits) > 18:
        raise WSGIError(f"the header Content-Length ({value!r}) has to be one number of octets, given once")
    return int(digits)
