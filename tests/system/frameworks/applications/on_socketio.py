"""python-socketio."""

import socketio

server = socketio.AsyncServer(async_mode="asgi")
app = socketio.ASGIApp(server)


@server.event
async def say(session, text):
    await server.emit("said", text, to=session)
