"""The files that the application has open: what Python holds back of them must get out, and once only."""

from __future__ import annotations

import contextlib
import gc
import io
import sys
import tempfile
from collections.abc import Iterable

# The class in C that all files of Python's have in common. `io.IOBase` has a metaclass, which would be asked about the class
# of every object that there is.
_FILE = io.IOBase.__base__
assert _FILE is not None


def write_lines_at_once() -> None:
    """Have every line that is printed written at its end, as on a terminal.

    For a pipe or a file Python would wait until 8 KiB have come together. Nobody sees what is in that buffer, and a process
    that is killed takes it along.
    """
    reconfigure = getattr(sys.stdout, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(line_buffering=True)


def flush_streams() -> None:
    """Write what has been printed; never raises."""
    for stream in (sys.stdout, sys.stderr):  # the application may have put anything there
        with contextlib.suppress(Exception):
            stream.flush()


def flush_open_files() -> None:
    """Write what is in the buffers of all files; never raises. Before a fork, after which each process has these buffers."""
    flush_streams()
    for file in sorted(open_files(gc.get_objects()), key=_depth):
        with contextlib.suppress(Exception):  # it cannot be written, or it is closed, or for reading
            file.flush()


def close_open_files() -> None:
    """Close all files but the standard streams, as the interpreter does when it ends; never raises.

    To flush them is not enough: the end of a compressed file is written when it is closed.
    """
    flush_streams()
    kept = [sys.stdin, sys.stdout, sys.stderr, sys.__stdin__, sys.__stdout__, sys.__stderr__]
    kept += [buffer for stream in kept if (buffer := getattr(stream, "buffer", None)) is not None]
    for file in sorted(open_files(gc.get_objects()), key=_depth):
        if not any(file is other for other in kept):
            with contextlib.suppress(Exception):
                file.close()


def remove_temporary_files() -> None:
    """Close, and by that remove, the named temporary files that are still open; never raises."""
    for found in gc.get_objects():
        if issubclass(type(found), tempfile._TemporaryFileWrapper):
            with contextlib.suppress(Exception):
                found.close()


def open_files(objects: Iterable[object]) -> list[io.IOBase]:
    """The files among these objects. Types are asked, not instances: those may be proxies that do something when asked."""
    return [found for found in objects if issubclass(type(found), _FILE)]  # type: ignore[misc,arg-type]


def _depth(file: io.IOBase) -> int:
    """How many layers may lie above a file: a text has its octets in the buffer below, that of an archive in a file's."""
    if isinstance(file, io.TextIOBase):
        return 0
    return 2 if type(file).__module__ == "_io" else 1
