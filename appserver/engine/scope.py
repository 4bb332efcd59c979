"""The scope of a request (ASGI HTTP specification, connection scope)."""

from __future__ import annotations

from typing import Any

from appserver.asgi.types import Scope
from appserver.http.request import Request
from appserver.proxy import Address, Origin

# Frameworks decide by this how they notice that a client has left: from 2.4 on Starlette waits for an error of `send`, which
# a stream that waits for its next event never calls. Up to 2.3 it listens for http.disconnect (see `Exchange.send`).
ASGI = {"version": "3.0", "spec_version": "2.3"}
SESSION_ASGI = {"version": "3.0", "spec_version": "2.5"}

# Extensions that a session supports beyond the WebSocket specification of ASGI.
SESSION_EXTENSIONS: dict[str, Any] = {"websocket.http.response": {}}
SCHEMES = {"http": "ws", "https": "wss"}

# Extensions that `Exchange.send` takes, as far as the client understands the result.
FILES: dict[str, Any] = {"http.response.pathsend": {}, "http.response.zerocopysend": {}}
EXTENSIONS = FILES | {"http.response.early_hint": {}}
WITH_TRAILERS = EXTENSIONS | {"http.response.trailers": {}}


def scope_template(
    *, scheme: str, server: tuple[str, int | None], root_path: str, strips_prefix: bool = True
) -> dict[str, Any]:
    """The part that the scopes of all requests to one address have in common. `server`: host and port, or a path and None.

    It has every key that a scope has: copying it and setting the values costs less than building a scope. `path` is
    what goes in front of the path of each request, None if nothing ever does (see `http_scope`).
    """
    root_path = root_path.rstrip("/")
    template: dict[str, Any] = {"type": "http", "scheme": scheme, "server": server, "root_path": root_path}
    others = ("asgi", "http_version", "method", "raw_path", "query_string", "headers", "client", "state", "extensions")
    return template | dict.fromkeys(others) | {"path": root_path if strips_prefix else None}


def seen_by_proxy(template: dict[str, Any], origin: Origin) -> dict[str, Any]:
    """The template for requests that a proxy has passed on, with what the proxy says in place of what we see."""
    scheme = origin.scheme or template["scheme"]
    root_path = template["root_path"] if origin.prefix is None else origin.prefix
    server = origin.server(scheme, template["server"])
    path = None if template["path"] is None else root_path
    return template | {"scheme": scheme, "server": server, "root_path": root_path, "path": path}


def replace_host(request: Request, origin: Origin, scheme: str) -> None:
    """Put the Host that a proxy has got in place of the one that it has sent."""
    host = origin.host(scheme, request.authority)
    if host is not None:
        request.headers = [(b"host", host), *(field for field in request.headers if field[0] != b"host")]
        request.authority = host


def http_scope(template: dict[str, Any], request: Request, client: Address | None, state: dict[str, Any]) -> Scope:
    """The scope of one request. The dictionaries in it are the application's own, to change as it likes.

    `path` includes `root_path`, as SCRIPT_NAME and PATH_INFO together did. The proxy has removed it, so it is put back,
    also in front of a path that begins with the same segments. If it were left out there, one resource would have two
    names: behind a proxy that removes /shop, the target /shop/shop/admin would lead to /shop/admin, past the rules
    that the proxy has for /shop/admin.
    """
    scope = template.copy()
    path = request.path
    prefix = template["path"]
    if prefix and path != "*":  # the target of OPTIONS for the server as a whole (RFC 9112 section 3.2.4) is no path
        path = prefix + path
    scope["asgi"] = ASGI.copy()
    scope["http_version"] = request.http_version
    scope["method"] = request.method
    scope["path"] = path
    scope["raw_path"] = request.raw_path
    scope["query_string"] = request.query_string
    scope["headers"] = request.headers
    scope["client"] = client
    scope["state"] = state.copy()
    if request.http_version == "1.0":
        extensions = FILES.copy()
    else:
        extensions = WITH_TRAILERS.copy() if request.accepts_trailers else EXTENSIONS.copy()
    if (tls := template["extensions"]) is not None:  # those of the connection, of which there is but one
        extensions["tls"] = tls.copy()
    scope["extensions"] = extensions
    return scope


def websocket_scope(
    template: dict[str, Any], request: Request, client: Address | None, state: dict[str, Any], subprotocols: list[str]
) -> Scope:
    """The scope of a session: that of the request it begins with, with what is different (ASGI WebSocket specification)."""
    scope = http_scope(template, request, client, state)
    del scope["method"]
    scope["type"] = "websocket"
    scope["asgi"] = SESSION_ASGI.copy()
    scope["scheme"] = SCHEMES[scope["scheme"]]
    scope["subprotocols"] = subprotocols
    others = {name: value for name, value in scope["extensions"].items() if not name.startswith("http.")}
    scope["extensions"] = SESSION_EXTENSIONS | others
    return scope
