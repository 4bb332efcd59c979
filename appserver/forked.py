"""The end of children that an application forks by `os.fork`, and that come back to the server.

Such a child is to end with `os._exit`. If it leaves the application's code by an exception, as by `sys.exit`, or by a return,
it comes to code that waits for threads and an event loop which its parent has, and would do so for ever.
"""

from __future__ import annotations

import os
import sys
import traceback
from typing import NoReturn

_generation = 0


def _begin() -> None:
    global _generation  # noqa: PLW0603  (as in `worker.children`)
    _generation += 1


os.register_at_fork(after_in_child=_begin)


def generation() -> int:
    """How many forks lie behind this process. Where the number has changed, another process runs; that costs no system call."""
    return _generation


def end_child(error: BaseException | None) -> NoReturn:
    """End this process, as Python ends with what has been raised; with None, say that nobody waits for what was returned."""
    code = 1
    try:
        code = _report(error)
        for stream in sys.stdout, sys.stderr:
            stream.flush()
    finally:
        os._exit(code)


def _report(error: BaseException | None) -> int:
    """Say how it ends; returns the exit code."""
    if isinstance(error, SystemExit):
        if error.code is None or isinstance(error.code, int):
            return (error.code or 0) & 0xFF
        print(error.code, file=sys.stderr)  # noqa: T201  # as Python does
    elif error is not None:
        traceback.print_exception(error)
    else:
        advice = (
            "a child of os.fork has returned to the server, where nothing is left to do for it: end it with os._exit"
        )
        print(advice, file=sys.stderr)  # noqa: T201
    return 1
