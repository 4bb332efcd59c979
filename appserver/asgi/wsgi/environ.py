"""The environ of a request (PEP 3333, "environ Variables"), with what frameworks look for besides.

Text in it is what PEP 3333 calls native strings: octets decoded as latin-1, whatever they mean.
"""

from __future__ import annotations

import sys
from typing import Any
from urllib.parse import quote, unquote, unquote_to_bytes

from appserver import __version__
from appserver.asgi.types import Scope
from appserver.asgi.wsgi.files import FileWrapper

DEFAULT_PORTS = {"http": "80", "https": "443"}

# Names of variables by names of header fields, as far as they have occurred.
_variables: dict[bytes, str] = {b"content-type": "CONTENT_TYPE", b"content-length": "CONTENT_LENGTH"}
_MAX_VARIABLES = 1024
_MAX_NAME = 64


def common_environ(*, multithread: bool) -> dict[str, Any]:
    """The part of the environ that is the same for all requests.

    `wsgi.multiprocess` is true even of a server with one worker: the next one is there before the old one has gone.
    """
    return {
        "SERVER_SOFTWARE": f"appserver/{__version__}",
        "wsgi.version": (1, 0),
        "wsgi.multithread": multithread,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
        "wsgi.file_wrapper": FileWrapper,
        # Reading beyond the end of the body gives nothing; so frameworks can do without a Content-Length.
        "wsgi.input_terminated": True,
    }


def make_environ(common: dict[str, Any], scope: Scope) -> dict[str, Any]:
    """The environ of one request, without `wsgi.input`."""
    scheme = scope.get("scheme", "http")
    script_name, path_info = split_path(scope)
    query = scope.get("query_string", b"").decode("latin-1")
    target = _target(scope, query)
    environ = common.copy()
    environ["wsgi.errors"] = sys.stderr  # standard output may be where the access log goes
    environ["wsgi.url_scheme"] = scheme
    environ["asgi.scope"] = scope
    environ["REQUEST_METHOD"] = scope["method"]
    environ["SCRIPT_NAME"] = script_name
    environ["PATH_INFO"] = path_info
    environ["QUERY_STRING"] = query
    environ["REQUEST_URI"] = target
    environ["RAW_URI"] = target
    environ["SERVER_PROTOCOL"] = f"HTTP/{scope['http_version']}"
    client = scope.get("client")
    if client is None:  # a unix socket, or a proxy that does not say
        environ["REMOTE_ADDR"] = ""
    else:
        environ["REMOTE_ADDR"] = client[0]
        environ["REMOTE_PORT"] = str(client[1])
    _add_fields(environ, scope["headers"])
    _add_server(environ, scheme, scope.get("server"))
    return environ


def split_path(scope: Scope) -> tuple[str, str]:
    """SCRIPT_NAME and PATH_INFO: `root_path` and what is behind it in `path`.

    The octets come from `raw_path`, because `path` is decoded as UTF-8, and what is none is lost in it. `raw_path` is what
    the client has sent: it has the prefix only if nobody has removed it.
    """
    path: str = scope["path"]
    if path == "*":
        return "", path
    root: str = scope.get("root_path", "")
    below = bool(root) and (path + "/").startswith(root + "/")
    raw: bytes = scope.get("raw_path") or b""
    if 0x25 not in raw and path.isascii():  # "%"
        info = path[len(root) :] if below else path
    elif raw:
        octets = unquote_to_bytes(raw)
        if below and unquote(raw.decode("latin-1")) == path:
            octets = octets[len(root.encode()) :]
        info = octets.decode("latin-1")
    else:
        info = (path[len(root) :] if below else path).encode("utf-8", "surrogateescape").decode("latin-1")
    return root if root.isascii() else root.encode().decode("latin-1"), info


def _target(scope: Scope, query: str) -> str:
    """The target as it was sent."""
    raw: bytes = scope.get("raw_path") or quote(scope["path"]).encode()
    path = raw.decode("latin-1")
    return f"{path}?{query}" if query else path


def _add_fields(environ: dict[str, Any], fields: Any) -> None:
    """Add the header fields. Those that came more than once are joined (RFC 9110 section 5.3, for Cookie RFC 9113, 8.2.3)."""
    for name, value in fields:
        variable = _variables.get(name)
        if variable is None:
            variable = _name_variable(name)
        text = value.decode("latin-1")
        if variable not in environ:
            environ[variable] = text
        elif variable == "HTTP_COOKIE":
            environ[variable] += "; " + text
        elif variable in ("CONTENT_TYPE", "CONTENT_LENGTH"):
            environ[variable] = text  # no lists
        else:
            environ[variable] += "," + text


def _name_variable(name: bytes) -> str:
    variable = "HTTP_" + name.decode("latin-1").upper().replace("-", "_")
    if len(_variables) < _MAX_VARIABLES and len(name) <= _MAX_NAME:
        _variables[name] = variable
    return variable


def _add_server(environ: dict[str, Any], scheme: str, server: tuple[str, int | None] | None) -> None:
    """Add SERVER_NAME and SERVER_PORT, which must be there; for a unix socket they are those of the Host field."""
    if server is not None and server[1] is not None:
        environ["SERVER_NAME"], environ["SERVER_PORT"] = server[0], str(server[1])
        return
    host: str = environ.get("HTTP_HOST") or "localhost"
    name, colon, port = host.rpartition(":")
    if not colon or not port.isdecimal():  # the colon may be one of an IPv6 address
        name, port = host, ""
    environ["SERVER_NAME"], environ["SERVER_PORT"] = name, port or DEFAULT_PORTS.get(scheme, "80")
