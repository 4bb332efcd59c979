"""Handlers that were written for Mangum (`custom_handlers`): classes that read an event of theirs and write its answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from appserver.aws.events.kind import MAX_ANSWER, Kind, Options
from appserver.aws.events.request import InvocationRequest, make_request
from appserver.http.fields import Fields

_KNOWN = frozenset(
    (
        "aws.context", "aws.event", "asgi", "client", "extensions", "headers", "http_version", "method", "path", "query_string",
        "raw_path", "root_path", "scheme", "server", "state", "type",
    )
)  # fmt: skip


class CustomHandlers:
    """Finds the handler of an event. They are made with (event, context, config), and have `scope`, `body` and `__call__`."""

    def __init__(self, classes: Sequence[Any], config: dict[str, Any]) -> None:
        self._classes = tuple(classes)
        self._config = config

    def recognise(self, event: Any, context: Any) -> Kind | None:
        for handler in self._classes:
            if handler.infer(event, context, self._config):
                return _Custom(handler(event, context, self._config))
        return None


class _Custom:
    """One handler, which knows one event."""

    streams = False

    def __init__(self, handler: Any) -> None:
        self._handler = handler
        self.name = type(handler).__name__

    def limit(self, event: dict[str, Any]) -> int:  # noqa: ARG002 - the form of a kind
        return MAX_ANSWER

    def read(self, event: dict[str, Any], options: Options) -> InvocationRequest:  # noqa: ARG002 - it knows the event
        scope: dict[str, Any] = self._handler.scope
        body = self._handler.body or b""
        pairs = [(bytes(name).decode("latin-1"), bytes(value).decode()) for name, value in scope["headers"]]
        path = quote(scope["path"], safe="/!$&'()*+,;=:@-._~")
        client = scope.get("client")
        request = make_request(
            scope["method"],
            path,
            scope.get("query_string", b""),
            pairs,
            body if isinstance(body, bytes) else str(body).encode(),
            client=client[0] if client else "",
        )
        request.scheme = scope.get("scheme", request.scheme)
        if scope.get("server"):
            request.server = tuple(scope["server"])
        request.extra = {name: value for name, value in scope.items() if name not in _KNOWN}
        return request

    def write(
        self,
        event: dict[str, Any],  # noqa: ARG002 - it knows the event
        status: int,
        fields: Fields,
        body: bytes,
        options: Options,  # noqa: ARG002 - it has its own
    ) -> dict[str, Any]:
        answer: dict[str, Any] = self._handler(
            {"status": status, "headers": [list(field) for field in fields], "body": body}
        )
        return answer

    def prelude(self, status: int, fields: Fields, options: Options) -> dict[str, Any]:
        raise NotImplementedError("custom handlers make whole answers only")
