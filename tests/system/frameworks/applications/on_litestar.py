"""Litestar."""

from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated

from litestar import Litestar, Request, WebSocket, get, post, websocket
from litestar.datastructures import UploadFile
from litestar.enums import MediaType, RequestEncodingType
from litestar.params import Body
from litestar.response import Stream


@asynccontextmanager
async def lifespan(app: Litestar):
    app.state.greeting = "started"
    yield
    Path("stopped").touch()


@get("/hello", media_type=MediaType.TEXT)
async def hello(request: Request) -> str:
    return request.app.state.greeting


@get("/stream")
async def stream() -> Stream:
    async def pieces():
        for number in range(3):
            yield f"piece {number}\n"

    return Stream(pieces())


@post("/upload", media_type=MediaType.TEXT, status_code=200)
async def upload(
    data: Annotated[dict[str, UploadFile], Body(media_type=RequestEncodingType.MULTI_PART)],
) -> str:
    return str(len(await data["file"].read()))


@websocket("/echo")
async def echo(socket: WebSocket) -> None:
    await socket.accept()
    await socket.send_text(await socket.receive_text())
    await socket.close()


# By itself it starts a thread for its log, with which it cannot be preloaded.
app = Litestar([hello, stream, upload, echo], lifespan=[lifespan], logging_config=None)
