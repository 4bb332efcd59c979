"""The ASGI application of the master: from a request to the answer of its route."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl

from appserver.asgi.types import Receive, Scope, Send
from appserver.errors import ControlError
from appserver.master.admin.operations import NoSuchWorkerError, Operations, Watching
from appserver.master.admin.routes import CONTROLLING, WATCHING, Answer, BadRequestError, Look, Order, Request, text

Denial = Callable[[tuple[str, int]], str | None]


@dataclass(frozen=True, slots=True)
class Control:
    """The orders that are taken, and from whom: `denial` says why a client may not give any."""

    operations: Operations
    denial: Denial


class AdminApplication:
    """Serves the paths that are for watching; with `control`, those for controlling as well."""

    def __init__(self, view: Watching, control: Control | None = None) -> None:
        self._view = view
        self._control = control
        self._routes = WATCHING if control is None else {**WATCHING, **CONTROLLING}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        answer = await self._answer(scope, receive)
        headers = [
            (b"content-type", answer.content_type.encode()),
            (b"content-length", b"%d" % len(answer.body)),
            (b"cache-control", b"no-store"),
            *answer.fields,
        ]
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await send({"type": "http.response.body", "body": answer.body})

    async def _answer(self, scope: Scope, receive: Receive) -> Answer:
        if self._control is not None and (reason := self._control.denial(scope["client"])):
            return text(403, reason)
        path = scope["path"]
        route = self._routes.get(path)
        if route is None:
            return self._no_route(path)
        allowed = ("GET", "HEAD") if route.method == "GET" else (route.method,)
        if scope["method"] not in allowed:
            refusal = text(405, f"{path} answers {' and '.join(allowed)}, not {scope['method']}")
            return Answer(405, refusal.body, fields=((b"allow", ", ".join(allowed).encode()),))
        return await self._ask(route, scope, receive)

    def _no_route(self, path: str) -> Answer:
        if path in CONTROLLING:
            return text(
                403, f"{path} is for the control socket (admin.control) alone, not for this address (admin.bind)"
            )
        return text(
            404, "not found; there are:\n" + "\n".join(f"{route.method} {name}" for name, route in self._routes.items())
        )

    async def _ask(self, route: Look | Order, scope: Scope, receive: Receive) -> Answer:
        try:
            query = dict(parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True))
            accept = b",".join(value for name, value in scope["headers"] if name == b"accept").decode("latin-1")
            if isinstance(route, Look):
                return await route.answer(self._view, Request(query, accept=accept))
            assert self._control is not None
            return await route.answer(self._control.operations, Request(query, await _read_object(receive), accept))
        except BadRequestError as error:
            return text(400, str(error))
        except NoSuchWorkerError as error:
            return text(404, str(error))
        except ControlError as error:
            return text(409, str(error))


async def _read_object(receive: Receive) -> Mapping[str, object]:
    """The JSON object that the request carries; an empty body is an empty object. Raises BadRequestError."""
    body = b""
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise BadRequestError("the connection ended within the request")
        body += message.get("body", b"")
        more = message.get("more_body", False)
    try:
        value = json.loads(body) if body.strip() else {}
    except (ValueError, RecursionError) as error:
        raise BadRequestError(f"expected a JSON object ({error})") from None
    if not isinstance(value, dict):
        raise BadRequestError("expected a JSON object")
    return value
