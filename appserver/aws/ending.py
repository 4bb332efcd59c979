"""The end of a function's process: what any Python program does at its end, for as long as Lambda allows.

The interpreter waits for threads that are no daemons. One of the application's that hangs would keep the process until Lambda
kills it, so a thread of our own ends the process before that, and the log says what was left.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections.abc import Callable

from appserver.telemetry.logs import get_logger
from appserver.telemetry.task_stacks import threads_waited_for


def end_within(limit: float, code: int, farewell: Callable[[], None]) -> None:
    """End the process with this exit code if it has not ended after `limit` seconds; `farewell` is called last then."""
    threading.Thread(target=_watch, args=(limit, code, farewell), name="appserver-exit", daemon=True).start()


def _watch(limit: float, code: int, farewell: Callable[[], None]) -> None:
    time.sleep(limit)
    get_logger("appserver.lambda").warning(
        "exit cut off",
        reason="Lambda kills the process half a second after SIGTERM, and threads or functions of atexit had not ended",
        threads=threads_waited_for(),
    )
    with contextlib.suppress(Exception):
        sys.stdout.flush()
    farewell()
    os._exit(code)
