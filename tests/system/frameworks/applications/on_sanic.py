"""Sanic, as an application of ASGI."""

from pathlib import Path

from sanic import Sanic
from sanic.response import text

app = Sanic("matrix", configure_logging=False)


@app.before_server_start
async def start(app):
    app.ctx.greeting = "started"


@app.after_server_stop
async def stop(app):
    Path("stopped").touch()


@app.get("/hello")
async def hello(request):
    return text(request.app.ctx.greeting)


@app.get("/stream")
async def stream(request):
    response = await request.respond(content_type="text/plain")
    for number in range(3):
        await response.send(f"piece {number}\n")
    await response.eof()


@app.post("/upload")
async def upload(request):
    return text(str(len(request.files.get("file").body)))


@app.websocket("/echo")
async def echo(request, session):
    await session.send(await session.recv())
