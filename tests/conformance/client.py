"""A client that sends any octets, in any pieces, and reads what comes back; and the requests that it sends."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

from tests.conformance.wire import Response, parse
from tests.support.address import Address

CHUNKED = b"Transfer-Encoding: chunked"
# How long a connection that has to be closed may stay open, less than any limit for clients that say nothing; and how long
# an answer may take.
CLOSE_WITHIN = 8.0
ANSWER_WITHIN = 20.0
# How long to look for something that must not come.
QUIET = 0.05


def request(line: bytes, *fields: bytes, body: bytes = b"", host: bytes | None = b"x") -> bytes:
    """A request for HTTP/1.1; `line` is method and target."""
    lines = [line + b" HTTP/1.1", *([b"Host: " + host] if host is not None else []), *fields]
    return b"\r\n".join([*lines, b"", body])


class Client:
    """One connection. `received` is all that came, `closed` whether the server has closed (or reset) it."""

    def __init__(self, address: Address, *, receive_buffer: int | None = None) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        if receive_buffer is not None:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self._socket.settimeout(30)
        self._socket.connect((address.host, address.port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.received = b""
        self.closed = False
        self.reset = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._socket.close()

    def send(self, *pieces: bytes | float) -> None:
        """Send the pieces, each in a segment of its own; numbers are pauses in seconds.

        A server that has refused already may have closed: what it did is in what it sent, so that is no error here.
        """
        for piece in pieces:
            if isinstance(piece, float):
                time.sleep(piece)
                continue
            self._socket.settimeout(30)
            try:
                self._socket.sendall(piece)
            except OSError:
                return

    def push(self, data: bytes, seconds: float) -> int:
        """Send as much as the server takes within some seconds; return how many octets that is."""
        self._socket.setblocking(False)
        sent, end = 0, time.monotonic() + seconds
        while sent < len(data) and time.monotonic() < end:
            try:
                sent += self._socket.send(memoryview(data)[sent : sent + 262144])
            except BlockingIOError:
                time.sleep(0.01)
            except OSError:
                break
        return sent

    def finish(self) -> None:
        """Half-close: nothing more will be sent."""
        self._socket.shutdown(socket.SHUT_WR)

    def abort(self) -> None:
        """Reset the connection."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.close()

    def read(self, until: Callable[[], bool], seconds: float) -> bool:
        """Read until a condition holds, the server closes, or the time is up; tell whether the condition holds."""
        end = time.monotonic() + seconds
        while not (done := until()) and not self.closed and (left := end - time.monotonic()) > 0:
            self._socket.settimeout(left)
            try:
                data = self._socket.recv(262144)
            except TimeoutError:
                continue
            except OSError:
                self.closed = self.reset = True
                continue
            self.closed = not data
            self.received += data
        return done or until()

    def wait_closed(self, seconds: float = CLOSE_WITHIN) -> bool:
        """Wait until the server closes."""
        return self.read(lambda: self.closed, seconds)

    def all_responses(self, *methods: str) -> list[Response]:
        """All that has come so far, interim responses too."""
        return parse(self.received, methods, closed=self.closed)[0]

    def finals(self, *methods: str) -> list[Response]:
        """The final responses so far; the last one may be incomplete."""
        return [
            response for response in self.all_responses(*methods) if response.status >= 200 or response.status == 101
        ]

    def responses(
        self, count: int, *methods: str, seconds: float = ANSWER_WITHIN, quiet: float = QUIET
    ) -> Sequence[Response]:
        """Wait for exactly `count` complete final responses, and a little for one that should not come."""
        complete = self.read(lambda: sum(response.complete for response in self.finals(*methods)) >= count, seconds)
        assert complete, f"{len(self.finals(*methods))} responses of {count}{', closed' if self.closed else ''}"
        self.read(lambda: False, quiet)
        responses, rest = parse(self.received, methods, closed=self.closed)
        assert not rest, f"octets behind the responses: {rest[:60]!r}"
        finals = [response for response in responses if response.status >= 200 or response.status == 101]
        assert len(finals) == count, [response.status for response in finals]
        return finals
