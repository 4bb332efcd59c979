"""Requests that do not belong to the application, because it is mounted below a path that is not theirs."""

from __future__ import annotations

from appserver.asgi.types import ASGIApplication, Receive, Scope, Send

NOT_FOUND = b"404 Not Found: nothing is served outside of the path under which the application is mounted\n"


class BelowRootPath:
    """Call the application for what is below `root_path`, and answer everything else with 404.

    For requests that arrive with the prefix. Frameworks take a path without it for one from which it has been removed,
    so every resource would have two names: /api/users and /users.
    """

    def __init__(self, application: ASGIApplication) -> None:
        self._application = application

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path: str = scope["path"]
        if (path + "/").startswith(scope["root_path"] + "/") or path == "*":
            await self._application(scope, receive, send)
        else:
            await _not_found(scope, send)


async def _not_found(scope: Scope, send: Send) -> None:
    kind = "http" if scope["type"] == "http" else "websocket.http"
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", b"%d" % len(NOT_FOUND))]
    await send({"type": f"{kind}.response.start", "status": 404, "headers": headers})
    await send({"type": f"{kind}.response.body", "body": NOT_FOUND})
