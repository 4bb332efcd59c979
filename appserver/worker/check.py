"""Import the application as a worker would: `python -m appserver.worker.check`, with the settings as JSON on standard input.

Exit code 0, or 4 and the reason with the application's traceback on standard error. A process of its own, because
importing somebody's code may do anything; standard output is left to that code.
"""

from __future__ import annotations

import sys

from appserver.asgi.loader import load_application
from appserver.errors import ApplicationImportError
from appserver.settings import Settings


def main() -> int:
    """Import the application and return the exit code."""
    settings = Settings.model_validate_json(sys.stdin.read())
    try:
        load_application(settings.app)
    except ApplicationImportError as error:
        if error.traceback:
            print(error.traceback.rstrip(), file=sys.stderr)
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
