"""A request that came as an event: what the gateways agree on, once the members of the event are known."""

from __future__ import annotations

import base64
import binascii
import re
import string
from collections.abc import Iterable, Mapping
from itertools import chain
from typing import Any
from urllib.parse import quote

from appserver.errors import EventError, RequestError
from appserver.http.fields import (
    FORWARDED,
    HOST,
    PLAIN,
    TCHAR,
    UNDERSCORED,
    Fields,
    bad_request,
    check_authority,
    forget_kinds,
    kind_of,
    known_authorities,
)
from appserver.http.request import Request
from appserver.http.response import MARK_CONTROLS
from appserver.proxy import Address

_METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))
_METHOD = re.compile(TCHAR + rb"{1,64}+")
_NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9a-z]++")
# Characters that may stand in a path as they are (RFC 3986 section 3.3), and "%", which begins what is encoded already.
_PATH_SAFE = "/%!$&'()*+,;=:@-._~"
_PLAIN_PATH = re.compile(r"/[/%!$&'()*+,;=:@\-._~0-9A-Za-z]*+")

# The same for a query as a whole (section 3.4), with what is sent there although it may not stand there.
_QUERY_SAFE = string.punctuation.replace("#", "")
_PLAIN_QUERY = re.compile(r'[!"$-~]*+')

# The names of fields, as events write them: in lower case, and their kinds. Filled within bounds.
_names: dict[str, tuple[bytes, int]] = {}
forget_kinds.append(_names.clear)
_MAX_NAMES = 1024

# Fields that are not passed on: the body is here, so its length is known better, and the gateway has decoded it.
_OF_THE_BODY = (b"content-length", b"transfer-encoding")

_COOKIE = -1
"""The kind of Cookie here. Clients of HTTP/2 divide cookies, and applications look for one field (RFC 9113 section 8.2.3)."""

# Servers by the Host field and the fields beside it. A function has few addresses.
_servers: dict[tuple[bytes | None, bytes | None, str], tuple[str, int]] = {}
_MAX_SERVERS = 64

QUERY_SAFE = "%!$'()*+,;:@/?-._~"
"""Characters that may stand in the name or the value of a parameter as they are."""


class InvocationRequest(Request):
    """A request with what else the event says: the body as a whole, who has sent it, by which address it was reached.

    `root_path` is the prefix at the beginning of `path`. `fields_size` is what names and values of the fields have in octets.
    `aws_request_id` and `trace_id` are those of the invocation.
    """

    __slots__ = (
        "aws_request_id", "body", "client", "extra", "fields_size", "root_path", "scheme", "server", "trace_id",
    )  # fmt: skip

    body: bytes
    client: Address | None
    scheme: str
    server: tuple[str, int]
    root_path: str
    fields_size: int
    aws_request_id: str
    trace_id: str | None
    extra: dict[str, Any] | None  # further keys of the scope


def make_request(
    method: Any,
    path: Any,
    query: bytes,
    headers: Iterable[tuple[str, Any]],
    body: bytes,
    *,
    client: Any,
    base_path: str = "",
    scheme: str | None = None,
) -> InvocationRequest:
    """Put a request together. Raises EventError for what is missing, and RequestError for what no HTTP request may have.

    `path` may be percent-encoded or not: which of the two it is differs among the gateways, and nothing says so. `client` is
    None for a load balancer, which says it in a header, as most gateways do with the `scheme`.
    """
    request = InvocationRequest()
    if not isinstance(method, str) or not isinstance(path, str):
        raise malformed("the method and the path have to be text")
    if method not in _METHODS and not _METHOD.fullmatch(method.encode("utf-8", "replace")):
        raise bad_request("the method is not a token")
    request.method = method
    if not _PLAIN_PATH.fullmatch(path):
        path = quote(path if path.startswith("/") else f"/{path}", _PATH_SAFE, errors="replace")
    request.target = path.encode() + b"?" + query if query else path.encode()
    request.split_target()
    request.http_version = "1.1"
    request.expect_continue = request.may_upgrade = request.accepts_trailers = False
    request.upgrade = None
    request.body = body
    request.forwarded = []
    request.authority = None
    request.trace_id = request.extra = None
    request.root_path = base_path if base_path and f"{request.path}/".startswith(f"{base_path}/") else ""
    said = _take_fields(request, headers, len(body))
    request.scheme = scheme or ("http" if said.get(b"x-forwarded-proto") == b"http" else "https")
    request.server = _server(request, said)
    request.client = None
    if client is None:
        client = said.get(b"x-forwarded-for", b"").decode("latin-1").rpartition(",")[2].strip(" \t")
    if client:
        request.client = (str(client), 0)
    return request


def _take_fields(request: InvocationRequest, headers: Iterable[tuple[str, Any]], size: int) -> dict[bytes, bytes]:
    """Set the fields of a request, and return those that proxies have written, the last of each name.

    Raises EventError, and RequestError for a value that no field may have.
    """
    fields: Fields = []
    said: dict[bytes, bytes] = {}
    crumbs: list[bytes] = []
    has_length = False
    for text, content in headers:
        name, kind = _names.get(text) or _read_name(text)
        if type(content) is not str:
            raise malformed("the headers have to be text")
        value = content.encode("utf-8", "replace").strip(b" \t")
        if kind == PLAIN:
            fields.append((name, value))
            continue
        if kind == UNDERSCORED:
            continue
        if kind == HOST:
            if value not in known_authorities:
                check_authority(value)
            request.authority = value
        elif kind == _COOKIE:
            crumbs.append(value)
            if len(crumbs) > 1:
                continue
        elif kind == FORWARDED:
            said[name] = value
            request.forwarded.append((name, value))
        elif name in _OF_THE_BODY:
            has_length = has_length or name == b"content-length"
            continue
        fields.append((name, value))
    if len(crumbs) > 1:
        fields[fields.index((b"cookie", crumbs[0]))] = (b"cookie", b"; ".join(crumbs))
    request.content_length = size if size or has_length else None
    _set_fields(request, fields)
    return said


def _set_fields(request: InvocationRequest, fields: Fields) -> None:
    if request.content_length is not None:
        fields.append((b"content-length", b"%d" % request.content_length))
    octets = b"".join(chain.from_iterable(fields))
    if octets.translate(MARK_CONTROLS) != octets:  # it would be two fields to the next reader
        raise bad_request("the value of a header holds a control character")
    request.headers = fields
    request.fields_size = len(octets)


def _read_name(text: object) -> tuple[bytes, int]:
    """The name of a field in lower case, and its kind; `UNDERSCORED` is also what is no name."""
    if not isinstance(text, str):
        raise malformed("the headers have to be text")
    name = text.lower().encode("utf-8", "replace")
    kind = kind_of(name) if _NAME.fullmatch(name) else UNDERSCORED
    found = (name, _COOKIE if name == b"cookie" and kind == PLAIN else kind)
    if len(_names) < _MAX_NAMES and len(name) <= 64:
        _names[text] = found
    return found


def _server(request: InvocationRequest, said: Mapping[bytes, bytes]) -> tuple[str, int]:
    key = (request.authority, said.get(b"x-forwarded-port"), request.scheme)
    found = _servers.get(key)
    if found is None:
        if len(_servers) >= _MAX_SERVERS:
            _servers.clear()
        found = _servers[key] = _read_server(*key)
    return found


def _read_server(authority: bytes | None, said: bytes | None, scheme: str) -> tuple[str, int]:
    """Host and port: those of the Host field, or the port that the gateway says, or the usual one."""
    host, port = (authority or b"localhost").decode("latin-1"), ""
    if not host.endswith("]"):
        name, colon, number = host.rpartition(":")
        if colon:
            host, port = name, number
    port = port or (said or b"").decode("latin-1")
    usual = 80 if scheme == "http" else 443
    read = int(port) if port.isascii() and port.isdigit() and len(port) <= 5 else usual
    return host.removeprefix("[").removesuffix("]"), read


def malformed(why: str) -> EventError:
    """The error for an event that is not as its trigger makes it."""
    return EventError(f"the event is not as documented: {why}", "MalformedEvent")


def read_query(event: Mapping[str, Any], name: str) -> bytes:
    """A query that stands there as it was sent; what no query may have is percent-encoded. Raises EventError."""
    query = event.get(name) or ""
    if type(query) is not str:
        raise malformed(f"{name} has to be text")
    return (query if _PLAIN_QUERY.fullmatch(query) else quote(query, _QUERY_SAFE, errors="replace")).encode()


def table(event: Mapping[str, Any], name: str) -> dict[str, Any]:
    """A member that is an object; an empty one if it is null or missing. Raises EventError."""
    found = event.get(name)
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise malformed(f"{name} has to be an object")
    return found


def read_body(event: Mapping[str, Any]) -> bytes:
    """The body of an event of API Gateway, of a function URL or of a load balancer. Raises EventError and RequestError."""
    body = event.get("body")
    if not body:
        return b""
    if not isinstance(body, str):
        raise malformed("body has to be text")
    return decode_base64(body) if event.get("isBase64Encoded") else body.encode("utf-8", "surrogatepass")


def decode_base64(text: str) -> bytes:
    """Decode a body. Raises RequestError (400): what cannot be decoded must not reach the application as something else."""
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise RequestError(400, "bad_request", "the body of the event is not valid base64") from None


def many(single: Mapping[str, Any], multiple: Mapping[str, Any]) -> Iterable[tuple[str, Any]]:
    """The pairs of what events give twice, with the last value of a name and with all; the latter may lack names."""
    if not multiple:
        return single.items()
    pairs = [
        (name, value) for name, values in multiple.items() for value in (values if type(values) is list else (values,))
    ]
    if single.keys() != multiple.keys():
        known = {name.lower() for name in multiple}
        pairs += [(name, value) for name, value in single.items() if name.lower() not in known]
    return pairs
