"""FastAPI."""

from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI, Request, UploadFile, WebSocket
from fastapi.responses import PlainTextResponse, StreamingResponse


@asynccontextmanager
async def lifespan(app: FastAPI):
    yield {"greeting": "started"}
    Path("stopped").touch()


app = FastAPI(lifespan=lifespan)


@app.get("/hello")
def hello(request: Request):
    return PlainTextResponse(request.state.greeting)


@app.get("/stream")
async def stream():
    return StreamingResponse(f"piece {number}\n" for number in range(3))


@app.post("/upload")
async def upload(file: UploadFile):
    return PlainTextResponse(str(len(await file.read())))


@app.websocket("/echo")
async def echo(session: WebSocket):
    await session.accept()
    await session.send_text(await session.receive_text())
    await session.close()
