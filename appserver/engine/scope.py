"""What the application is told about a request (ASGI HTTP specification, connection scope)."""

from __future__ import annotations

from typing import Any

from appserver.asgi.types import Scope
from appserver.http.head import RequestHead
from appserver.proxy import Address, Origin

ASGI = {"version": "3.0", "spec_version": "2.5"}

# What a session takes beyond the specification of WebSocket.
SESSION_EXTENSIONS: dict[str, Any] = {"websocket.http.response": {}}
SCHEMES = {"http": "ws", "https": "wss"}

# What `Exchange.send` takes beyond the specification of HTTP, as far as the client understands what comes of it.
FILES: dict[str, Any] = {"http.response.pathsend": {}, "http.response.zerocopysend": {}}
EXTENSIONS = FILES | {"http.response.early_hint": {}}
WITH_TRAILERS = EXTENSIONS | {"http.response.trailers": {}}


def scope_template(*, scheme: str, server: tuple[str, int | None], root_path: str) -> dict[str, Any]:
    """What the scopes of all requests to one address have in common. `server`: host and port, or a path and None.

    It has every key that a scope has: copying it and setting the values costs less than building a scope.
    """
    template: dict[str, Any] = {"type": "http", "scheme": scheme, "server": server, "root_path": root_path.rstrip("/")}
    others = (
        "asgi", "http_version", "method", "path", "raw_path", "query_string", "headers", "client", "state", "extensions",
    )  # fmt: skip
    return template | dict.fromkeys(others)


def seen_by_proxy(template: dict[str, Any], head: RequestHead, origin: Origin) -> dict[str, Any]:
    """The template for a request that a proxy has passed on, with what the proxy says in place of what we see.

    The Host field of the head is changed with it.
    """
    scheme = origin.scheme or template["scheme"]
    host = origin.host(scheme, next((value for name, value in head.headers if name == b"host"), None))
    if host is not None:
        head.headers = [(b"host", host), *(field for field in head.headers if field[0] != b"host")]
    root_path = template["root_path"] if origin.prefix is None else origin.prefix
    server = origin.server(scheme, template["server"])
    return template | {"scheme": scheme, "server": server, "root_path": root_path}


def http_scope(template: dict[str, Any], head: RequestHead, client: Address | None, state: dict[str, Any]) -> Scope:
    """The scope of one request. The dictionaries in it are the application's own, to change as it likes."""
    scope = template.copy()
    path = head.path
    root_path = template["root_path"]
    if root_path and not (path + "/").startswith(root_path + "/"):
        # `path` includes `root_path` (as SCRIPT_NAME and PATH_INFO together did), whether a proxy has removed it or not.
        path = root_path + path
    scope["asgi"] = ASGI.copy()
    scope["http_version"] = head.http_version
    scope["method"] = head.method
    scope["path"] = path
    scope["raw_path"] = head.raw_path
    scope["query_string"] = head.query_string
    scope["headers"] = head.headers
    scope["client"] = client
    scope["state"] = state.copy()
    if head.http_version == "1.0":
        extensions = FILES.copy()
    else:
        extensions = WITH_TRAILERS.copy() if head.accepts_trailers else EXTENSIONS.copy()
    if (tls := template["extensions"]) is not None:  # those of the connection, of which there is but one
        extensions["tls"] = tls.copy()
    scope["extensions"] = extensions
    return scope


def websocket_scope(
    template: dict[str, Any], head: RequestHead, client: Address | None, state: dict[str, Any], subprotocols: list[str]
) -> Scope:
    """The scope of a session: that of the request it begins with, with what is different (ASGI WebSocket specification)."""
    scope = http_scope(template, head, client, state)
    del scope["method"]
    scope["type"] = "websocket"
    scope["scheme"] = SCHEMES[scope["scheme"]]
    scope["subprotocols"] = subprotocols
    others = {name: value for name, value in scope["extensions"].items() if not name.startswith("http.")}
    scope["extensions"] = SESSION_EXTENSIONS | others
    return scope
