"""The same site by three frameworks under trio: Starlette and FastAPI, which stand on anyio, and Quart by quart-trio."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import quart
import sniffio
import trio
from fastapi import BackgroundTasks, FastAPI, Request, WebSocket, WebSocketDisconnect
from fastapi.responses import StreamingResponse
from quart_trio import QuartTrio
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.requests import Request as StarletteRequest
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, WebSocketRoute

journal: list[str] = []


@asynccontextmanager
async def lifespan(_: Any) -> AsyncIterator[dict[str, object]]:
    async with trio.open_nursery() as nursery:
        journal.append(f"started under {sniffio.current_async_library()}")
        yield {"nursery": nursery}
        nursery.cancel_scope.cancel()


async def work() -> str:
    """What an application does for a request: tasks, a thread, time."""
    found: list[int] = []

    async def one(number: int) -> None:
        await trio.sleep(0.001)
        found.append(await trio.to_thread.run_sync(lambda: number * number))

    async with trio.open_nursery() as nursery:
        for number in range(5):
            nursery.start_soon(one, number)
    return f"{sum(found)} under {sniffio.current_async_library()}"


async def parts() -> AsyncIterator[bytes]:
    for _ in range(100):
        yield b"x" * 65536
        await trio.lowlevel.checkpoint()
    yield b"end"


async def ticks() -> AsyncIterator[bytes]:
    try:
        while True:
            yield b"data: tick\n\n"
            await trio.sleep(0.02)
    finally:
        journal.append("ticks over")


async def later(text: str) -> None:
    await trio.sleep(0.02)
    journal.append(text)


# Starlette, with a middleware whose tasks and cancel scopes are anyio's.


async def starlette_work(request: StarletteRequest) -> Response:
    return JSONResponse(await work(), background=BackgroundTask(later, "background"))


async def starlette_upload(request: StarletteRequest) -> Response:
    return JSONResponse(sum([len(part) async for part in request.stream()]))


async def starlette_echo(websocket: WebSocket) -> None:
    await websocket.accept()
    try:
        while True:
            await websocket.send_text((await websocket.receive_text()).upper())
    except WebSocketDisconnect:
        journal.append("session over")


async def pass_on(request: StarletteRequest, call_next: Callable[..., Any]) -> Response:
    response: Response = await call_next(request)
    response.headers["x-passed"] = "yes"
    return response


async def fail(request: StarletteRequest) -> Response:
    raise ValueError("on purpose")


async def starlette_journal(request: StarletteRequest) -> Response:
    return JSONResponse(journal)


async def starlette_parts(request: StarletteRequest) -> Response:
    return StreamingResponse(parts())


async def starlette_ticks(request: StarletteRequest) -> Response:
    return StreamingResponse(ticks(), media_type="text/event-stream")


on_starlette = Starlette(
    lifespan=lifespan,
    routes=[
        Route("/work", starlette_work),
        Route("/upload", starlette_upload, methods=["POST"]),
        Route("/parts", starlette_parts),
        Route("/ticks", starlette_ticks),
        Route("/fail", fail),
        Route("/journal", starlette_journal),
        WebSocketRoute("/echo", starlette_echo),
    ],
)
on_starlette.add_middleware(BaseHTTPMiddleware, dispatch=pass_on)

# FastAPI

on_fastapi = FastAPI(lifespan=lifespan)


@on_fastapi.get("/work")
async def fastapi_work(tasks: BackgroundTasks) -> str:
    tasks.add_task(later, "background")
    return await work()


@on_fastapi.post("/upload")
async def fastapi_upload(request: Request) -> int:
    return sum([len(part) async for part in request.stream()])


@on_fastapi.get("/parts")
async def fastapi_parts() -> StreamingResponse:
    return StreamingResponse(parts())


@on_fastapi.get("/ticks")
async def fastapi_ticks() -> StreamingResponse:
    return StreamingResponse(ticks(), media_type="text/event-stream")


@on_fastapi.get("/fail")
def fastapi_fail() -> None:  # in a thread
    raise ValueError("on purpose")


@on_fastapi.get("/journal")
def fastapi_journal() -> list[str]:  # in a thread
    return journal


on_fastapi.websocket("/echo")(starlette_echo)

# Quart

on_quart = QuartTrio(__name__)


@on_quart.before_serving
async def begin() -> None:
    journal.append(f"started under {sniffio.current_async_library()}")


@on_quart.route("/work")
async def quart_work() -> quart.Response:
    on_quart.add_background_task(later, "background")
    return quart.jsonify(await work())


@on_quart.route("/upload", methods=["POST"])
async def quart_upload() -> quart.Response:
    return quart.jsonify(len(await quart.request.get_data()))


@on_quart.route("/parts")
async def quart_parts() -> AsyncIterator[bytes]:
    return parts()


@on_quart.route("/ticks")
async def quart_ticks() -> quart.Response:
    response = quart.Response(ticks(), content_type="text/event-stream")
    response.timeout = None
    return response


@on_quart.route("/fail")
async def quart_fail() -> str:
    raise ValueError("on purpose")


@on_quart.route("/journal")
async def quart_journal() -> quart.Response:
    return quart.jsonify(journal)


@on_quart.websocket("/echo")
async def quart_echo() -> None:
    try:
        while True:
            await quart.websocket.send((await quart.websocket.receive()).upper())
    except Exception as error:  # its class is one that older releases of Quart do not have
        if type(error).__name__ != "ClientDisconnectedError":
            raise
    finally:
        journal.append("session over")
