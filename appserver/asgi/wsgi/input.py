"""`wsgi.input`: the body of a request as a file (PEP 3333, "Input and Error Streams")."""

from __future__ import annotations

from collections.abc import Callable, Iterator


class Input:
    """A file that is read from its beginning to its end. Its methods raise ClientDisconnect, an OSError.

    They return less than they are asked for at the end of the body only; a body that was cut off has no end. Behind the
    end there is nothing, as often as it is read (`wsgi.input_terminated`).
    """

    __slots__ = ("_held", "_start", "_take")

    def __init__(self, take: Callable[[], bytes]) -> None:
        """`take` waits for the next piece of the body, and returns nothing at its end."""
        self._take = take
        self._held = b""  # the piece that is being read, and from where on
        self._start = 0

    def read(self, size: int | None = None, /) -> bytes:
        """Up to `size` octets; everything without a size, or with a negative one."""
        if size is None or size < 0:
            parts = [self._held[self._start :]]
            self._held, self._start = b"", 0
            while data := self._take():
                parts.append(data)
            return b"".join(parts)
        parts = []
        while size and self._fill():
            part = self._cut(self._start + size)
            parts.append(part)
            size -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def readline(self, size: int | None = None, /) -> bytes:
        """Up to the end of the line, that included, but not more than `size` octets."""
        parts = []
        left = -1 if size is None or size < 0 else size
        while left and self._fill():
            limit = len(self._held) if left < 0 else min(self._start + left, len(self._held))
            end = self._held.find(b"\n", self._start, limit) + 1
            part = self._cut(end or limit)
            parts.append(part)
            if end:
                break
            if left > 0:
                left -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def readlines(self, hint: int | None = None, /) -> list[bytes]:
        """The lines; with a positive `hint` no more than it takes to have that many octets."""
        lines = []
        left = hint or 0
        for line in self:
            lines.append(line)
            left -= len(line)
            if hint is not None and hint > 0 and left <= 0:
                break
        return lines

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        if line := self.readline():
            return line
        raise StopIteration

    def _fill(self) -> bool:
        """Have at least one octet in hand; False at the end of the body."""
        if self._start < len(self._held):
            return True
        self._held, self._start = self._take(), 0
        return bool(self._held)

    def _cut(self, end: int) -> bytes:
        """Take what is in hand up to a position."""
        part = self._held if not self._start and end >= len(self._held) else self._held[self._start : end]
        self._start += len(part)
        return part
