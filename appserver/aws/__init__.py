"""The application as a function on AWS Lambda: no sockets, no workers, one event at a time.

`events` turns the event of each kind of trigger into a request, and a response into what that trigger wants; it does no
input or output. `adapter` has a request answered by the engine: time limits, request ids, the report of who is to blame and the
access log are those of the server, with an invocation (`invocation`) as what carries the exchange. Around it are two loops:
`bootstrap` is that of a custom runtime, which speaks Lambda's Runtime API (`runtime_api`), and `handler` is for the
managed Python runtime, which has its own.

Must not know processes, listeners and the master: a cold start pays for each module that is imported.
Start reading with `events`, then `adapter.Adapter.answer`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from appserver.aws.managed import handler

__all__ = ["handler"]


def __getattr__(name: str) -> Any:
    if name == "handler":  # late: a custom runtime does not need it
        return importlib.import_module("appserver.aws.managed").handler
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
