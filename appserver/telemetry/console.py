"""Records as a person likes to read them: one line each, in columns, with what is long below.

    14:03:07.512  info      worker 1 g2   worker ready             pid=4711 seconds=0.31
    14:03:09.044  error     worker 1 g2   application failed       method=GET path=/orders
        Traceback (most recent call last):
          ... 9 frames of appserver, starlette
          File "/srv/shop/orders.py", line 31, in show
            total = sum(prices) / len(prices)
        ZeroDivisionError: division by zero

Whatever is not printable is shown as an escape sequence of Python: a client or an application must not be able to write
lines that look like another record, or to talk to the terminal.
"""

from __future__ import annotations

import os
import traceback
from collections.abc import Mapping
from datetime import datetime
from itertools import groupby
from pathlib import Path
from typing import Any

import appserver
from appserver.telemetry.record import Record, safe_repr, text

RESET = "\x1b[0m"
BOLD = "\x1b[1m"
DIM = "\x1b[2m"
RED = "\x1b[31m"
GREEN = "\x1b[32m"
YELLOW = "\x1b[33m"
CYAN = "\x1b[36m"

_LEVELS = {"debug": DIM, "info": GREEN, "warning": YELLOW, "error": RED, "critical": BOLD + RED}
_OWN = "appserver"
# Fields that need no name above them.
_BLOCKS = ("exception", "stack", "traceback")
_INDENT = " " * 4
_EVENT_WIDTH = 24
_STDLIB = str(Path(os.__file__).parent)
_SERVER = str(Path(appserver.__file__).parent)


class Console:
    """Formats records for a terminal; `colours` if it understands them."""

    def __init__(self, *, colours: bool) -> None:
        self._colours = colours

    def paint(self, colour: str, words: str) -> str:
        return f"{colour}{words}{RESET}" if self._colours and colour and words else words

    def format(self, record: Record) -> bytes:
        """Format a record, as one line or, with what is long, as several."""
        event, *more = record.event.splitlines() or [""]
        blocks = ["\n".join(more)] if more else []
        words = []
        for name, value in record.fields.items():
            if isinstance(value, str) and "\n" in value.strip():
                blocks.append(value if name in _BLOCKS else f"{name}:\n{value}")
            else:
                words.append(f"{self.paint(CYAN, printable(name))}={_short(value)}")
        if record.error is not None:
            blocks.append(short_traceback(record.error))
        own = record.logger.split(".")[0] == _OWN
        logger, event = "" if own else f"{printable(record.logger)}: ", printable(event)
        columns = (
            self.paint(DIM, clock(record.created)),
            self.paint(_LEVELS.get(record.level, ""), f"{printable(record.level):<8}"),
            self.paint(DIM, source(record.identity)),
            self.paint(DIM, logger) + self.paint(BOLD, event.ljust(_EVENT_WIDTH - len(logger)) if words else event),
        )
        lines = [" ".join(("  ".join(columns), *words))]
        lines += (_INDENT + printable(line.expandtabs(4)) for block in blocks for line in block.splitlines())
        return "".join(f"{line}\n" for line in lines).encode("utf-8", "backslashreplace")


def clock(seconds: float) -> str:
    """The time of day, where this machine is."""
    return datetime.fromtimestamp(seconds).astimezone().isoformat(timespec="milliseconds")[11:23]


def source(identity: Mapping[str, Any]) -> str:
    """Which process, as a column: "master", "zygote g3", "worker 2 g3"."""
    words = [identity.get("process"), identity.get("worker")]
    if "generation" in identity:
        words.append(f"g{identity['generation']}")
    return f"{' '.join(str(word) for word in words if word is not None):<12}"


def printable(words: str) -> str:
    """Show what is not printable as an escape sequence."""
    if words.isprintable():
        return words
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in words)


def short_traceback(error: BaseException) -> str:
    """Format an exception with its causes; of the frames in libraries only the innermost is shown, the others counted.

    All frames are shown where none is the application's own.
    """
    outermost = traceback.TracebackException.from_exception(error)
    pending = [outermost]
    while pending:
        part = pending.pop()
        if not all(_library(frame) for frame in part.stack):
            part.stack = _ShortStack(part.stack)
        pending += filter(None, [part.__cause__, part.__context__, *(part.exceptions or ())])
    return "".join(outermost.format()).rstrip()


class _ShortStack(traceback.StackSummary):
    def format(self, **options: Any) -> list[str]:
        lines = []
        for is_hidden, frames in groupby(self, lambda frame: bool(_library(frame)) and frame is not self[-1]):
            group = list(frames)
            if is_hidden:
                names = ", ".join(sorted({_library(frame) for frame in group}))
                lines.append(f"  ... {len(group)} {'frame' if len(group) == 1 else 'frames'} of {names}\n")
            else:
                lines += traceback.StackSummary.from_list(group).format(**options)
        return lines


def _library(frame: traceback.FrameSummary) -> str:
    """The library that a frame is in; empty for the application's own."""
    path = frame.filename
    for folder in ("/site-packages/", "/dist-packages/"):
        if folder in path:
            return path.rpartition(folder)[2].split("/")[0].removesuffix(".py")
    if path.startswith(_SERVER):
        return _OWN
    return "Python" if path.startswith((_STDLIB, "<frozen ")) else ""


def _short(value: object) -> str:
    if isinstance(value, str):
        bare = value.isprintable() and value and not any(letter in value for letter in " =\"'")
        return value if bare else repr(text(value))
    if isinstance(value, float):
        return f"{value:.6g}"
    return printable(safe_repr(value))
