"""The program: `appserver`, and `python -m appserver`."""

from __future__ import annotations

import sys

from appserver import signals


def main() -> int:
    """Run the command line; returns the exit code."""
    # What takes the longest comes first, the imports. A signal that comes meanwhile waits for whoever is to handle it:
    # PID 1 would never get it, any other process would die of it.
    signals.block()
    from appserver import cli

    return cli.main()


if __name__ == "__main__":
    sys.exit(main())
