"""The ASGI application of the conformance tests: it answers what it saw, remembers it, or misbehaves as it is told.

a WebSocket session   every message, sent back
any other path        what the request was: method, path, raw_path, query, http_version, headers, body, its size, hash
/__seen/TOKEN         the requests seen whose target holds TOKEN: target, method, complete, size
/__state/KEY          what a handler has noted under KEY, with this process's memory and id
/sleep/SECONDS/…      answers after that time
/ignore/…             answers without calling receive
/late/SECONDS/…       calls receive only after that time
/huge/OCTETS/KEY      that many octets in pieces of 64 KiB; KEY: how many `send` has taken, KEY-done: it has ended
/stream/N             N pieces, without content-length
/wait/KEY             waits for http.disconnect; KEY: "waiting", then "disconnected"
/status/CODE[-body]   that status; with "-body" sends a body that must not be there
/inject/KIND          tries to send a malformed header
/raise/KIND           raises: before the start, after it, within a body
/break/KIND           breaks the contract of ASGI or HTTP
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
from collections import deque
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Handler = Callable[[Message, Receive, Send, list[str], "Seen"], Awaitable[None]]
Seen = dict[str, Any]

SEEN: deque[Seen] = deque(maxlen=5000)
STATE: dict[str, Any] = {}

START: Message = {"type": "http.response.start", "status": 200, "headers": []}
BODY: Message = {"type": "http.response.body", "body": b"0123456789"}


async def app(scope: Message, receive: Receive, send: Send) -> None:
    """Take part in the lifespan, and answer HTTP requests."""
    if scope["type"] == "lifespan":
        for _ in range(2):
            message = await receive()
            await send({"type": message["type"] + ".complete"})
        return
    if scope["type"] == "websocket":
        await echo_messages(receive, send)
        return
    assert scope["type"] == "http", scope["type"]
    _, action, *arguments = scope["path"].split("/") if scope["path"].startswith("/") else ["", ""]
    target = scope["raw_path"].decode("latin-1")
    seen: Seen = {"target": target, "method": scope["method"], "complete": False, "size": 0}
    if not action.startswith("__"):
        SEEN.append(seen)
    await HANDLERS.get(action, echo)(scope, receive, send, arguments, seen)


async def echo_messages(receive: Receive, send: Send) -> None:
    """Send every WebSocket message back."""
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        await send({**message, "type": "websocket.send"})


async def read(receive: Receive, seen: Seen) -> bytes | None:
    """Read the whole body; None if the client went away."""
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        body += message.get("body", b"")
        seen["size"] = len(body)
        if not message.get("more_body"):
            seen["complete"] = True
            return bytes(body)


async def answer(send: Send, value: object, *headers: tuple[bytes, bytes]) -> None:
    """Send a value as JSON."""
    body = json.dumps(value).encode()
    await send({**START, "headers": [(b"content-length", b"%d" % len(body)), *headers]})
    await send({**BODY, "body": body})


async def echo(scope: Message, receive: Receive, send: Send, _arguments: list[str], seen: Seen) -> None:
    body = await read(receive, seen)
    if body is None:
        return
    headers = [[name.decode("latin-1"), value.decode("latin-1")] for name, value in scope["headers"]]
    await answer(
        send,
        {
            "method": scope["method"],
            "path": scope["path"],
            "raw_path": scope["raw_path"].decode("latin-1"),
            "query": scope["query_string"].decode("latin-1"),
            "http_version": scope["http_version"],
            "headers": headers,
            "body": body[:4096].decode("latin-1"),
            "size": len(body),
            "sha256": hashlib.sha256(body).hexdigest(),
        },
    )


async def tell_seen(_scope: Message, _receive: Receive, send: Send, arguments: list[str], _seen: Seen) -> None:
    await answer(send, [seen for seen in SEEN if arguments[0] in seen["target"]])


async def tell_state(_scope: Message, _receive: Receive, send: Send, arguments: list[str], _seen: Seen) -> None:
    with open("/proc/self/statm") as statm:  # noqa: ASYNC230, PTH123 - a line of the kernel's
        resident = int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    await answer(send, {"value": STATE.get(arguments[0]), "resident": resident, "pid": os.getpid()})


async def sleep(scope: Message, receive: Receive, send: Send, arguments: list[str], seen: Seen) -> None:
    await asyncio.sleep(float(arguments[0]))
    await echo(scope, receive, send, arguments, seen)


async def ignore(_scope: Message, _receive: Receive, send: Send, _arguments: list[str], _seen: Seen) -> None:
    await answer(send, "ignored")


async def late(_scope: Message, receive: Receive, send: Send, arguments: list[str], seen: Seen) -> None:
    await asyncio.sleep(float(arguments[0]))
    if await read(receive, seen) is not None:
        await answer(send, seen["size"])


async def huge(_scope: Message, _receive: Receive, send: Send, arguments: list[str], _seen: Seen) -> None:
    left, key, piece = int(arguments[0]), arguments[1], b"x" * 65536
    STATE[key] = 0
    await send({**START, "headers": [(b"content-length", arguments[0].encode())]})
    try:
        while left:
            size = min(left, len(piece))
            left -= size
            await send({**BODY, "body": piece[:size], "more_body": left > 0})
            STATE[key] += size
    finally:
        STATE[key + "-done"] = True


async def stream(_scope: Message, receive: Receive, send: Send, arguments: list[str], seen: Seen) -> None:
    await read(receive, seen)
    await send(START)
    for number in range(int(arguments[0])):
        await send({**BODY, "body": b"piece %d\n" % number, "more_body": True})
        await asyncio.sleep(0)
    await send({**BODY, "body": b""})


async def wait(_scope: Message, receive: Receive, _send: Send, arguments: list[str], _seen: Seen) -> None:
    STATE[arguments[0]] = "waiting"
    while (await receive())["type"] != "http.disconnect":
        pass
    STATE[arguments[0]] = "disconnected"


async def status(_scope: Message, receive: Receive, send: Send, arguments: list[str], seen: Seen) -> None:
    code, _, wrong = arguments[0].partition("-")
    await read(receive, seen)
    await send({**START, "status": int(code), "headers": [(b"x-app", b"1")]})
    await send({**BODY, "body": b"WRONG" if wrong else b""})


async def inject(_scope: Message, receive: Receive, send: Send, arguments: list[str], seen: Seen) -> None:
    await read(receive, seen)
    header = {
        "value-crlf": (b"x-inj", b"a\r\nx-injected: yes"),
        "value-split": (b"x-inj", b"a\r\n\r\nHTTP/1.1 200 OK\r\nx-injected: yes\r\ncontent-length: 0\r\n\r\n"),
        "value-lf": (b"x-inj", b"a\nx-injected: yes"),
        "value-cr": (b"x-inj", b"a\rx-injected: yes"),
        "value-nul": (b"x-inj", b"a\x00b"),
        "name-crlf": (b"x-inj: a\r\nx-injected", b"yes"),
        "name-colon": (b"x-injected: yes\r\na", b"b"),
        "name-space": (b"x inj", b"yes"),
        "name-empty": (b"", b"x-injected"),
    }[arguments[0]]
    await answer(send, "injected", header)


async def fail(_scope: Message, receive: Receive, send: Send, arguments: list[str], seen: Seen) -> None:
    await read(receive, seen)
    if arguments[0] != "before":
        length = [(b"content-length", b"100")] if arguments[0] == "within-length" else []
        await send({**START, "headers": length})
        if arguments[0] != "after-start":
            await send({**BODY, "more_body": True})
    raise RuntimeError(f"asked to raise: {arguments[0]}")


BREACHES: dict[str, list[Message]] = {
    "nothing": [],
    "start-only": [START],
    "more-body": [START, {**BODY, "more_body": True}],
    "short": [{**START, "headers": [(b"content-length", b"20")]}, BODY],
    "long": [{**START, "headers": [(b"content-length", b"5")]}, BODY],
    "coding-and-length": [{**START, "headers": [(b"content-length", b"10"), (b"transfer-encoding", b"chunked")]}, BODY],
    "two-lengths": [{**START, "headers": [(b"content-length", b"10"), (b"content-length", b"7")]}, BODY],
    "coding": [{**START, "headers": [(b"transfer-encoding", b"chunked")]}, BODY],
    "two-starts": [START, START, BODY],
    "body-first": [BODY],
    "close": [{**START, "headers": [(b"content-length", b"10"), (b"connection", b"close")]}, BODY],
}


async def breach(_scope: Message, receive: Receive, send: Send, arguments: list[str], seen: Seen) -> None:
    await read(receive, seen)
    for message in BREACHES[arguments[0]]:
        await send(message)


HANDLERS: dict[str, Handler] = {
    "__seen": tell_seen,
    "__state": tell_state,
    "sleep": sleep,
    "ignore": ignore,
    "late": late,
    "huge": huge,
    "stream": stream,
    "wait": wait,
    "status": status,
    "inject": inject,
    "raise": fail,
    "break": breach,
}
