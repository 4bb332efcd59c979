"""From the fields of a header block to a request: pseudo-header fields, and which fields may be there at all.

The order of the checks is fixed, so that a block with several faults always gets the same answer. A malformed block
(RFC 9113 section 8.1.1) is a `StreamFailure`; a well-formed one that cannot be served is a `RequestError`, which has a
status to be answered with.
"""

from __future__ import annotations

import re
from typing import Final

from appserver.errors import RequestError
from appserver.http.fields import (
    FORWARDED,
    PLAIN,
    TCHAR,
    UNDERSCORE,
    Fields,
    check_authority,
    forget_kinds,
    kind_of,
    known_authorities,
    read_length,
    waits_for_continue,
)
from appserver.http.limits import Limits
from appserver.http.request import Request
from appserver.http2.errors import Code, StreamFailure
from appserver.http2.priority import UNSAID, Priority, read_priority

# Visible ASCII but "#", as in HTTP/1.1: there are no fragments, and servers disagree on whether the path ends there.
_PATH = re.compile(rb"/[\x21\x22\x24-\x7e]*+|\*")
_METHOD = re.compile(TCHAR + rb"{1,64}+")
_SCHEME = re.compile(rb"[A-Za-z][A-Za-z0-9+\-.]*+")
_PROTOCOL = re.compile(TCHAR + rb"++")
# In lower case (RFC 9113 section 8.2.1).
_NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9a-z]++")

# Changes every value that holds what none may (RFC 9110 section 5.5).
_CONTROLS = bytes(octet for octet in (*range(0x20), 0x7F) if octet != 0x09)
_MARK_CONTROLS = bytes.maketrans(_CONTROLS, b"?" * len(_CONTROLS))
_BLANKS = (b" ", b"\t")

_OF_CONNECTION: Final = frozenset(
    (b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"),
)
"""Fields that mean one connection of HTTP/1.1, and make a message of HTTP/2 malformed (section 8.2.2)."""

# Fields that have a meaning here; all others are the application's.
_LOOKED_AT: Final = frozenset((b"content-length", b"cookie", b"expect", b"host", b"priority", b"te")) | _OF_CONNECTION

# Names that are valid and have no meaning here, with what to make of them (see `appserver.http.fields`).
_kinds: dict[bytes, int] = {}
forget_kinds.append(_kinds.clear)

_PSEUDO: Final = frozenset((b":authority", b":method", b":path", b":protocol", b":scheme"))


def malformed(why: str) -> StreamFailure:
    """The failure of a stream whose request is malformed."""
    return StreamFailure(Code.PROTOCOL_ERROR, f"malformed request: {why}")


def interpret(
    fields: Fields, list_size: int, limits: Limits, *, complete: bool, extended_connect: bool = True
) -> tuple[Request, Priority]:
    """Decide what a header block means; `complete`: no body follows. Returns the request and the priority of its response.

    `extended_connect`: clients have been told that `:protocol` is understood (RFC 8441 section 3).

    `list_size` is the size of the fields as SETTINGS_MAX_HEADER_LIST_SIZE counts it. Raises StreamFailure for what is
    malformed, and RequestError: 414 and 431 for what is too large, 413 for a length beyond all bounds, 417 for an unknown
    expectation, 501 for CONNECT without a protocol.

    `host` is the first field, from `:authority`; crumbs of `cookie` are put together (RFC 9113 section 8.2.3).
    """
    if list_size > limits.max_header_size:
        raise limits.head_too_large()
    pseudo, headers, decisive, forwarded = _sort(fields)
    request = Request()
    request.http_version = "2"
    request.content_length = None
    request.expect_continue = request.may_upgrade = False
    request.accepts_trailers = b"te" in decisive
    request.upgrade = None
    request.forwarded = forwarded
    if b":protocol" in pseudo and not extended_connect:
        raise malformed(":protocol has not been offered")
    _decide_method(request, pseudo)
    _decide_authority(request, headers, pseudo, decisive)
    if len(request.target) > limits.max_target_size:
        raise limits.target_too_large()
    if len(headers) > limits.max_headers:
        raise limits.too_many_fields()
    if b"content-length" in decisive:
        _decide_length(request, decisive[b"content-length"], complete=complete)
    if b"expect" in decisive:
        request.expect_continue = waits_for_continue(decisive) and not complete
    said = decisive.get(b"priority")
    return request, UNSAID if said is None else read_priority(said)


def _sort(fields: Fields) -> tuple[dict[bytes, bytes], Fields, dict[bytes, bytes], Fields]:
    """Check each field. Raises StreamFailure.

    Returns the pseudo-header fields, the others, those that decide something, and those for `appserver.proxy`.
    """
    pseudo: dict[bytes, bytes] = {}
    headers: Fields = []
    decisive: dict[bytes, bytes] = {}
    crumbs: list[bytes] = []
    forwarded: Fields = []
    underscored = False
    for field in fields:
        name, value = field
        if value.translate(_MARK_CONTROLS) != value or value[:1] in _BLANKS or value[-1:] in _BLANKS:
            raise malformed("the value of a field holds a control character, or white space at an end")
        kind = _kinds.get(name)
        if kind is None:
            if name[:1] == b":":
                if headers or decisive or name in pseudo or name not in _PSEUDO:
                    raise malformed("a pseudo-header field is unknown, comes twice, or stands behind other fields")
                pseudo[name] = value
                continue
            if name in _LOOKED_AT:
                _take(name, value, decisive, headers, crumbs)
                continue
            kind = _check_name(name)
        if kind != PLAIN:
            if kind == FORWARDED:
                forwarded.append(field)
            else:
                underscored = True
        headers.append(field)
    if len(crumbs) > 1:
        headers[headers.index((b"cookie", crumbs[0]))] = (b"cookie", b"; ".join(crumbs))
    if underscored:
        headers = [field for field in headers if UNDERSCORE not in field[0]]
    return pseudo, headers, decisive, forwarded


def check_trailers(fields: Fields, list_size: int, limits: Limits) -> None:
    """Check a trailer section (RFC 9113 section 8.1). Raises StreamFailure, also for one beyond the limits."""
    if len(fields) > limits.max_headers or list_size > limits.max_header_size:
        raise StreamFailure(Code.ENHANCE_YOUR_CALM, "the trailer section is larger than http.max_header_size allows")
    for name, value in fields:
        if name[:1] == b":" or name in _OF_CONNECTION:
            raise malformed("a trailer section with pseudo-header fields, or fields of a connection")
        _check_name(name)
        if value.translate(_MARK_CONTROLS) != value:
            raise malformed("the value of a trailer field holds a control character")


def copy_request(request: Request) -> Request:
    """A request like this one, with a list of headers of its own."""
    copy = Request.__new__(Request)
    copy.accepts_trailers = request.accepts_trailers
    copy.authority = request.authority
    copy.content_length = request.content_length
    copy.expect_continue = request.expect_continue
    copy.forwarded = request.forwarded
    copy.headers = request.headers.copy()
    copy.http_version = "2"
    copy.may_upgrade = request.may_upgrade
    copy.method = request.method
    copy.path = request.path
    copy.query_string = request.query_string
    copy.raw_path = request.raw_path
    copy.target = request.target
    copy.upgrade = request.upgrade
    return copy


def _check_name(name: bytes) -> int:
    """Check a name that has not been looked at before, or is too long to be remembered; returns what to make of it."""
    if _NAME.fullmatch(name) is None:
        raise malformed("the name of a field is no token in lower case")
    kind = kind_of(name)
    if len(_kinds) >= 1024:
        _kinds.clear()
    if len(name) <= 64 and name not in _LOOKED_AT:
        _kinds[name] = kind
    return kind


def _take(name: bytes, value: bytes, decisive: dict[bytes, bytes], headers: Fields, crumbs: list[bytes]) -> None:
    """Take a field that has a meaning here."""
    if name in _OF_CONNECTION:
        raise malformed("a field that is about a connection of HTTP/1.1")
    if name == b"te" and value.lower() != b"trailers":
        raise malformed("te has to be trailers")
    if name == b"cookie":
        crumbs.append(value)
        if len(crumbs) > 1:
            return
    known = decisive.get(name)
    if known is None:
        decisive[name] = value
    elif name == b"host" or name == b"content-length":
        raise malformed(f"more than one {name.decode()} field")
    else:
        decisive[name] = known + b"," + value
    headers.append((name, value))


def _decide_method(request: Request, pseudo: dict[bytes, bytes]) -> None:
    """Decide on what the request is for, by its pseudo-header fields (RFC 9113 section 8.3.1, RFC 8441 section 4)."""
    method, path = pseudo.get(b":method"), pseudo.get(b":path")
    if method is None or _METHOD.fullmatch(method) is None:
        raise malformed(":method is missing, or no token")
    request.method = method.decode()
    protocol = pseudo.get(b":protocol")
    if method == b"CONNECT" and protocol is None:
        if path is not None or b":scheme" in pseudo or not pseudo.get(b":authority"):
            raise malformed("CONNECT has :authority, and neither :scheme nor :path")
        # An origin server is no tunnel (RFC 9110 section 9.3.6). A 2xx would promise one.
        raise RequestError(501, "not_implemented", "CONNECT is not supported")
    if protocol is not None:
        request.may_upgrade = True
        if method != b"CONNECT" or _PROTOCOL.fullmatch(protocol) is None:
            raise malformed(":protocol belongs to CONNECT, and has to be a token")
        request.upgrade = protocol.lower()
    scheme = pseudo.get(b":scheme")
    if scheme is None or _SCHEME.fullmatch(scheme) is None:
        raise malformed(":scheme is missing, or not valid")
    if path is None or _PATH.fullmatch(path) is None or (path == b"*" and method != b"OPTIONS"):
        raise malformed(":path is missing, or not valid")
    request.target = path
    request.split_target()


def _decide_authority(
    request: Request, headers: Fields, pseudo: dict[bytes, bytes], decisive: dict[bytes, bytes]
) -> None:
    """Decide on the authority, and put it first among the fields as `host` (RFC 9113 section 8.3.1)."""
    authority, host = pseudo.get(b":authority"), decisive.get(b"host")
    if authority is None:
        authority = host
    elif host is not None and host.lower() != authority.lower():
        raise malformed("host and :authority are not the same")
    if not authority:
        raise malformed("neither :authority nor host")
    if authority not in known_authorities:
        try:
            check_authority(authority)
        except RequestError:
            raise malformed(":authority, or host, is not valid") from None
    if host is not None:
        headers.remove((b"host", host))
    headers.insert(0, (b"host", authority))
    request.headers = headers
    request.authority = authority


def _decide_length(request: Request, value: bytes, *, complete: bool) -> None:
    try:
        request.content_length = read_length(value)
    except RequestError as error:
        if error.status == 413:
            raise
        raise malformed("the value of content-length is not a number") from None
    if complete and request.content_length:
        raise malformed("content-length announces a body, and none follows")
