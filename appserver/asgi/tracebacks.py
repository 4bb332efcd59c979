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


def examine(error: BaseException) -> traceback.TracebackException:
    """Return what there is to show of `error`, whatever the interpreter meets while it looks for what to suggest.

    Python 3.15 looks for a missing module in every directory of `sys.path`, and raises what the directory raises that this
    user may not read. Then there are no suggestions.
    """
    try:
        return traceback.TracebackException.from_exception(error)
    except Exception:  # noqa: BLE001 - foreign objects are asked, and what is reported is another error
        return traceback.TracebackException.from_exception(_stand_in(error, {}))


def _stand_in(error: BaseException, made: dict[int, BaseException]) -> BaseException:
    """Make an exception that looks like `error`, with causes and contexts, and of which the interpreter knows nothing."""
    if id(error) in made:
        return made[id(error)]
    kind = type(error)
    try:
        message = str(error)
    except Exception:  # noqa: BLE001 - a method of the application
        message = "<exception str() failed>"
    looks = type(kind.__name__, (Exception,), {"__module__": kind.__module__, "__qualname__": kind.__qualname__})
    found: BaseException = looks(message).with_traceback(error.__traceback__)
    made[id(error)] = found
    found.__cause__ = error.__cause__ and _stand_in(error.__cause__, made)
    found.__context__ = error.__context__ and _stand_in(error.__context__, made)
    found.__suppress_context__ = error.__suppress_context__
    for note in getattr(error, "__notes__", ()):
        found.add_note(note)
    return found


def application_frames(error: BaseException) -> traceback.StackSummary:
    """Return the frames of the application that `error` passed through, outermost first."""
    return _without_ours(examine(error).stack)


def application_traceback(error: BaseException) -> str:
    """Format `error` with its causes and contexts, as Python does, with the application's frames only."""
    outermost = examine(error)
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
    lines = "".join(examine(error).format_exception_only()).splitlines()
    return next(line for line in lines if not line.startswith(" "))


def _without_ours(stack: traceback.StackSummary) -> traceback.StackSummary:
    return traceback.StackSummary.from_list([frame for frame in stack if not frame.filename.startswith(_OURS)])
