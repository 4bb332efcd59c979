"""A Starlette application that uses what it has for long and interrupted responses.

It keeps a journal of what happened behind the scenes, for a client to read at /journal.
"""

from __future__ import annotations

import asyncio
import hashlib
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypedDict

from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.endpoints import WebSocketEndpoint
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.websockets import WebSocket

FILE_SIZE = 8 * 1024 * 1024

journal: list[str] = []


class State(TypedDict):
    released: asyncio.Event
    file: Path
    visits: int


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[State]:
    with tempfile.NamedTemporaryFile() as file:
        for number in range(FILE_SIZE // 4):
            file.write(number.to_bytes(4, "big"))
        file.flush()
        yield {"released": asyncio.Event(), "file": Path(file.name), "visits": 0}


async def read_journal(request: Request) -> Response:
    return JSONResponse(journal)


async def release(request: Request) -> Response:
    request.state.released.set()
    return PlainTextResponse("released")


async def describe(request: Request) -> Response:
    response = JSONResponse(
        {
            "method": request.method,
            "path": request.scope["path"],
            "raw_path": request.scope["raw_path"].decode(),
            "base_url": str(request.base_url),
            "query": request.query_params.multi_items(),
            "client": request.client.host if request.client else None,
            "http_version": request.scope["http_version"],
            "agent": request.headers.get("user-agent"),
            "cookies": request.cookies,
        }
    )
    response.set_cookie("one", "1")
    response.set_cookie("two", "2")
    return response


async def visit(request: Request) -> Response:
    # A scope's state is a copy: what a request changes in it, the next does not see.
    request.state.visits += 1
    return PlainTextResponse(str(request.state.visits))


async def digest(request: Request) -> Response:
    hasher, size = hashlib.sha256(), 0
    async for piece in request.stream():
        hasher.update(piece)
        size += len(piece)
    return JSONResponse({"size": size, "sha256": hasher.hexdigest()})


async def stream(request: Request) -> Response:
    async def pieces() -> AsyncIterator[bytes]:
        for number in range(request.path_params["count"]):
            yield b"piece %d\n" % number
            await asyncio.sleep(0)

    return StreamingResponse(pieces(), media_type="text/plain")


async def endless(request: Request) -> Response:
    async def pieces() -> AsyncIterator[bytes]:
        journal.append("endless opened")
        try:
            while True:
                yield b"x" * 65536
                await asyncio.sleep(0)
        finally:
            journal.append("endless closed")

    return StreamingResponse(pieces())


async def patient(request: Request) -> Response:
    journal.append("waiting for the client to leave")
    while not await request.is_disconnected():
        await asyncio.sleep(0.01)
    journal.append("the client left")
    return PlainTextResponse("nobody reads this")


async def background(request: Request) -> Response:
    async def work() -> None:
        journal.append("work started")
        await request.state.released.wait()
        journal.append("work done")

    return PlainTextResponse("accepted", status_code=202, background=BackgroundTask(work))


async def file(request: Request) -> Response:
    return FileResponse(request.state.file, media_type="application/octet-stream")


async def talk(websocket: WebSocket) -> None:
    """Echo, with the client's first subprotocol; "describe" and "leave" are answered in another way."""
    if "token" not in websocket.query_params:
        await websocket.send_denial_response(JSONResponse({"reason": "no token"}, status_code=401))
        return
    await websocket.accept(next(iter(websocket.scope["subprotocols"]), None), headers=[(b"x-greeting", b"hello")])
    try:
        while True:
            message = await websocket.receive()
            if message.get("text") == "describe":
                about = {name: websocket.scope[name] for name in ("path", "scheme", "root_path")}
                await websocket.send_json({**about, "client": list(websocket.scope["client"])[:1]})
            elif message.get("text") == "leave":
                await websocket.close(4001, "you asked for it")
            elif message.get("bytes") is not None:
                await websocket.send_bytes(message["bytes"])
            else:
                await websocket.send_text(message["text"])
    except (RuntimeError, KeyError):
        journal.append(f"session ended: {message['code']}")  # Starlette raises these after a disconnect


class Chat(WebSocketEndpoint):
    encoding = "json"

    async def on_receive(self, websocket: WebSocket, data: object) -> None:
        await websocket.send_json({"got": data})

    async def on_disconnect(self, websocket: WebSocket, close_code: int) -> None:
        journal.append(f"chat ended: {close_code}")


async def fail_session(websocket: WebSocket) -> None:
    await websocket.accept()
    raise RuntimeError("failed on purpose")


async def fail(request: Request) -> Response:
    raise RuntimeError("failed on purpose")


app = Starlette(
    lifespan=lifespan,
    routes=[
        Route("/journal", read_journal),
        Route("/release", release, methods=["POST"]),
        Route("/describe/{rest:path}", describe, methods=["GET", "PUT"]),
        Mount("/mounted", routes=[Route("/{rest:path}", describe)]),
        Route("/visit", visit),
        Route("/digest", digest, methods=["POST"]),
        Route("/stream/{count:int}", stream),
        Route("/endless", endless),
        Route("/patient", patient),
        Route("/background", background),
        Route("/file", file),
        Route("/fail", fail),
        Route("/slash/", describe),
        WebSocketRoute("/talk", talk),
        WebSocketRoute("/chat", Chat),
        WebSocketRoute("/fail-session", fail_session),
    ],
)
