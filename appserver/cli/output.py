"""Standard output of the commands."""

from __future__ import annotations

import os
import sys

from appserver.errors import OutputError


def show(text: str) -> None:
    """Write text to standard output, whatever its encoding has or has not, and whoever has stopped reading it.

    Raises OutputError when it cannot be written: no space left, or standard output is closed.
    """
    try:
        # A path or a value may hold what the terminal's encoding has not.
        sys.stdout.write(text.encode(sys.stdout.encoding, "backslashreplace").decode(sys.stdout.encoding))
        sys.stdout.flush()
    except OSError as error:
        # The rest of the buffer must not fail again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):  # whoever read it (`| head`) has seen enough
            raise OutputError(f"standard output cannot be written: {error.strerror}") from error
