"""The ASGI extension "tls" (version 0.2): what an application may know of the encryption of a connection."""

from __future__ import annotations

import ssl
from functools import cache
from typing import Any

# RFC 4514 section 3, by the names that Python gives them. Others are written with the names they have.
_SHORT_NAMES = {
    "commonName": "CN",
    "localityName": "L",
    "stateOrProvinceName": "ST",
    "organizationName": "O",
    "organizationalUnitName": "OU",
    "countryName": "C",
    "streetAddress": "STREET",
    "domainComponent": "DC",
    "userId": "UID",
}
_VERSIONS = {"TLSv1": 0x0301, "TLSv1.1": 0x0302, "TLSv1.2": 0x0303, "TLSv1.3": 0x0304}  # RFC 8446 section 4.2.1

_ESCAPED = str.maketrans({character: f"\\{character}" for character in '"+,;<>\\'} | {"\0": "\\00"})


def describe_session(session: ssl.SSLObject) -> dict[str, Any]:
    """The extension for a connection, after its handshake."""
    certificate = session.getpeercert()
    cipher = session.cipher()
    return {
        "server_cert": getattr(session.context, "certificate", None),
        "client_cert_chain": _client_chain(session),
        "client_cert_name": distinguished_name(certificate["subject"]) if certificate else None,
        "client_cert_error": None,  # a client whose certificate is not valid does not get through the handshake
        "tls_version": _VERSIONS.get(session.version() or ""),
        "cipher_suite": _cipher_suites().get(cipher[0]) if cipher else None,
    }


def distinguished_name(subject: Any) -> str:
    """Write a name as RFC 4514 does: the most significant part last in the certificate comes first."""
    return ",".join(
        "+".join(f"{_SHORT_NAMES.get(kind, kind)}={_escape(value)}" for kind, value in part)
        for part in reversed(subject)
    )


def _escape(value: str) -> str:
    """RFC 4514 section 2.4."""
    escaped = value.translate(_ESCAPED)
    if escaped.startswith(("#", " ")):
        escaped = f"\\{escaped}"
    if escaped.endswith(" ") and len(value) > 1:
        escaped = f"{escaped[:-1]}\\ "
    return escaped


def _client_chain(session: Any) -> list[str]:
    """The certificates that the client has sent, its own first, as PEM."""
    if session.getpeercert(binary_form=True) is None:
        return []
    if hasattr(session, "get_unverified_chain"):  # from Python 3.13 on
        chain = session.get_unverified_chain()
    else:
        chain = [found.public_bytes(ssl._ssl.ENCODING_DER) for found in session._sslobj.get_unverified_chain()]  # type: ignore[attr-defined]
    return [ssl.DER_cert_to_PEM_cert(certificate) for certificate in chain]


@cache
def _cipher_suites() -> dict[str, int]:
    """The numbers of the cipher suites (RFC 8446 appendix B.4), by the names that OpenSSL has for them."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_ciphers("ALL:COMPLEMENTOFALL")
    return {cipher["name"]: int(cipher["id"]) & 0xFFFF for cipher in context.get_ciphers()}
