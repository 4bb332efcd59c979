"""Falcon, its ASGI half."""

from pathlib import Path

import falcon.asgi


class Lifespan:
    async def process_startup(self, scope, event):
        Hello.greeting = "started"

    async def process_shutdown(self, scope, event):
        Path("stopped").touch()


class Hello:
    greeting = ""

    async def on_get(self, request, response):
        response.text = self.greeting


class Stream:
    async def on_get(self, request, response):
        async def pieces():
            for number in range(3):
                yield f"piece {number}\n".encode()

        response.stream = pieces()


class Upload:
    async def on_post(self, request, response):
        async for part in await request.get_media():
            response.text = str(len(await part.stream.read()))


class Echo:
    async def on_websocket(self, request, session):
        await session.accept()
        await session.send_text(await session.receive_text())
        await session.close()


app = falcon.asgi.App(middleware=[Lifespan()])
app.add_route("/hello", Hello())
app.add_route("/stream", Stream())
app.add_route("/upload", Upload())
app.add_route("/echo", Echo())
