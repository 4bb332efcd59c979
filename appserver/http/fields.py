"""The fields of requests: their syntax (RFC 9110 section 5), and which of them decide something."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from appserver.errors import RequestError

Fields = list[tuple[bytes, bytes]]
"""Fields in their order, with lower-case names, and without the white space around values."""

# Possessive quantifiers (`++`) throughout: nothing that a client sends makes a pattern backtrack.
TCHAR = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]"
# RFC 9110 section 5.5: visible ASCII, obs-text, SP and HTAB.
VALUE = rb"[\t\x20-\x7e\x80-\xff]*+"

# uri-host [":" port] (RFC 9110 section 7.2). Without the comma that RFC 3986 allows in a reg-name: it is what a proxy
# makes of two Host fields. Empty is valid: a URI without an authority has an empty Host (RFC 9112 section 3.2).
AUTHORITY = re.compile(
    rb"(?:(?:[A-Za-z0-9\-._~!$&'()*+;=]|%[0-9A-Fa-f]{2})+|\[[0-9A-Fa-f:.]++\]|\[v[0-9A-Fa-f]++\.[A-Za-z0-9\-._~!$&'()*+;=:]++\])(?::[0-9]{0,5}+)?",
)

# 18 digits are below 2**63: no reader of the length, in whatever language, overflows.
MAX_LENGTH_DIGITS = 18

# The fields that decide something about the message itself. All others are the application's.
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

# The kind of a field, by its name.
PLAIN: Final = 0
HOST: Final = 1
CONNECTION: Final = 2
DECIDES: Final = 3  # one of the other decisive fields
FORWARDED: Final = 4
UNDERSCORED: Final = 5

UNDERSCORE: Final = 0x5F
"""As an octet: to search octets for octets by `in` raises and catches an error first, which costs thirty times as much."""

KINDS = (
    dict.fromkeys(DECISIVE, DECIDES) | {b"host": HOST, b"connection": CONNECTION} | dict.fromkeys(FORWARDING, FORWARDED)
)
"""The kinds of the fields that are known; `kind_of` knows the others."""

known_plain: set[bytes] = set()
"""Names that have been found plain. Most fields are, and to see that costs less here than in a dictionary."""

forget_kinds: list[Callable[[], object]] = [known_plain.clear]
"""One function for each memory of kinds, which makes it forget them all."""

_set_apart: set[bytes] = set()


def bad_request(message: str) -> RequestError:
    """The error for a request that violates the grammar (RFC 9110 section 15.5.1)."""
    return RequestError(400, "bad_request", message)


def kind_of(name: bytes) -> int:
    """The kind of a field whose name is not among `known_plain`.

    A name with an underscore is to be dropped. Applications make variables of names, as CGI did (RFC 3875 section
    4.1.18), and would take `X_Forwarded_For` for the `X-Forwarded-For` for which a proxy vouches.
    """
    kind = KINDS.get(name)
    if kind is None:
        kind = UNDERSCORED if UNDERSCORE in name else PLAIN
        if not kind and len(name) <= 64:  # a longer one is not remembered
            if len(known_plain) >= 1024:
                known_plain.clear()
            known_plain.add(name)
    return kind


def set_apart(name: bytes) -> bool:
    """Put fields of this name, in lower case, among `Request.forwarded` from now on, in the whole process.

    So that a field that few requests have is not searched for among all fields of each. Returns false, and leaves all as it
    is, if the name has a meaning already, or is dropped.
    """
    if name not in _set_apart:
        if name in KINDS or UNDERSCORE in name:
            return False
        KINDS[name] = FORWARDED
        _set_apart.add(name)
        for forget in forget_kinds:
            forget()
    return True


known_authorities: set[bytes] = set()
"""Authorities that are valid. A server sees few of them, and looking one up costs a fifth of matching it."""


def check_authority(value: bytes) -> None:
    """Check the value of a Host field, or the authority of a target; raises RequestError (400)."""
    if value and not AUTHORITY.fullmatch(value):
        raise bad_request("the value of Host, or the authority in the target, is not valid")
    if len(value) <= 256:  # a longer one is not remembered: a client can make it as long as a whole head
        if len(known_authorities) >= 256:
            known_authorities.clear()
        known_authorities.add(value)


def read_length(value: bytes) -> int:
    """Read Content-Length; raises RequestError (400, or 413 beyond all bounds)."""
    # bytes.isdigit is true for ASCII digits only.
    if not value.isdigit():
        raise bad_request("the value of Content-Length is not a number")
    if len(value) > MAX_LENGTH_DIGITS:
        raise RequestError(413, "body_too_large", "the value of Content-Length is beyond all bounds")
    return int(value)


def members(by_name: dict[bytes, bytes], name: bytes) -> list[bytes]:
    """The members of a list-based field, lower-cased; empty ones are ignored (RFC 9110 section 5.6.1.2)."""
    value = by_name.get(name)
    if value is None:
        return []
    return [member for part in value.lower().split(b",") if (member := part.strip(b" \t"))]


def waits_for_continue(by_name: dict[bytes, bytes]) -> bool:
    """Whether Expect asks for a 100 (Continue); raises RequestError (417) for any other expectation (section 10.1.1)."""
    expectations = members(by_name, b"expect")
    if any(expectation != b"100-continue" for expectation in expectations):
        raise RequestError(417, "expectation_failed", "the only expectation that can be met is 100-continue")
    return bool(expectations)
