"""The ASGI application that most tests serve, without dependencies. Its first path segment says what it does.

/                 "hello"
/pid              the process id of the worker
/version          the value of VERSION; a test that deploys new code rewrites that line
/sleep/SECONDS    answers "slept" after that long
/block/SECONDS    the same, blocking the event loop
/stream/N         N pieces of 1,000 octets, chunked, with a short pause between them
/echo             the request body, piece by piece
/octets/N         a body of N octets
/digest, /upload  the SHA-256 of the request body, when it is complete
/raise            raises RuntimeError
/exit/CODE        ends the worker from inside the request
/env/NAME         the environment variable
/ids              "UID GID GROUPS" of the worker
/state            what the lifespan start-up left in the scope's state
/scope            what the request is about, as JSON: client, server, scheme, path, host, the tls extension …
/log/TEXT         logs TEXT through the standard library

A WebSocket session echoes every message, and logs the code and the reason with which it ends; its path may be

/session          just that
/session/flood    sends 64 KiB again and again
/session/deaf     takes no message
/session/linger   takes half a second after the end
/session/scope    begins with what /scope would answer
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import os
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

VERSION = "1"

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


async def app(scope: Message, receive: Receive, send: Send) -> None:
    """Answer HTTP requests and take part in the lifespan."""
    if scope["type"] == "lifespan":
        await _lifespan(scope, receive, send)
        return
    if scope["type"] == "websocket":
        await _serve_session(scope, receive, send)
        return
    assert scope["type"] == "http", scope["type"]
    _, action, *rest = scope["path"].removeprefix(scope["root_path"]).split("/", 2)
    argument = rest[0] if rest else ""
    if action == "echo":
        await _echo(receive, send)
    elif action == "octets":
        await _respond(send, b"x" * int(argument))
    elif action in ("digest", "upload"):
        await _respond(send, (await _digest(receive)).encode())
    elif action == "stream":
        await _stream(int(argument), send)
    else:
        await _respond(send, str(await _answer(action, argument, scope)).encode())


async def _answer(action: str, argument: str, scope: Message) -> object:
    if action == "sleep":
        await asyncio.sleep(float(argument))
        return "slept"
    if action == "block":
        time.sleep(float(argument))  # noqa: ASYNC251 - blocking the event loop is what is asked for
        return "slept"
    if action == "raise":
        raise RuntimeError("the application was asked to raise")
    if action == "exit":
        os._exit(int(argument))
    if action == "log":
        logging.getLogger("application").warning(argument)
        return "logged"
    answers: dict[str, Callable[[], object]] = {
        "": lambda: "hello",
        "pid": os.getpid,
        "version": lambda: VERSION,
        "env": lambda: os.environ.get(argument, ""),
        "ids": lambda: f"{os.getuid()} {os.getgid()} {sorted(os.getgroups())}",
        "scope": lambda: json.dumps(_describe(scope)),
        "state": lambda: scope.get("state", {}).get("started_in"),
    }
    return answers[action]()


def _describe(scope: Message) -> dict[str, Any]:
    names = ("type", "client", "server", "scheme", "root_path", "path", "http_version")
    fields = {name.decode(): value.decode("latin-1") for name, value in scope["headers"]}
    return {name: scope[name] for name in names} | {"headers": fields, "tls": scope["extensions"].get("tls")}


async def _respond(send: Send, body: bytes) -> None:
    headers = [(b"content-type", b"text/plain"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _echo(receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        more = message.get("more_body", False)
        await send({"type": "http.response.body", "body": message.get("body", b""), "more_body": more})


async def _digest(receive: Receive) -> str:
    digest, more = hashlib.sha256(), True
    while more:
        message = await receive()
        digest.update(message.get("body", b""))
        more = message.get("more_body", False)
    return digest.hexdigest()


async def _serve_session(scope: Message, receive: Receive, send: Send) -> None:
    kind = scope["path"].removeprefix("/session").lstrip("/")
    await receive()
    await send({"type": "websocket.accept"})
    if kind == "scope":
        await send({"type": "websocket.send", "text": json.dumps(_describe(scope))})
    if kind == "deaf":
        await asyncio.Event().wait()
    try:
        while kind == "flood":
            await send({"type": "websocket.send", "bytes": bytes(65536)})
    except OSError as error:
        logging.getLogger("application").warning("flood ended: %s", type(error).__name__)
    while (message := await receive())["type"] == "websocket.receive":
        await send({**message, "type": "websocket.send"})
    if kind == "linger":
        await asyncio.sleep(0.5)
    logging.getLogger("application").warning("session ended: %s %s", message["code"], message["reason"])


async def _stream(pieces: int, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    for _ in range(pieces):
        await send({"type": "http.response.body", "body": b"x" * 1000, "more_body": True})
        await asyncio.sleep(0.01)
    await send({"type": "http.response.body"})


async def _lifespan(scope: Message, receive: Receive, send: Send) -> None:
    await receive()
    scope["state"]["started_in"] = os.getpid()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    logging.getLogger("application").warning("lifespan shutdown")
    await send({"type": "lifespan.shutdown.complete"})
