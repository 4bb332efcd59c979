"""The files of prometheus_client's multi-process mode, read as input from a process that may be hostile.

A file is a 4 byte number (how many bytes are in use), 4 bytes of padding, and values: the length of a key, the key padded
to a multiple of 8 bytes, and two floats (the value, and when it was set). It may be sparse, and claim any size.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator, Mapping

from appserver.files import open_existing

MAX_FILE_SIZE = 16 * 1024 * 1024
"""So many bytes of a file are read: some 100,000 values."""

Value = tuple[float, float]  # and when it was set, for the gauges that want to know

_HEADER = struct.Struct("i4x")
_LENGTH = struct.Struct("i")
_FLOATS = struct.Struct("dd")


class MetricFile:
    """One file, read up to a limit. `left_out` says afterwards how many bytes of what is in use were not read."""

    def __init__(self, name: str, directory: int, limit: int = MAX_FILE_SIZE) -> None:
        """Read the file of this name in an open directory. Raises OSError, also for what is not a regular file."""
        fd = open_existing(name, directory)
        try:
            header = os.pread(fd, _HEADER.size, 0)
            in_use = _HEADER.unpack(header)[0] if len(header) == _HEADER.size else 0
            there = min(in_use, os.fstat(fd).st_size)
            self._content = os.pread(fd, max(0, min(there, limit)), 0)
        finally:
            os.close(fd)
        self.size = len(self._content)
        self.left_out = max(0, there - self.size)

    def values(self) -> Iterator[tuple[str, Value]]:
        """Yield the keys and their values. Raises ValueError where it is not such a file."""
        content, position = self._content, _HEADER.size
        while position < len(content):
            try:
                (length,) = _LENGTH.unpack_from(content, position)
                start = position + _LENGTH.size
                position = start + _padded(length)
                if length <= 0:
                    raise ValueError("a key without a length")
                value = _FLOATS.unpack_from(content, position)
            except struct.error:
                if self.left_out:
                    return
                raise ValueError("it ends within a value") from None
            yield content[start : start + length].decode(), value
            position += _FLOATS.size


def encode(values: Mapping[str, Value]) -> bytes:
    """The contents of a file with these values, as many as fit into MAX_FILE_SIZE."""
    parts = []
    in_use = _HEADER.size
    for key, value in values.items():
        text = key.encode()
        part = _LENGTH.pack(len(text)) + text.ljust(_padded(len(text))) + _FLOATS.pack(*value)
        if in_use + len(part) > MAX_FILE_SIZE:
            break
        parts.append(part)
        in_use += len(part)
    return _HEADER.pack(in_use) + b"".join(parts)


def _padded(length: int) -> int:
    """How long a key is with its padding, so that the floats behind it are aligned."""
    return length + 8 - (length + _LENGTH.size) % 8
