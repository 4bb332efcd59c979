"""appserver.asgi.asgi2: the double callable as a single one."""

from __future__ import annotations

import asyncio

from appserver.asgi.asgi2 import ASGI2Adapter
from appserver.asgi.types import Message, Receive, Scope, Send


class Recorder:
    """An application of ASGI 2.0 that notes what it was called with and answers."""

    scopes: list[Scope]

    def __init__(self, scope: Scope) -> None:
        self.scope = scope

    async def __call__(self, receive: Receive, send: Send) -> None:
        await send({"version": self.scope["asgi"]["version"], "request": await receive()})


async def receive() -> Message:
    return {"type": "http.request"}


def test_one_call_becomes_two_and_the_scope_says_asgi_2() -> None:
    sent: list[Message] = []
    shared = {"version": "3.0", "spec_version": "2.5"}

    async def send(message: Message) -> None:
        sent.append(message)

    asyncio.run(ASGI2Adapter(Recorder)({"type": "http", "asgi": shared}, receive, send))
    assert sent == [{"version": "2.0", "request": {"type": "http.request"}}]
    assert shared == {"version": "3.0", "spec_version": "2.5"}, "the dictionary that other scopes share has changed"
