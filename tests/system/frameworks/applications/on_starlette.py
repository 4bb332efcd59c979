"""Starlette."""

from contextlib import asynccontextmanager
from pathlib import Path

from starlette.applications import Starlette
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Route, WebSocketRoute


@asynccontextmanager
async def lifespan(app):
    yield {"greeting": "started"}
    Path("stopped").touch()


async def hello(request):
    return PlainTextResponse(request.state.greeting)


async def stream(request):
    async def pieces():
        for number in range(3):
            yield f"piece {number}\n"

    return StreamingResponse(pieces())


async def upload(request):
    async with request.form() as form:
        return PlainTextResponse(str(len(await form["file"].read())))


async def echo(session):
    await session.accept()
    await session.send_text(await session.receive_text())
    await session.close()


app = Starlette(
    lifespan=lifespan,
    routes=[
        Route("/hello", hello),
        Route("/stream", stream),
        Route("/upload", upload, methods=["POST"]),
        WebSocketRoute("/echo", echo),
    ],
)
