"""The meaning of a request head of HTTP/1.1: the one place that decides it, whichever lexer took the head apart.

The order of the checks is fixed, so that a head with several faults always gets the same answer.
"""

from __future__ import annotations

import re
from urllib.parse import unquote

from appserver.errors import RequestError
from appserver.http.fields import (
    CONNECTION,
    DECISIVE,
    FORWARDED,
    HOST,
    UNDERSCORE,
    Fields,
    bad_request,
    check_authority,
    kind_of,
    known_authorities,
    known_plain,
    members,
    read_length,
    waits_for_continue,
)
from appserver.http.request import Request

Interpreted = tuple[Request, bool, bool]
"""A request, and how it is framed: whether its body is chunked, and whether the client wishes to keep the connection."""

KEEP, CLOSE = 1, 2
WISHES = {b"keep-alive": KEEP, b"close": CLOSE}
"""The wishes for the connection that most clients have, if any; both are possible, and closing has precedence (RFC 9112 section 9.3)."""

ABSOLUTE_FORM = re.compile(rb"https?://([^/?]*+)(/[^?]*+)?(?:\?(.*+))?", re.IGNORECASE)


def interpret(method: bytes, target: bytes, version: bytes, fields: Fields) -> Interpreted:
    """Decide what a head means. The arguments are what a lexer made of a head that follows the grammar.

    A body follows if it is chunked, or its `content_length` is above 0. Raises RequestError: 505 for another major version,
    400 for a target, Host or framing that is not valid or not unambiguous, 501 for CONNECT and for transfer codings other
    than chunked, 413 for a length beyond all bounds, 417 for an unknown expectation. The connection has to be closed after
    each of them: framing is lost, or was never known.

    Fields whose name has an underscore are dropped (see `http.fields.kind_of`).
    """
    request = Request()
    request.method = method.decode()
    request.target = target
    request.headers = fields
    request.http_version = "1.1" if version == b"1.1" else _version(version)

    # Most heads decide nothing but the host; what does not get through this loop is looked at again, with care.
    host = None
    plain = version == b"1.1" or version == b"1.0"
    wishes = 0
    forwarded: Fields = []
    known = known_plain
    for name, value in fields:
        if name in known:
            continue
        kind = kind_of(name)
        if not kind:  # plain, and new
            continue
        if kind == HOST and host is None:
            host = value
        elif kind == FORWARDED:
            forwarded.append((name, value))
        elif kind == CONNECTION and value in WISHES:
            wishes |= WISHES[value]
        else:
            plain = False
    if host is None:
        if request.http_version == "1.1":
            raise bad_request("an HTTP/1.1 request without Host")
    elif host not in known_authorities:
        check_authority(host)
    request.authority = host

    if target[0] == 0x2F:  # "/": origin-form
        request.split_target()
    else:
        _decide_target(request)

    request.content_length = None
    request.expect_continue = request.accepts_trailers = request.may_upgrade = False
    request.upgrade = None
    request.forwarded = forwarded
    if plain:
        return request, False, wishes < CLOSE and (wishes == KEEP or version == b"1.1")
    return _decide_the_rest(request, fields)


def _decide_the_rest(request: Request, fields: Fields) -> Interpreted:
    """Read the fields that decide something, and drop those whose name has an underscore.

    The values of a field that came more than once are joined (RFC 9110 section 5.3). Host is no list. Nor is
    Content-Length, but joined it is no number any more, and refused as such: two equal lengths might be taken as one (RFC
    9110 section 8.6), but it is safer not to, whatever a proxy in front made of them.
    """
    by_name: dict[bytes, bytes] = {}
    underscored = False
    for name, value in fields:
        if name not in DECISIVE:
            underscored = underscored or UNDERSCORE in name
        elif name not in by_name:
            by_name[name] = value
        elif name == b"host":
            raise bad_request("more than one Host field")
        else:
            by_name[name] += b"," + value
    if underscored:
        request.headers = [field for field in request.headers if UNDERSCORE not in field[0]]
    chunked = _decide_framing(request, by_name)
    has_body = chunked or bool(request.content_length)
    return request, chunked, _decide_connection(request, by_name, has_body=has_body)


def _version(version: bytes) -> str:
    """The version to speak (RFC 9110 section 2.5): a higher minor version is treated as the highest that is known."""
    if not version.startswith(b"1."):
        raise RequestError(505, "unsupported_version", "only HTTP/1.1 and HTTP/1.0 are spoken here")
    return "1.0" if version == b"1.0" else "1.1"


def _decide_target(request: Request) -> None:
    """Read a target that is not in origin-form (RFC 9112 sections 3.2.2 to 3.2.4)."""
    if request.method == "CONNECT":
        # An origin server is no tunnel (RFC 9110 section 9.3.6). A 2xx would promise one.
        raise RequestError(501, "not_implemented", "CONNECT is not supported")
    request.query_string = b""
    if request.target == b"*":
        if request.method != "OPTIONS":
            raise bad_request("the target * is for OPTIONS only")
        request.raw_path, request.path = b"*", "*"
        return
    match = ABSOLUTE_FORM.fullmatch(request.target)
    if match is None:
        raise bad_request("the request target has none of the forms of RFC 9112 section 3.2")
    authority = match[1]
    if not authority:
        raise bad_request("the request target has no host")
    check_authority(authority)
    request.raw_path = match[2] or b"/"
    request.path = unquote(request.raw_path.decode())
    request.query_string = match[3] or b""
    # "the origin server MUST ignore the received Host header field (if any) and instead use the host information of
    # the request-target" (RFC 9112 section 3.2.2)
    others = [field for field in request.headers if field[0] != b"host"]
    request.headers = [(b"host", authority), *others]
    request.authority = authority


def _decide_framing(request: Request, by_name: dict[bytes, bytes]) -> bool:
    """Decide whether a body follows, and where it ends (RFC 9112 section 6.3); returns whether it is chunked.

    Where the RFC lets a server choose between repairing and refusing, this one refuses: a proxy in front may have
    chosen the other repair.
    """
    coding = by_name.get(b"transfer-encoding")
    length = by_name.get(b"content-length")
    if coding is not None:
        if length is not None:
            raise bad_request("Content-Length and Transfer-Encoding in one request")
        if request.http_version == "1.0":
            raise bad_request("Transfer-Encoding in an HTTP/1.0 request")
        if coding.lower() != b"chunked":
            _refuse_coding(coding)
        return True
    if length is not None:
        request.content_length = read_length(length)
    return False


def _refuse_coding(coding: bytes) -> None:
    """Refuse transfer codings other than chunked, and whatever is not clearly chunked (RFC 9112 sections 6.1, 6.3)."""
    codings = coding.lower().split(b",")
    if codings[-1].strip(b" \t") == b"chunked" and not any(c.strip(b" \t") in (b"", b"chunked") for c in codings[:-1]):
        raise RequestError(501, "not_implemented", "a transfer coding other than chunked")
    raise bad_request("chunked is not the final transfer coding, or not clearly so")


def _decide_connection(request: Request, by_name: dict[bytes, bytes], *, has_body: bool) -> bool:
    """Decide what the client asks of this hop (RFC 9112 section 9.3, RFC 9110 sections 7.8, 10.1).

    Returns whether it wishes to keep the connection.
    """
    options = members(by_name, b"connection")
    # A body has to be read before the protocol changes. Ignoring the upgrade is always allowed, and loses no octet.
    if b"upgrade" in by_name and not has_body:
        request.upgrade = by_name[b"upgrade"].lower()
    if request.http_version == "1.0":
        # Nothing but this: a server MUST ignore Upgrade and "100-continue" in an HTTP/1.0 request.
        return b"keep-alive" in options and b"close" not in options
    request.may_upgrade = request.upgrade is not None and b"upgrade" in options
    request.accepts_trailers = b"trailers" in members(by_name, b"te")
    request.expect_continue = waits_for_continue(by_name) and has_body
    return b"close" not in options
