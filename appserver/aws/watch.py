"""Reports what blocks the event loop when the time of an invocation is up: a thread, since the loop cannot do it then."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
import traceback

from appserver.asgi.lifespan import Logger
from appserver.aws.adapter import Invocation

INTERVAL = 0.1
"""Seconds between two looks."""

PATIENCE = 3
"""So many looks in a row the event loop may owe an answer before it counts as blocked: looks, since a process may stand still."""


class Watch:
    """Logs where the thread of the event loop stands when an invocation is nearly over and the loop has not ended it.

    To be made in that thread. A loop that runs ends an invocation `margin` seconds earlier than that, unless it is Lambda that takes
    its time, for the answer: so the loop is asked whether it runs.
    """

    def __init__(self, logger: Logger, margin: float) -> None:
        self._logger = logger
        self._margin = margin
        self._thread = threading.get_ident()
        self._loop = asyncio.get_running_loop()
        self._runs = threading.Event()  # set by the loop when it is asked
        self._invocations: dict[int, Invocation] = {}
        self._ended = threading.Event()
        self._watcher: threading.Thread | None = None

    def begin(self, invocation: Invocation) -> None:
        self._invocations[id(invocation)] = invocation
        if self._watcher is None:
            self._watcher = threading.Thread(target=self._run, name="appserver-watch", daemon=True)
            self._watcher.start()

    def end(self, invocation: Invocation) -> None:
        self._invocations.pop(id(invocation), None)

    def close(self) -> None:
        self._ended.set()
        if self._watcher is not None:
            self._watcher.join()

    def _run(self) -> None:
        owed = 0
        self._runs.set()
        while not self._ended.wait(INTERVAL):
            if not self._invocations:  # the process may be frozen
                continue
            if self._runs.is_set():
                owed = 0
                self._runs.clear()
                self._loop.call_soon_threadsafe(self._runs.set)
            else:
                owed += 1
            if owed >= PATIENCE:
                self._look()

    def _look(self) -> None:
        now = time.monotonic()
        for key, invocation in list(self._invocations.items()):
            left = invocation.deadline - now
            if left < min(self._margin, INTERVAL * 3) and self._invocations.pop(key, None) is not None:
                self._report(invocation)

    def _report(self, invocation: Invocation) -> None:
        frame = sys._current_frames().get(self._thread)
        stack = "" if frame is None else "".join(traceback.format_stack(frame))
        request = None if invocation.exchange is None else invocation.exchange.request
        known = {} if request is None else {"method": request.method, "path": request.path}
        self._logger.error(
            "event loop blocked",
            detail="the time of the invocation is up, and the application does not let the event loop run",
            request_id=invocation.request_id,
            **known,
            stack=stack,
        )
