"""The operator's function for events that are no requests: `lambda.other`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from appserver.asgi.loader import find_directory
from appserver.asgi.target import Target
from appserver.settings import Settings


def load_other(settings: Settings) -> Callable[[Any, Any], Any] | None:
    """Import it; None if there is none. Raises ApplicationImportError. Where it can be imported from is on sys.path by then."""
    name = settings.on_lambda.other
    if name is None:
        return None
    target = Target.parse(name, "lambda.other")
    found: Any = target.load(find_directory(settings.app))
    if not callable(found):
        raise target.failure(["it has to be a function of the event and the context"])
    function: Callable[[Any, Any], Any] = found
    return function
