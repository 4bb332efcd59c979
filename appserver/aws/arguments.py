"""The settings that `appserver.aws.handler` is given by their sections: what means nothing under the managed runtime is refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from appserver.errors import Problem, SettingsError
from appserver.settings import by_key

_NOTHING_LISTENS = "nothing listens here, Lambda's runtime calls the handler"
_NO_CONNECTIONS = "there are no connections of clients here, an event is a whole request"
_NO_MASTER = "there is no master process here"
_ONE_AT_A_TIME = "Lambda's runtime calls the handler with one event after the other"
_WRITTEN_BY_GATEWAYS = "the gateways write this header themselves"

_WHY_UNUSED: Mapping[str, str | None] = {
    "admin": _NO_MASTER,
    "dev": 'for development there is the command "appserver dev"',
    "http2": _NO_CONNECTIONS,
    "metrics": _NO_MASTER,
    "reload": _NO_MASTER,
    "shutdown": _NO_MASTER,
    "tls": _NOTHING_LISTENS,
    "websocket": "no event of Lambda is a WebSocket session",
    "workers": "there are no worker processes here, Lambda starts as many environments as it needs",
    "app.directory": "nothing is imported, the application is the first argument",
    "app.target": "the application is the first argument",
    "http.body_timeout": _NO_CONNECTIONS,
    "http.date_header": _WRITTEN_BY_GATEWAYS,
    "http.header_timeout": _NO_CONNECTIONS,
    "http.keepalive_timeout": _NO_CONNECTIONS,
    "http.max_requests_per_connection": _NO_CONNECTIONS,
    "http.parser": _NO_CONNECTIONS,
    "http.server_header": _WRITTEN_BY_GATEWAYS,
    "http.write_timeout": _NO_CONNECTIONS,
    "lambda.concurrency": _ONE_AT_A_TIME,
    "lambda.streaming": 'the managed Python runtime cannot stream, the command "appserver lambda" can',
    "workers.boot_timeout": None,
    "workers.max_concurrency": _ONE_AT_A_TIME,
    "workers.queue_size": _ONE_AT_A_TIME,
    "workers.queue_timeout": _ONE_AT_A_TIME,
}
"""Sections and keys, each with the reason; a key goes before its section. None: it has a meaning."""

_SAYS_WHAT_IS: Mapping[str, tuple[object, ...]] = {
    "http.date_header": (False,),
    "http.server_header": ("",),
    "http2.enabled": (False,),
    "lambda.concurrency": (0, 1),
    "lambda.streaming": (False,),
    "websocket.enabled": (False,),
    "workers.count": (1,),
}
"""Values that are true of a handler, so nobody has to be told."""


def values(sections: Mapping[str, object]) -> dict[str, Any]:
    """The settings that are given by their sections, by their dotted keys.

    Raises SettingsError if one is no section, and with each of the settings that mean nothing here.
    """
    if "listeners" in sections:  # these are a list of tables, which is no section
        raise SettingsError([_unused("listeners", _NOTHING_LISTENS)])
    given = by_key(sections)
    problems = []
    for key, value in given.items():
        section = key.partition(".")[0]
        why = _WHY_UNUSED[key] if key in _WHY_UNUSED else _WHY_UNUSED.get(section)
        if why is not None and value not in _SAYS_WHAT_IS.get(key, ()):
            problems.append(_unused(key, why))
    if problems:
        raise SettingsError(problems)
    return given


def _unused(key: str, why: str) -> Problem:
    return Problem("argument", key, "", why)
