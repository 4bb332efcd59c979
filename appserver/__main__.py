"""The program: `appserver`, and `python -m appserver`."""

from __future__ import annotations

import gc
import sys

# How the C library and CPython speak of memory, besides a MemoryError, while modules are imported.
_NO_MEMORY = ("failed to map segment", "error return without exception set")


def main() -> int:
    """Run the command line; returns the exit code."""
    if sys.platform != "linux":
        print(f"appserver needs Linux, and this is {sys.platform}: run it in a container or in WSL", file=sys.stderr)  # noqa: T201
        return 2
    try:
        return _run()
    except (MemoryError, SystemError, ImportError) as error:
        if not (isinstance(error, MemoryError) or any(words in str(error) for words in _NO_MEMORY)):
            raise
        print("appserver: not enough memory: raise the limit (ulimit -v, LimitAS= of systemd)", file=sys.stderr)  # noqa: T201
        return 5


def _run() -> int:
    from appserver import signals

    # The imports come first, since they take the longest. A signal that comes meanwhile waits for whoever is to handle it:
    # PID 1 would never get it, any other process would die of it.
    signals.block()
    # Imported modules stay: the collector would look through all of it several times, and find nothing.
    gc.disable()
    from appserver import cli

    cli.prepare(sys.argv[1:])
    gc.freeze()
    gc.enable()
    return cli.main()


if __name__ == "__main__":
    sys.exit(main())
