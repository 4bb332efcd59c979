"""`appserver top`: looks at the server again and again, and shows what it has been doing meanwhile."""

from __future__ import annotations

import contextlib
import select
import shutil
import sys
import termios
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

from appserver.cli.activity import Look, as_view
from appserver.cli.output import show
from appserver.telemetry.logs import understands_colours, understands_sequences
from appserver.telemetry.output import Destination

# The other screen of the terminal, without a cursor; and back (xterm's control sequences, which all of them know).
_ENTER, _LEAVE = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"
_HOME, _CLEAR_LINE, _CLEAR_BELOW = "\x1b[H", "\x1b[K", "\x1b[J"

_WIDTH, _HEIGHT = 100, 10_000  # of what is no terminal


def watch(look: Callable[[], Look], interval: float, *, once: bool) -> None:
    """Show a view every `interval` seconds until q or Ctrl-C is pressed; only one, as plain text, if `once`.

    Only one, too, where none can be painted over the one before.
    Raises ControlError when the server cannot be asked any more.
    """
    if once or not _is_screen():
        before = look()
        time.sleep(interval)
        show(as_view(before, look(), width=_WIDTH, height=_HEIGHT, now=datetime.now(UTC)))
        return
    before = look()
    with contextlib.suppress(KeyboardInterrupt), _screen():
        show(f"{_HOME}looking for {interval:g} s ...  (q: quit)")
        while not _quit_within(interval):
            after = look()
            _paint(before, after)
            before = after


def _paint(before: Look, after: Look) -> None:
    size = shutil.get_terminal_size()
    view = as_view(before, after, width=size.columns, height=size.lines - 2, now=datetime.now(UTC), colours=_colours())
    lines = [*view.splitlines(), "", f"{datetime.now().astimezone():%H:%M:%S}  q: quit"]
    # Over the old picture line by line: clearing all of it first would flicker. No line feed behind the last line, which
    # would scroll.
    show(_HOME + "\n".join(line + _CLEAR_LINE for line in lines) + _CLEAR_BELOW)


def _is_screen() -> bool:
    return sys.stdout.isatty() and understands_sequences(Destination.stream(sys.stdout.fileno()))


def _colours() -> bool:
    return understands_colours(Destination.stream(sys.stdout.fileno()))


def _quit_within(seconds: float) -> bool:
    """Wait; returns whether q was pressed meanwhile."""
    deadline = time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0:
        if not sys.stdin.isatty():
            time.sleep(left)
        elif select.select([sys.stdin], [], [], left)[0] and sys.stdin.read(1) in ("q", "Q", ""):
            return True
    return False


@contextlib.contextmanager
def _screen() -> Iterator[None]:
    """Have the terminal's other screen, and its keys one by one; give both back whatever happens."""
    before = termios.tcgetattr(sys.stdin) if sys.stdin.isatty() else None
    try:
        if before is not None:
            raw = termios.tcgetattr(sys.stdin)
            raw[3] &= ~(termios.ICANON | termios.ECHO)
            termios.tcsetattr(sys.stdin, termios.TCSADRAIN, raw)
        show(_ENTER)
        yield
    finally:
        show(_LEAVE)
        if before is not None:
            termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)
