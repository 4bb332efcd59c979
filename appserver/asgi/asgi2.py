"""Applications of ASGI 2.0, the double callable of before 2019."""

from __future__ import annotations

from appserver.asgi.types import ASGI2Application, Receive, Scope, Send


class ASGI2Adapter:
    """Make one call of two: `application(scope)(receive, send)`."""

    def __init__(self, application: ASGI2Application) -> None:
        self._application = application

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # The specification has the application read from the scope under which version it is called. The inner
        # dictionary may be shared between scopes.
        scope["asgi"] = {**scope["asgi"], "version": "2.0"}
        await self._application(scope)(receive, send)
