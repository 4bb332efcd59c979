"""`python -m appserver` is the program `appserver`."""

from __future__ import annotations

import sys

from appserver.cli import main

if __name__ == "__main__":
    sys.exit(main())
