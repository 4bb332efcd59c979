"""The facts of a certificate that matter here: the octets in a PEM file, and from when to when it is valid.

Python's ssl tells that of a peer's certificate only. So this reads as much DER (X.690) as it takes to come to the
validity of an X.509 certificate (RFC 5280 section 4.1), which is not far into it.
"""

from __future__ import annotations

import base64
import binascii
import re
from datetime import UTC, datetime
from typing import NamedTuple

# RFC 7468. Text between the blocks is for people.
_BLOCK = re.compile(r"-----BEGIN CERTIFICATE-----\s*([A-Za-z0-9+/=\s]+)-----END CERTIFICATE-----")
_PRIVATE_KEY = re.compile(r"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----")

_SEQUENCE, _UTC_TIME, _GENERALIZED_TIME = 0x30, 0x17, 0x18
_VERSION = 0xA0
_BEFORE_VALIDITY = 3  # serialNumber, signature, issuer


class Validity(NamedTuple):
    """From when to when, in seconds since the epoch, both included."""

    not_before: float
    not_after: float


def pem_blocks(text: str) -> list[str]:
    """The certificates of a PEM file, each as PEM; empty if there is none."""
    return [match[0] + "\n" for match in _BLOCK.finditer(text)]


def holds_private_key(text: str) -> bool:
    """Whether a PEM file holds a private key, of whatever kind."""
    return _PRIVATE_KEY.search(text) is not None


def read_validity(pem: str) -> Validity:
    """Read the validity of the first certificate of a PEM file. Raises ValueError if there is none, or it is broken."""
    match = _BLOCK.search(pem)
    if match is None:
        raise ValueError("no certificate")
    try:
        der = base64.b64decode("".join(match[1].split()), validate=True)
    except binascii.Error as error:
        raise ValueError("not base64") from error
    _, certificate, _ = _element(der, _SEQUENCE)
    _, content, _ = _element(certificate, _SEQUENCE)
    tag, _, rest = _element(content)
    if tag == _VERSION:
        content = rest
    for _ in range(_BEFORE_VALIDITY):
        _, _, content = _element(content)
    _, validity, _ = _element(content, _SEQUENCE)
    tag, not_before, rest = _element(validity)
    tag_after, not_after, _ = _element(rest)
    return Validity(_moment(tag, not_before), _moment(tag_after, not_after))


def _element(data: bytes, wanted: int | None = None) -> tuple[int, bytes, bytes]:
    """Take the first element off: its tag, its content, and what follows. Raises ValueError."""
    if len(data) < 2:
        raise ValueError("it ends too early")
    tag, size, start = data[0], data[1], 2
    if size & 0x80:
        start += size & 0x7F
        size = int.from_bytes(data[2:start], "big")
    if size > len(data) - start or wanted not in (None, tag):
        raise ValueError("it is no X.509 certificate")
    return tag, data[start : start + size], data[start + size :]


def _moment(tag: int, content: bytes) -> float:
    """A UTCTime (its years are 1950 to 2049) or GeneralizedTime (RFC 5280 section 4.1.2.5). Raises ValueError."""
    text = content.decode("ascii")
    if tag == _UTC_TIME:
        text = ("19" if text[:2] >= "50" else "20") + text
    elif tag != _GENERALIZED_TIME:
        raise ValueError("it has no validity")
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC).timestamp()
