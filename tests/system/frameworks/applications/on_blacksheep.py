"""BlackSheep."""

from pathlib import Path

from blacksheep import Application, Request, Response, StreamedContent, WebSocket, get, post, text, ws

app = Application()
greetings = []


@app.on_start
async def start(application):
    greetings.append("started")


@app.on_stop
async def stop(application):
    Path("stopped").touch()


@get("/hello")
async def hello():
    return text(greetings[0])


@get("/stream")
async def stream():
    async def pieces():
        for number in range(3):
            yield f"piece {number}\n".encode()

    return Response(200, content=StreamedContent(b"text/plain", pieces))


@post("/upload")
async def upload(request: Request):
    [part] = await request.files("file")
    return text(str(part.size if hasattr(part, "size") and part.size else len(part.data)))


@ws("/echo")
async def echo(websocket: WebSocket):
    await websocket.accept()
    await websocket.send_text(await websocket.receive_text())
    await websocket.close()
