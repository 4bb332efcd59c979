"""What the application is told about a request (ASGI HTTP specification, connection scope)."""

from __future__ import annotations

from typing import NamedTuple

from appserver.asgi.types import Scope
from appserver.engine.service import Service
from appserver.http.head import RequestHead

Address = tuple[str, int]


class Peer(NamedTuple):
    """Who is at the two ends of a connection. A unix socket has its path as server, and no client."""

    client: Address | None
    server: tuple[str, int | None] | None
    scheme: str = "http"


def http_scope(head: RequestHead, peer: Peer, service: Service) -> Scope:
    """The scope of one request. Every dictionary in it is the application's own, to change as it likes."""
    path = head.path
    root_path = service.root_path
    if root_path and not (path + "/").startswith(root_path + "/"):
        # `path` holds `root_path` (as SCRIPT_NAME and PATH_INFO did together), whether or not a proxy has removed it.
        path = root_path + path
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.5"},
        "http_version": head.http_version,
        "method": head.method,
        "scheme": peer.scheme,
        "path": path,
        "raw_path": head.raw_path,
        "query_string": head.query_string,
        "root_path": root_path,
        "headers": head.headers,
        "client": peer.client,
        "server": peer.server,
        "state": service.state.copy(),
        "extensions": {},
    }
