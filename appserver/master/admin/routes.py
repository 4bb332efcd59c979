"""The paths, and what each answers."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from appserver.errors import ControlError
from appserver.master.admin import page
from appserver.master.admin.operations import Operations, Watching

TEXT = "text/plain; charset=utf-8"
JSON = "application/json"
HTML = "text/html; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Answer:
    """A complete response."""

    status: int
    body: bytes
    content_type: str = TEXT
    fields: tuple[tuple[bytes, bytes], ...] = ()


@dataclass(frozen=True, slots=True)
class Request:
    """The parts of a request that a route may look at: the query, the members of the JSON object that was sent, and the Accept field."""

    query: Mapping[str, str] = field(default_factory=dict)
    body: Mapping[str, object] = field(default_factory=dict)
    accept: str = ""

    def integer(self, name: str) -> int | None:
        """A whole number out of the body; None where there is none. Raises BadRequestError for anything else."""
        value = self.body.get(name)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
            raise BadRequestError(f"{name}: expected a whole number")
        return value

    def flag(self, name: str) -> bool:
        """A boolean out of the body, false where there is none. Raises BadRequestError for anything else."""
        value = self.body.get(name, False)
        if not isinstance(value, bool):
            raise BadRequestError(f"{name}: expected true or false")
        return value

    def allow(self, *names: str) -> None:
        """Raise BadRequestError if the body has other members: a slip must not become another command."""
        unknown = self.body.keys() - set(names)
        if unknown:
            raise BadRequestError(
                f"{', '.join(sorted(unknown))}: unknown; expected {' or '.join(names) or 'no members'}"
            )


class BadRequestError(Exception):
    """The request does not say what is wanted, in the form that it is wanted in."""


@dataclass(frozen=True, slots=True)
class Look:
    """A GET route: its function is given what can be watched, and nothing that acts."""

    method: ClassVar = "GET"
    answer: Callable[[Watching, Request], Awaitable[Answer]]


@dataclass(frozen=True, slots=True)
class Order:
    """A POST route: its function has the master do something."""

    method: ClassVar = "POST"
    answer: Callable[[Operations, Request], Awaitable[Answer]]


def text(status: int, message: str) -> Answer:
    return Answer(status, f"{message}\n".encode())


def data(status: int, value: object) -> Answer:
    return Answer(status, json.dumps(value).encode() + b"\n", JSON)


async def _page(view: Watching, _request: Request) -> Answer:
    if not view.has_page():
        return text(404, "the status page is switched off (admin.page)")
    fields = ((b"content-security-policy", page.POLICY), (b"x-content-type-options", b"nosniff"))
    return Answer(200, page.render(view.status(), view.unreadiness()), HTML, fields)


async def _livez(_view: Watching, _request: Request) -> Answer:
    return text(200, "alive")


async def _readyz(view: Watching, _request: Request) -> Answer:
    reason = view.unreadiness()
    return text(200, "ready") if reason is None else text(503, reason)


async def _status(view: Watching, _request: Request) -> Answer:
    return data(200, view.status())


async def _metrics(view: Watching, request: Request) -> Answer:
    exposition = await view.metrics(request.accept)
    return Answer(200, exposition.body, exposition.content_type)


async def _activity(view: Watching, _request: Request) -> Answer:
    return data(200, view.activity())


async def _stacks(view: Watching, request: Request) -> Answer:
    number = request.query.get("worker")
    if number is not None and not (number.isascii() and number.isdigit() and len(number) < 10):
        raise BadRequestError("worker: expected the number of a worker")
    return data(200, {"workers": await view.stacks(None if number is None else int(number))})


async def _reload(master: Operations, request: Request) -> Answer:
    request.allow()
    outcome = await master.reload()
    fields = {"result": outcome.result, "reason": outcome.reason, "generation": outcome.generation}
    return data(200 if outcome.result == "ok" else 409, fields)


async def _scale(master: Operations, request: Request) -> Answer:
    request.allow("count", "delta")
    count, delta = request.integer("count"), request.integer("delta")
    if (count is None) == (delta is None):
        raise BadRequestError('expected {"count": N}, or {"delta": 1} or {"delta": -1}')
    if count is not None and count < 1:
        raise BadRequestError(f"count: {count}: expected at least 1 worker")
    return data(200, master.scale(count, delta or 0))


async def _stop(master: Operations, request: Request) -> Answer:
    request.allow("now")
    master.stop(now=request.flag("now"))
    return data(202, {"state": "stopping"})


async def _reopen_logs(master: Operations, request: Request) -> Answer:
    request.allow()
    if problems := master.reopen_logs():
        raise ControlError("\n".join(map(str, problems)))
    return data(200, {"result": "ok"})


async def _upgrade(master: Operations, request: Request) -> Answer:
    request.allow()
    return data(200, {"result": "ok", "reason": await master.upgrade()})


WATCHING: Mapping[str, Look] = {
    "/": Look(_page),
    "/livez": Look(_livez),
    "/readyz": Look(_readyz),
    "/status": Look(_status),
    "/metrics": Look(_metrics),
}
"""Routes for anybody who can reach `admin.bind`."""

CONTROLLING: Mapping[str, Look | Order] = {
    "/reload": Order(_reload),
    "/scale": Order(_scale),
    "/stop": Order(_stop),
    "/reopen-logs": Order(_reopen_logs),
    "/upgrade": Order(_upgrade),
    "/stacks": Look(_stacks),
    "/activity": Look(_activity),
}
"""Routes that change the server, or show the inside of the application: for the control socket alone."""
