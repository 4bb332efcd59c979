"""The smallest useful ASGI application: it greets everybody."""


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await lifespan(receive, send)
    elif scope["type"] == "http":
        body = b"Hello, world!\n"
        headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})
    else:  # a WebSocket, which this application has no use for
        await send({"type": "websocket.close"})


async def lifespan(receive, send):
    await receive()  # lifespan.startup: here an application opens what it needs, such as a pool of connections
    await send({"type": "lifespan.startup.complete"})
    await receive()  # lifespan.shutdown: here it closes that
    await send({"type": "lifespan.shutdown.complete"})
