"""Quart."""

from pathlib import Path

from quart import Quart, request, websocket

app = Quart(__name__)


@app.while_serving
async def lifespan():
    app.greeting = "started"
    yield
    Path("stopped").touch()


@app.get("/hello")
async def hello():
    return app.greeting


@app.get("/stream")
async def stream():
    async def pieces():
        for number in range(3):
            yield f"piece {number}\n"

    return pieces()


@app.post("/upload")
async def upload():
    return str(len((await request.files)["file"].read()))


@app.websocket("/echo")
async def echo():
    await websocket.send(await websocket.receive())
