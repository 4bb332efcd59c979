"""What the servers serve. Loaded by each of them in its own environment, so: no imports that only one workload needs."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

HELLO = b"Hello, world!"
HELLO_HEADERS = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", b"13")]
PIECE = bytes(65536)
GIB = 1 << 30
FILES = Path(tempfile.gettempdir(), "appserver-benchmarks")
"""Where files are that are served, each named by its size."""


async def hello(scope: Message, receive: Receive, send: Send) -> None:
    """Greet, in the two messages that every framework sends."""
    if scope["type"] == "lifespan":
        await lifespan(receive, send)
        return
    await send({"type": "http.response.start", "status": 200, "headers": HELLO_HEADERS})
    await send({"type": "http.response.body", "body": HELLO})


async def websocket_echo(scope: Message, receive: Receive, send: Send) -> None:
    """Send every WebSocket message back."""
    if scope["type"] != "websocket":
        await hello(scope, receive, send)
        return
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": message["text"]})


async def echo(scope: Message, receive: Receive, send: Send) -> None:
    """Answer with the request body, read to its end first."""
    if scope["type"] == "lifespan":
        await lifespan(receive, send)
        return
    parts = []
    more = True
    while more:
        message = await receive()
        parts.append(message.get("body", b""))
        more = message.get("more_body", False)
    body = b"".join(parts)
    headers = [(b"content-type", b"application/octet-stream"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def discard(scope: Message, receive: Receive, send: Send) -> None:
    """Read the request body and keep nothing of it."""
    if scope["type"] == "lifespan":
        await lifespan(receive, send)
        return
    while (await receive()).get("more_body", False):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": HELLO_HEADERS})
    await send({"type": "http.response.body", "body": HELLO})


async def download(scope: Message, receive: Receive, send: Send) -> None:
    """Send 1 MiB in sixteen messages."""
    if scope["type"] == "lifespan":
        await lifespan(receive, send)
        return
    headers = [(b"content-type", b"application/octet-stream"), (b"content-length", b"1048576")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    for left in range(15, -1, -1):
        await send({"type": "http.response.body", "body": PIECE, "more_body": left > 0})


async def file(scope: Message, receive: Receive, send: Send) -> None:
    """Send the file that has as many octets as the path says, by the kernel's copy."""
    if scope["type"] == "lifespan":
        await lifespan(receive, send)
        return
    name = scope["path"].strip("/")
    headers = [(b"content-type", b"application/octet-stream"), (b"content-length", name.encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.pathsend", "path": str(FILES / name)})


async def identify(scope: Message, receive: Receive, send: Send) -> None:
    """Answer with the id of the process."""
    if scope["type"] == "lifespan":
        await lifespan(receive, send)
        return
    body = str(os.getpid()).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})


async def burden(scope: Message, receive: Receive, send: Send) -> None:
    """Greet; at /flood send 1 GiB, at /ignore wait for ever without reading the body."""
    if scope["type"] == "websocket":
        await websocket_echo(scope, receive, send)
        return
    if scope["type"] == "lifespan":
        await lifespan(receive, send)
    elif scope["path"] == "/flood":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for left in range(GIB // len(PIECE) - 1, -1, -1):
            await send({"type": "http.response.body", "body": PIECE, "more_body": left > 0})
    elif scope["path"] == "/ignore":
        await asyncio.Event().wait()
    else:
        await hello(scope, receive, send)


async def lifespan(receive: Receive, send: Send) -> None:
    """Start and end without doing anything."""
    await receive()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await send({"type": "lifespan.shutdown.complete"})
