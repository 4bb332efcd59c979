"""Tracebacks as the application's author wants to read them: their own frames, none of ours, none of importlib's."""

from __future__ import annotations

import importlib
import traceback
from pathlib import Path

import appserver

_HEADING = "Traceback (most recent call last):\n"
_OURS = (
    str(Path(appserver.__file__).parent) + "/",
    str(importlib.__file__),
    "<frozen importlib.",
)


def application_frames(error: BaseException) -> traceback.StackSummary:
    """Return the frames of the application that `error` passed through, outermost first."""
    return _without_ours(traceback.TracebackException.from_exception(error).stack)


def application_traceback(error: BaseException) -> str:
    """Format `error` with its causes and contexts, as Python does, with the application's frames only."""
    outermost = traceback.TracebackException.from_exception(error)
    pending = [outermost]
    while pending:
        part = pending.pop()
        part.stack = _without_ours(part.stack)
        pending += filter(None, [part.__cause__, part.__context__, *(part.exceptions or ())])
    text = "".join(outermost.format())
    return (text if outermost.stack else text.replace(_HEADING, "", 1)).rstrip()


def describe(error: BaseException) -> str:
    """Return class and message of `error` in one line, as at the end of its traceback."""
    # A SyntaxError first shows the line it is about, indented; a message of several lines says most in its first.
    lines = "".join(traceback.format_exception_only(error)).splitlines()
    return next(line for line in lines if not line.startswith(" "))


def _without_ours(stack: traceback.StackSummary) -> traceback.StackSummary:
    return traceback.StackSummary.from_list([frame for frame in stack if not frame.filename.startswith(_OURS)])
