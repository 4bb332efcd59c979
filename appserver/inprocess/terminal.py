"""Ctrl-C and the debugger in a process that serves and has the terminal.

The debugger's prompt and `input()` block the event loop, which is what somebody wants who asks for them. So Ctrl-C cannot be
left to the loop: its handler runs wherever the main thread is.
"""

from __future__ import annotations

import os
import pdb  # noqa: T100 - what breakpoint() opens
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any


@contextmanager
def interrupts(ask: Callable[[], None]) -> Iterator[None]:
    """Have the first Ctrl-C call `ask`, and any further one raise KeyboardInterrupt where the main thread is.

    At the debugger's prompt Ctrl-C belongs to the debugger. `breakpoint()` opens pdb unless PYTHONBREAKPOINT or the
    application say otherwise.
    """
    at_prompt = False
    asked = False

    class Debugger(pdb.Pdb):
        """pdb, which says when its prompt is there, and leaves Ctrl-C alone when it is not."""

        def interaction(self, *arguments: Any, **options: Any) -> None:
            nonlocal at_prompt
            before, at_prompt = at_prompt, True
            try:
                super().interaction(*arguments, **options)
            finally:
                at_prompt = before

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        nonlocal asked
        if at_prompt or asked:
            raise KeyboardInterrupt
        asked = True
        ask()

    def breakpointhook(*arguments: Any, **options: Any) -> Any:
        if os.environ.get("PYTHONBREAKPOINT"):
            return sys.__breakpointhook__(*arguments, **options)  # noqa: T100
        # nosigint: or it takes Ctrl-C for itself with the first `continue`, and never gives it back.
        return Debugger(nosigint=True).set_trace(sys._getframe(1))

    before = signal.signal(signal.SIGINT, interrupt)
    hook, sys.breakpointhook = sys.breakpointhook, breakpointhook
    if hook is not sys.__breakpointhook__:
        sys.breakpointhook = hook  # a debugger's own, such as that of an IDE
    try:
        yield
    finally:
        sys.breakpointhook = hook
        signal.signal(signal.SIGINT, before)
