"""appserver: a supervised ASGI server for production.

appserver.run("main:app", workers=4)                  as the command; returns when it has been stopped
async with appserver.serving(app) as server: ...      in an event loop that runs: server.url
with appserver.testing.serve(app) as server: ...      in a thread, for tests; under pytest the fixture `appserver`
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

# These names are imported when they are asked for (its types are in __init__.pyi): every process of the server imports this module, and
# needs nothing but its version.
_LATE = {
    "RunningServer": "appserver.inprocess.embedding",
    "run": "appserver.cli.programmatic",
    "serving": "appserver.inprocess.embedding",
}


def __getattr__(name: str) -> Any:
    if name == "testing":
        return importlib.import_module("appserver.testing")
    if name in _LATE:
        return getattr(importlib.import_module(_LATE[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
