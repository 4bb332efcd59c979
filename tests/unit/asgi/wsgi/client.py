"""The other side of the adapter: a client in memory, and a way to serve it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

from appserver.asgi.types import Message, Scope, WSGIApplication
from appserver.asgi.wsgi import WSGIAdapter

Environ = dict[str, Any]
Start = Callable[..., Any]

THREADS = 4


class Client:
    """One request: what it sends, what it got, and when it leaves.

    It sends the `pieces` of its body, then (or instead of the end, if it `leaves`) http.disconnect.
    """

    def __init__(
        self,
        *pieces: bytes,
        method: str = "POST",
        path: str = "/",
        raw_path: bytes | None = None,
        query: bytes = b"",
        headers: Iterable[tuple[bytes, bytes]] = (),
        leaves: bool = False,
        **scope: Any,
    ) -> None:
        self.messages: list[Message] = []
        self.received = 0  # how often it was asked for something
        self.gone = False
        self.reads = asyncio.Event()
        self.reads.set()
        self.left = asyncio.Event()
        self._pieces = list(pieces)
        self._leaves = leaves
        self._told = False
        self.scope: Scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.5"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": path,
            "raw_path": path.encode() if raw_path is None else raw_path,
            "query_string": query,
            "root_path": "",
            "headers": list(headers),
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 2),
            "extensions": {"http.response.zerocopysend": {}, "http.response.early_hint": {}},
            **scope,
        }

    async def receive(self) -> Message:
        self.received += 1
        if self._pieces:
            return {
                "type": "http.request",
                "body": self._pieces.pop(0),
                "more_body": bool(self._pieces or self._leaves),
            }
        if not self._leaves and not self._told:
            self._told = True
            if self.received == 1:
                return {"type": "http.request", "body": b"", "more_body": False}
        if not self._leaves:
            await self.left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        if self.gone:
            raise ConnectionResetError("the client has gone")
        await self.reads.wait()
        if message["type"] == "http.response.zerocopysend":
            file = message["file"]
            file.seek(message["offset"])
            message = {**message, "read": file.read()}
        self.messages.append(message)

    @property
    def status(self) -> int:
        found: int = self.messages[0]["status"]
        return found

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        found: list[tuple[bytes, bytes]] = self.messages[0]["headers"]
        return found

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", message.get("read", b"")) for message in self.messages)

    @property
    def complete(self) -> bool:
        return bool(self.messages) and not self.messages[-1].get(
            "more_body", self.messages[-1]["type"].endswith("start")
        )


def serve(application: WSGIApplication, *clients: Client, threads: int = THREADS) -> None:
    """Serve the requests of some clients at once, until they are done; raises what the application raises."""
    adapter = WSGIAdapter(application, threads)

    async def main() -> None:
        async with asyncio.timeout(60):
            results = await asyncio.gather(
                *(adapter(client.scope, client.receive, client.send) for client in clients), return_exceptions=True
            )
        for result in results:
            if result is not None:
                raise result

    asyncio.run(main())
