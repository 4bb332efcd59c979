"""A master that only notes what it is asked, and a way to ask the admin application over it."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any

from appserver.asgi.types import Message
from appserver.errors import ControlError, Problem
from appserver.master.admin.application import AdminApplication, Control, Denial
from appserver.master.admin.operations import NoSuchWorkerError
from appserver.master.reload_outcomes import ReloadOutcome
from appserver.telemetry.metrics import Exposition

READY = {
    "version": "1.0", "pid": 1, "state": "serving", "generation": 1, "started_at": None, "listeners": [], "last_reload": None,
    "workers": [], "deadly_requests": [],
}  # fmt: skip


@dataclass
class FakeMaster:
    """The `Watching` and the `Operations` of a master."""

    reason: str | None = None
    outcome: ReloadOutcome = field(default_factory=lambda: ReloadOutcome("ok", "generation 2 serves", 2))
    stopping: bool = False
    page: bool = True
    unusable: list[Problem] = field(default_factory=list)
    asked: list[tuple[object, ...]] = field(default_factory=list)

    def status(self) -> dict[str, Any]:
        return dict(READY)

    def has_page(self) -> bool:
        return self.page

    def activity(self) -> dict[str, Any]:
        return {**READY, "durations": [1, 2]}

    async def metrics(self, accept: str) -> Exposition:
        return Exposition(b"appserver_generation 2.0\n", accept or "text/plain")

    def unreadiness(self) -> str | None:
        return self.reason

    async def reload(self) -> ReloadOutcome:
        self.asked.append(("reload",))
        return self.outcome

    def scale(self, count: int | None, delta: int) -> dict[str, int]:
        if self.stopping:
            raise ControlError("the server is stopping")
        self.asked.append(("scale", count, delta))
        return {"count": 3, "before": 2}

    def stop(self, *, now: bool) -> None:
        self.asked.append(("stop", now))

    def reopen_logs(self) -> list[Problem]:
        self.asked.append(("reopen-logs",))
        return self.unusable

    async def upgrade(self) -> str:
        self.asked.append(("upgrade",))
        return "the new program takes over"

    async def stacks(self, number: int | None) -> list[dict[str, Any]]:
        self.asked.append(("stacks", number))
        if number == 9:
            raise NoSuchWorkerError("there is no worker 9; there are: 1")
        return [{"id": 1, "threads": "here", "tasks": "there"}]


@dataclass(frozen=True)
class Answered:
    status: int
    headers: dict[str, str]
    text: str

    @property
    def data(self) -> Any:
        assert self.headers["content-type"] == "application/json"
        return json.loads(self.text)


def anybody(_client: tuple[str, int]) -> str | None:
    return None


def ask(
    master: FakeMaster,
    method: str,
    target: str,
    body: bytes = b"",
    *,
    denial: Denial | None = anybody,
    accept: str = "",
    breaks_off: bool = False,
) -> Answered:
    """Send a request to the application of the control socket; with `denial=None`, of `admin.bind`."""
    path, _, query = target.partition("?")
    scope = {
        "type": "http", "method": method, "path": path, "query_string": query.encode(), "client": ("0", 1),
        "headers": [(b"accept", accept.encode())] if accept else [],
    }  # fmt: skip
    pieces = [body[:3], body[3:]]
    sent: list[Message] = []

    async def receive() -> Message:
        if breaks_off:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": pieces.pop(0), "more_body": bool(pieces)}

    async def send(message: Message) -> None:
        sent.append(message)

    control = None if denial is None else Control(master, denial)
    asyncio.run(AdminApplication(master, control)(scope, receive, send))
    start, end = sent
    headers = {name.decode(): value.decode() for name, value in start["headers"]}
    assert int(headers["content-length"]) == len(end["body"])
    return Answered(start["status"], headers, end["body"].decode())
