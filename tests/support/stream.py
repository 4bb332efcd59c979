"""A response in progress: the surest sign that a request is being served is that part of its answer has arrived."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from tests.support.address import Address


class Stream:
    """A request for `/stream/PIECES` of the test application (ten milliseconds a piece), on a connection of its own.

    Entering the block sends the request and waits for the first piece of the answer.
    """

    def __init__(self, address: Address, pieces: int, *, timeout: float = 15.0) -> None:
        self._pieces = pieces
        self._connection = address.connect(timeout)
        self._received = b""

    def __enter__(self) -> Self:
        self._connection.sendall(b"GET /stream/%d HTTP/1.1\r\nHost: test\r\n\r\n" % self._pieces)
        while b"xxx" not in self._received:
            self._receive()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._connection.close()

    def _receive(self) -> None:
        data = self._connection.recv(65536)
        if not data:
            raise ConnectionError("the connection ended in the middle of the answer")
        self._received += data

    def finish(self) -> None:
        """Read to the end of the answer; ConnectionError if it breaks off (RFC 9112 section 8)."""
        while not self._received.endswith(b"\r\n0\r\n\r\n"):
            self._receive()
        body = self._received.partition(b"\r\n\r\n")[2]
        assert body.count(b"x") == 1000 * self._pieces

    def is_cut(self) -> bool:
        """Read on until the answer is complete (False) or breaks off (True)."""
        try:
            self.finish()
        except ConnectionError:
            return True
        return False
