"""`wsgi.file_wrapper` (PEP 3333, "Optional Platform-Specific File Handling")."""

from __future__ import annotations

import io
import os
import stat
import sys
from collections.abc import Iterator
from typing import Any


class FileWrapper:
    """An iterable over a file that the server sends by itself if an application returns it as it is.

    Middlewares and frameworks (Werkzeug for ranges) may iterate over it, from where the file stands.
    """

    def __init__(self, filelike: Any, blksize: int = 8192) -> None:
        self.filelike = filelike
        self.blksize = blksize
        for name in ("close", "seek", "tell"):
            if (method := getattr(filelike, name, None)) is not None:
                setattr(self, name, method)

    def seekable(self) -> bool:
        """Whether `seek` and `tell` can be used."""
        seekable = getattr(self.filelike, "seekable", None)
        return bool(seekable()) if seekable is not None else hasattr(self.filelike, "seek")

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        if data := self.filelike.read(self.blksize):
            return data  # type: ignore[no-any-return]
        raise StopIteration


def regular_file(filelike: Any) -> tuple[io.IOBase, int] | None:
    """The open file behind a file-like object, and the position at which it is to be read from; None if there is none.

    That an object has a descriptor is not enough: what is read from a GzipFile is not what the descriptor's file holds.
    So it has to be one of Python's own binary files, or something that only passes reading on to one.
    """
    file = _innermost(filelike)
    raw = file.raw if isinstance(file, io.BufferedReader | io.BufferedRandom) else file
    if type(raw) is not io.FileIO or type(file) not in (io.FileIO, io.BufferedReader, io.BufferedRandom):
        return None
    try:
        if not stat.S_ISREG(os.fstat(raw.fileno()).st_mode):
            return None
        return file, file.tell()
    except (OSError, ValueError):  # it cannot say where it stands, or is closed
        return None


def _innermost(filelike: Any) -> Any:
    """Look through objects whose `read` is that of another one (Django's File, temporary files)."""
    tempfile = sys.modules.get("tempfile")  # without it there are no temporary files
    for _ in range(4):
        if tempfile is not None and type(filelike) is tempfile._TemporaryFileWrapper:
            filelike = filelike.file
            continue
        inner = getattr(getattr(filelike, "read", None), "__self__", filelike)
        if inner is filelike:
            break
        filelike = inner
    return filelike
