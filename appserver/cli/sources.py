"""Reloading when a file of the application changes, for development: `--watch`."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

from appserver.errors import UsageError
from appserver.settings import Loaded


def watch_sources(loaded: Loaded) -> None:
    """From now on have this process reload when a Python file, the settings file or the file of variables changes.

    Python files are those below `app.directory`, the current directory unless it is set. Raises UsageError if watchfiles
    is not installed.
    """
    try:
        import watchfiles
    except ImportError:
        raise UsageError("--watch needs watchfiles: pip install 'appserver[watch]'") from None
    from appserver import signals

    directory = loaded.settings.app.directory.resolve()
    files = {path.resolve() for path in (loaded.path, loaded.settings.app.env_file) if path is not None}
    is_python = watchfiles.PythonFilter()

    def matters(change: watchfiles.Change, path: str) -> bool:
        return Path(path) in files or is_python(change, path)

    def watch() -> None:
        signals.block()  # they are for the main thread, and wait until it can handle them
        paths = [directory, *(path for path in files if directory not in path.parents)]
        for _ in watchfiles.watch(*paths, watch_filter=matters):
            os.kill(os.getpid(), signal.SIGHUP)

    threading.Thread(target=watch, name="appserver-watch", daemon=True).start()
