"""Files, and parts of files, that an application has the server send."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from appserver.http.response import ResponseError

READ_SIZE = 64 * 1024
"""Octets that are read in one call where the kernel cannot copy them."""


class FilePart(NamedTuple):
    """So many octets from `offset` on of an open file."""

    descriptor: int
    offset: int
    size: int


@contextmanager
def whole_file(path: str) -> Iterator[FilePart]:
    """Open a file, for `http.response.pathsend`. Raises OSError, and ResponseError if it is no regular file."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        yield FilePart(descriptor, 0, _size(descriptor))
    finally:
        os.close(descriptor)


def part_of_file(file: Any, offset: Any, count: Any) -> FilePart:
    """What `http.response.zerocopysend` names: from the present position on, and to the end, unless it says otherwise.

    Where it says nothing of the offset, the position moves on, as it does for os.sendfile: the next part follows this one.
    Raises OSError, and ResponseError for what is no part of a regular file.
    """
    for name, value in (("offset", offset), ("count", count)):
        if value is not None and (not isinstance(value, int) or value < 0):
            raise ResponseError(f"the {name} of http.response.zerocopysend has to be a number of octets, got {value!r}")
    descriptor = file.fileno()
    start = os.lseek(descriptor, 0, os.SEEK_CUR) if offset is None else offset
    size = max(0, _size(descriptor) - start)
    if count is not None:
        size = min(size, count)
    if offset is None:
        os.lseek(descriptor, start + size, os.SEEK_SET)
    return FilePart(descriptor, start, size)


def read_pieces(part: FilePart, size: int) -> Iterator[bytes]:
    """Yield the first `size` octets of a part, one read at a time. Raises ResponseError if the file ends before."""
    offset, end = part.offset, part.offset + size
    while offset < end:
        data = os.pread(part.descriptor, min(end - offset, READ_SIZE), offset)
        if not data:
            raise shortened()
        offset += len(data)
        yield data


def shortened() -> ResponseError:
    """The error for a file that ends before what was announced of it."""
    return ResponseError("the file has become shorter while it was sent")


def _size(descriptor: int) -> int:
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        raise ResponseError("only a regular file can be sent by http.response.pathsend and http.response.zerocopysend")
    return status.st_size
