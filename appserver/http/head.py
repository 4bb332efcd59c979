"""What a request head means: the one place that decides it, whichever lexer took the head apart.

The order of the checks is fixed, so that a head with several faults always gets the same answer.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote

from appserver.errors import RequestError
from appserver.http.grammar import Fields, bad_request


@dataclass(frozen=True, slots=True)
class Limits:
    """How large a head may be: `http.max_target_size` and `http.max_header_size` in octets, `http.max_headers` fields.

    The trailer section of a chunked body is held to the same, and so are chunk extensions.
    """

    max_target_size: int = 8 * 1024
    max_header_size: int = 64 * 1024
    max_headers: int = 100

    def target_too_large(self) -> RequestError:
        """The error for a request target beyond its limit (RFC 9110 section 15.5.15)."""
        message = f"the request target is larger than http.max_target_size ({self.max_target_size} octets)"
        return RequestError(414, "target_too_large", message)

    def head_too_large(self) -> RequestError:
        """The error for a head, or a trailer section, beyond its limit (RFC 6585 section 5)."""
        message = f"the header or trailer section is larger than http.max_header_size ({self.max_header_size} octets)"
        return RequestError(431, "head_too_large", message)

    def too_many_fields(self) -> RequestError:
        """The error for too many fields in a header or trailer section (RFC 6585 section 5)."""
        message = f"more header or trailer fields than http.max_headers ({self.max_headers})"
        return RequestError(431, "head_too_large", message)


class RequestHead:
    """A request as the server understood it.

    `method` is case-sensitive and may be any token. `target` is as it was sent; `path` (percent-decoded), `raw_path`
    and `query_string` are its parts, without the authority of an absolute-form. `headers` have lower-case names, in the
    order in which they came; `host` among them is the authority that the request is for (RFC 9112 section 3.3).

    A body follows if `content_length` is above 0 or `chunked` is true. `keep_alive` is the client's wish.
    `expect_continue` says that the client holds its body back until it gets a 100 (RFC 9110 section 10.1.1); `upgrade`
    is the lower-cased value of the Upgrade field of a request without a body, and `may_upgrade` says whether it counts
    (RFC 9110 section 7.8); `accepts_trailers` allows trailer fields in the response (RFC 9110 section 10.1.4). `forwarded`
    says that some field claims to come from a proxy; whether that is to be believed depends on who the peer is.
    """

    __slots__ = (
        "accepts_trailers",
        "chunked",
        "content_length",
        "expect_continue",
        "forwarded",
        "headers",
        "http_version",
        "keep_alive",
        "may_upgrade",
        "method",
        "path",
        "query_string",
        "raw_path",
        "target",
        "upgrade",
    )

    method: str
    target: bytes
    path: str
    raw_path: bytes
    query_string: bytes
    http_version: str
    headers: Fields
    content_length: int | None
    chunked: bool
    keep_alive: bool
    expect_continue: bool
    upgrade: bytes | None
    may_upgrade: bool
    accepts_trailers: bool
    forwarded: bool

    def __repr__(self) -> str:
        return f"<RequestHead {self.method} {self.target!r} HTTP/{self.http_version}>"


# The fields that decide something here. All others are the application's.
DECISIVE = frozenset(
    (b"connection", b"content-length", b"expect", b"host", b"te", b"transfer-encoding", b"upgrade"),
)

# The fields in which proxies pass on what they saw; `appserver.proxy` knows what they mean.
FORWARDING = frozenset(
    (
        b"forwarded",
        b"x-forwarded-for",
        b"x-forwarded-host",
        b"x-forwarded-port",
        b"x-forwarded-prefix",
        b"x-forwarded-proto",
    ),
)

# What `interpret` makes of a field by its name.
_PLAIN, _HOST, _CONNECTION, _DECISIVE, _FORWARDING, _UNDERSCORED = range(6)

# Names that have been looked at: one search for each field, also if nothing is to be done about it.
_known_names: dict[bytes, int] = {}

# uri-host [":" port] (RFC 9110 section 7.2). Without the comma that RFC 3986 allows in a reg-name: it is what a proxy
# makes of two Host fields. Empty is valid: a URI without an authority has an empty Host (RFC 9112 section 3.2).
AUTHORITY = re.compile(
    rb"(?:(?:[A-Za-z0-9\-._~!$&'()*+;=]|%[0-9A-Fa-f]{2})++|\[[0-9A-Fa-f:.]++\]|\[v[0-9A-Fa-f]++\.[A-Za-z0-9\-._~!$&'()*+;=:]++\])(?::[0-9]{0,5}+)?",
)
ABSOLUTE_FORM = re.compile(rb"https?://([^/?]*+)(/[^?]*+)?(?:\?(.*+))?", re.IGNORECASE)

# 18 digits are below 2**63: no reader of the length, in whatever language, overflows.
MAX_LENGTH_DIGITS = 18


def interpret(method: bytes, target: bytes, version: bytes, fields: Fields) -> RequestHead:
    """Decide what a head means. The arguments are what a lexer made of a head that follows the grammar.

    Raises RequestError: 505 for another major version, 400 for a target, Host or framing that is not valid or not
    unambiguous, 501 for CONNECT and for transfer codings other than chunked, 413 for a length beyond all bounds, 417
    for an unknown expectation. The connection has to be closed after each of them: framing is lost, or was never
    known.

    Fields whose name has an underscore are dropped. Applications make variables of names, as CGI did (RFC 3875 section
    4.1.18), and would take `X_Forwarded_For` for the `X-Forwarded-For` for which a proxy vouches.
    """
    head = RequestHead()
    head.method = method.decode()
    head.target = target
    head.headers = fields
    head.http_version = "1.1" if version == b"1.1" else _version(version)

    # Most heads decide nothing but the host; what does not get through this loop is looked at again, with care.
    host = None
    plain = version == b"1.1"
    forwarded = False
    for name, value in fields:
        kind = _known_names.get(name)
        if kind is None:
            kind = _kind_of(name)
        if not kind:  # plain
            continue
        if kind == _HOST and host is None:
            host = value
        elif kind == _FORWARDING:
            forwarded = True
        elif kind != _CONNECTION or value != b"keep-alive":
            plain = False
    if host is None:
        if head.http_version == "1.1":
            raise bad_request("an HTTP/1.1 request without Host")
    elif host not in _known_authorities:
        _check_authority(host)

    if target[0] == 0x2F:  # "/": origin-form
        raw_path, _, head.query_string = target.partition(b"?")
        head.raw_path = raw_path
        path = raw_path.decode()
        head.path = unquote(path) if "%" in path else path
    else:
        _decide_target(head)

    head.content_length = None
    head.chunked = head.expect_continue = head.accepts_trailers = head.may_upgrade = False
    head.keep_alive = True
    head.upgrade = None
    head.forwarded = forwarded
    if not plain:
        _decide_the_rest(head, fields)
    return head


def _decide_the_rest(head: RequestHead, fields: Fields) -> None:
    """Read the fields that decide something, and drop those whose name has an underscore.

    The values of a field that came more than once are joined (RFC 9110 section 5.3). Host is no list. Nor is
    Content-Length, but joined it is no number any more, and refused as such: two equal lengths might be taken as one (RFC
    9110 section 8.6), but it is safer not to, whatever a proxy in front made of them.
    """
    by_name: dict[bytes, bytes] = {}
    underscored = False
    for name, value in fields:
        if name not in DECISIVE:
            underscored = underscored or b"_" in name
        elif name not in by_name:
            by_name[name] = value
        elif name == b"host":
            raise bad_request("more than one Host field")
        else:
            by_name[name] += b"," + value
    if underscored:
        head.headers = [field for field in head.headers if b"_" not in field[0]]
    _decide_framing(head, by_name)
    _decide_connection(head, by_name)


def _kind_of(name: bytes) -> int:
    """What to make of a field whose name has not been looked at before, or is too long to be remembered."""
    if name in FORWARDING:
        kind = _FORWARDING
    elif name in DECISIVE:
        kind = {b"host": _HOST, b"connection": _CONNECTION}.get(name, _DECISIVE)
    else:
        kind = _UNDERSCORED if b"_" in name else _PLAIN
    if len(_known_names) >= 1024:
        _known_names.clear()
    if len(name) <= 64:
        _known_names[name] = kind
    return kind


def _version(version: bytes) -> str:
    """The version to speak (RFC 9110 section 2.5): a higher minor version is treated as the highest that is known."""
    if not version.startswith(b"1."):
        raise RequestError(505, "unsupported_version", "only HTTP/1.1 and HTTP/1.0 are spoken here")
    return "1.0" if version == b"1.0" else "1.1"


# Authorities that have been found valid. A server sees few of them, and looking one up costs a fifth of matching it.
_known_authorities: set[bytes] = set()


def _check_authority(value: bytes) -> None:
    """Check the value of a Host field, or the authority of a target; raises RequestError (400)."""
    if value and not AUTHORITY.fullmatch(value):
        raise bad_request("the value of Host, or the authority in the target, is not valid")
    if len(_known_authorities) >= 256:
        _known_authorities.clear()
    _known_authorities.add(value)


def _decide_target(head: RequestHead) -> None:
    """Read a target that is not in origin-form (RFC 9112 sections 3.2.2 to 3.2.4)."""
    if head.method == "CONNECT":
        # An origin server is no tunnel (RFC 9110 section 9.3.6). A 2xx would promise one.
        raise RequestError(501, "not_implemented", "CONNECT is not supported")
    head.query_string = b""
    if head.target == b"*":
        if head.method != "OPTIONS":
            raise bad_request("the target * is for OPTIONS only")
        head.raw_path, head.path = b"*", "*"
        return
    match = ABSOLUTE_FORM.fullmatch(head.target)
    if match is None:
        raise bad_request("the request target has none of the forms of RFC 9112 section 3.2")
    authority = match[1]
    if not authority:
        raise bad_request("the request target has no host")
    _check_authority(authority)
    head.raw_path = match[2] or b"/"
    head.path = unquote(head.raw_path.decode())
    head.query_string = match[3] or b""
    # "the origin server MUST ignore the received Host header field (if any) and instead use the host information of
    # the request-target" (RFC 9112 section 3.2.2)
    others = [field for field in head.headers if field[0] != b"host"]
    head.headers = [(b"host", authority), *others]


def _decide_framing(head: RequestHead, by_name: dict[bytes, bytes]) -> None:
    """Decide whether a body follows, and where it ends (RFC 9112 section 6.3).

    Where the RFC lets a server choose between repairing and refusing, this one refuses: a proxy in front may have
    chosen the other repair.
    """
    coding = by_name.get(b"transfer-encoding")
    length = by_name.get(b"content-length")
    if coding is not None:
        if length is not None:
            raise bad_request("Content-Length and Transfer-Encoding in one request")
        if head.http_version == "1.0":
            raise bad_request("Transfer-Encoding in an HTTP/1.0 request")
        if coding.lower() != b"chunked":
            _refuse_coding(coding)
        head.chunked = True
    elif length is not None:
        # bytes.isdigit is true for ASCII digits only.
        if not length.isdigit():
            raise bad_request("the value of Content-Length is not a number")
        if len(length) > MAX_LENGTH_DIGITS:
            raise RequestError(413, "body_too_large", "the value of Content-Length is beyond all bounds")
        head.content_length = int(length)


def _refuse_coding(coding: bytes) -> None:
    """Refuse transfer codings other than chunked, and whatever is not clearly chunked (RFC 9112 sections 6.1, 6.3)."""
    codings = coding.lower().split(b",")
    if codings[-1].strip(b" \t") == b"chunked" and not any(c.strip(b" \t") in (b"", b"chunked") for c in codings[:-1]):
        raise RequestError(501, "not_implemented", "a transfer coding other than chunked")
    raise bad_request("chunked is not the final transfer coding, or not clearly so")


def _decide_connection(head: RequestHead, by_name: dict[bytes, bytes]) -> None:
    """Decide what the client asks of this hop (RFC 9112 section 9.3, RFC 9110 sections 7.8, 10.1)."""
    options = _list(by_name, b"connection")
    has_body = head.chunked or bool(head.content_length)
    # A body has to be read before the protocol changes. Ignoring the upgrade is always allowed, and loses no octet.
    if b"upgrade" in by_name and not has_body:
        head.upgrade = by_name[b"upgrade"].lower()
    if head.http_version == "1.0":
        # Nothing but this: a server MUST ignore Upgrade and "100-continue" in an HTTP/1.0 request.
        head.keep_alive = b"keep-alive" in options and b"close" not in options
        return
    head.keep_alive = b"close" not in options
    head.may_upgrade = head.upgrade is not None and b"upgrade" in options
    head.accepts_trailers = b"trailers" in _list(by_name, b"te")
    expectations = _list(by_name, b"expect")
    if any(expectation != b"100-continue" for expectation in expectations):
        raise RequestError(417, "expectation_failed", "the only expectation that can be met is 100-continue")
    head.expect_continue = has_body and bool(expectations)


def _list(by_name: dict[bytes, bytes], name: bytes) -> list[bytes]:
    """The members of a list-based field, lower-cased; empty ones are ignored (RFC 9110 section 5.6.1.2)."""
    value = by_name.get(name)
    if value is None:
        return []
    return [member for part in value.lower().split(b",") if (member := part.strip(b" \t"))]
