"""The words of the ASGI specification as types.

Scopes and messages are plain dictionaries, made and taken apart on the path of every request, so no class stands behind
them. They are as wide as frameworks declare them: an application annotated with Starlette's types is one of these.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
"""The facts about a connection that an application is given; `scope["type"]` is "http", "websocket" or "lifespan"."""

Message = MutableMapping[str, Any]
"""One event in either direction; `message["type"]` says which."""

Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

ASGIApplication = Callable[[Scope, Receive, Send], Awaitable[None]]
"""ASGI 3.0: one call for the whole life of a scope."""

ASGI2Application = Callable[[Scope], Callable[[Receive, Send], Awaitable[None]]]
"""ASGI 2.0: called with the scope, returns what is then called with `receive` and `send`."""

WSGIApplication = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]
"""WSGI 1.0 (PEP 3333)."""
