"""Streams of an application without a framework, which never asks what its client does."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import aclosing

from appserver.asgi.types import Receive, Scope, Send
from tests.integration.frameworks.applications.leaving import record


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] != "http":
        raise NotImplementedError(scope["type"])
    streams = {"/feed": record.feed, "/flood": record.flood}
    if scope["path"] in streams:
        await stream(streams[scope["path"]](), send)
        return
    if scope["path"] == "/compute":
        await record.compute()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": json.dumps(record.snapshot()).encode()})


async def stream(pieces: AsyncIterator[bytes], send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    async with aclosing(pieces) as pieces:  # type: ignore[type-var]  # they are generators
        async for piece in pieces:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
