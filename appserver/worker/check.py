"""Import the application as a worker would: `python -m appserver.worker.check`, with the settings as JSON on standard input.

Exit code `IMPORTED`, or 4 and the reason with the application's traceback on standard error. A process of its own, because
importing somebody's code may do anything; standard output is left to that code.
"""

from __future__ import annotations

import contextlib
import os
import sys

from appserver.asgi.loader import import_application
from appserver.errors import ApplicationImportError, AppserverError
from appserver.settings import Settings
from appserver.telemetry.log_config import LogConfig, application_logging
from appserver.worker import privileges
from appserver.worker.process import loop_factory

IMPORTED = 99
"""The exit code of success. Not 0: code that ends its process while it is imported, `os._exit(0)`, would pass for it."""


def main() -> int:
    """Import the application and return the exit code."""
    settings = Settings.model_validate_json(sys.stdin.buffer.read())
    try:
        # Whether the loop can be made at all is not the question here.
        with contextlib.closing(loop_factory(settings.workers.loop)()) as loop:
            log_config = LogConfig.read(settings.logging)
            if os.geteuid() == 0:
                # Its code must not run as root here either, and what the workers' user may not read is missing to it.
                privileges.drop(settings.workers)
            import_application(settings.app, loop, application_logging(log_config))
    except AppserverError as error:
        if isinstance(error, ApplicationImportError) and error.traceback:
            print(error.traceback.rstrip(), file=sys.stderr)
        print(error, file=sys.stderr)
        return error.exit_code
    return IMPORTED


if __name__ == "__main__":
    raise SystemExit(main())
