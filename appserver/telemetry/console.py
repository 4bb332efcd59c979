"""Records as a person likes to read them: one line of 80 columns each, with what is long below.

    14:03:07  serving http://127.0.0.1:8000
    14:03:09  worker 1   error  application failed: GET /orders
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
import textwrap
import traceback
from collections.abc import Callable, Mapping
from datetime import datetime
from itertools import groupby
from pathlib import Path
from typing import Any

import appserver
from appserver.asgi.tracebacks import examine
from appserver.telemetry.phrases import is_routine, phrase
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
WIDTH = 80
_STDLIB = str(Path(os.__file__).parent)
_SERVER = str(Path(appserver.__file__).parent)


class Console:
    """Formats records for a terminal; `colours` if it understands them, `verbose` for routine records as well."""

    def __init__(self, *, colours: bool, verbose: bool = False) -> None:
        self._colours = colours
        self._verbose = verbose

    def paint(self, colour: str, words: str) -> str:
        return f"{colour}{words}{RESET}" if self._colours and colour and words else words

    def format(self, record: Record) -> bytes:
        """Format a record, as one line or, with what is long, as several; nothing if it is left out."""
        event, fields = record.event, dict(record.fields)
        own = record.logger.split(".")[0] == _OWN
        if own and not self._verbose:
            if is_routine(event, record.level, fields):
                return b""
            event, said = phrase(event, fields)
            fields = {name: value for name, value in fields.items() if name not in said}
        event, *more = event.splitlines() or [""]
        blocks = ["\n".join(more)] if more else []
        line = self._begin(record)
        logger = "" if own else f"{printable(record.logger)}: "
        if own:
            line.add_words(printable(event), lambda words: self.paint(BOLD, words))
        else:  # as it was written, to be found again
            line.add(logger + printable(event), self.paint(DIM, logger) + self.paint(BOLD, printable(event)), gap="")
        for name, value in fields.items():
            if isinstance(value, str) and "\n" in value.strip():
                blocks.append(value if name in _BLOCKS else f"{name}:\n{value}")
            else:
                name, value = printable(name), _short(value)
                line.add(f"{name}={value}", f"{self.paint(CYAN, name)}={value}")
        if record.error is not None:
            blocks.append(short_traceback(record.error))
        lines = [*line.lines]
        lines += (_INDENT + printable(line.expandtabs(4)) for block in blocks for line in block.splitlines())
        return "".join(f"{line}\n" for line in lines).encode("utf-8", "backslashreplace")

    def _begin(self, record: Record) -> _Line:
        line = _Line(f"{clock(record.created)}  ", self.paint(DIM, f"{clock(record.created)}  "))
        if column := source(record.identity):
            line.add(f"{column}  ", self.paint(DIM, f"{column}  "), gap="")
        if record.level != "info":
            level = printable(record.level)
            line.add(f"{level}  ", self.paint(_LEVELS.get(record.level, ""), level) + "  ", gap="")
        return line


class _Line:
    """A line in the making, which goes on below, indented, where it would be too wide."""

    def __init__(self, words: str, painted: str) -> None:
        self.lines = [painted]
        self._width = len(words)

    def add(self, words: str, painted: str, gap: str = " ") -> None:
        """Add words, and how they look in colours."""
        if gap and self._width + len(gap) + len(words) > WIDTH:
            self.lines.append(_INDENT + painted)
            self._width = len(_INDENT) + len(words)
        else:
            self.lines[-1] += gap + painted
            self._width += len(gap) + len(words)

    def add_words(self, words: str, paint: Callable[[str], str]) -> None:
        """Add a sentence, which goes on below where a word would be too wide."""
        first, *others = textwrap.wrap(
            words,
            WIDTH,
            initial_indent=" " * self._width,
            subsequent_indent=_INDENT,
            break_long_words=False,
            break_on_hyphens=False,
        ) or [""]
        self.lines[-1] += paint(first.removeprefix(" " * self._width))
        self.lines += (_INDENT + paint(other.removeprefix(_INDENT)) for other in others)
        self._width = len(others[-1]) if others else len(first)


def clock(seconds: float) -> str:
    """The time of day, where this machine is."""
    return datetime.fromtimestamp(seconds).astimezone().isoformat(timespec="seconds")[11:19]


def source(identity: Mapping[str, Any]) -> str:
    """Which process, as a column: "worker 2 "; empty for a process that is the only one."""
    if identity.get("process") in (None, "dev"):
        return ""
    words = [identity["process"], identity.get("worker")]
    return f"{' '.join(str(word) for word in words if word is not None):<9}"


def printable(words: str) -> str:
    """Show what is not printable as an escape sequence."""
    if words.isprintable():
        return words
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in words)


def short_traceback(error: BaseException) -> str:
    """Format an exception with its causes; of the frames in libraries only the innermost is shown, the others counted.

    All frames are shown where none is the application's own.
    """
    outermost = examine(error)
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
