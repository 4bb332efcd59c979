"""Contexts: what OpenSSL needs to begin a connection, one for each certificate."""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from appserver.settings import TLSSettings
from appserver.tls.certificate import pem_blocks

if TYPE_CHECKING:
    from appserver.tls.material import Material

HTTP_1_1 = "http/1.1"
HTTP_2 = "h2"
"""The protocols spoken above TLS, by the names of RFC 7301."""

CIPHERS = (
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:"
    "ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305"
)
"""For TLS 1.2, if nothing else is wanted: Mozilla's "intermediate" configuration. Every one of them keeps what was recorded
secret when the key is lost later (no static RSA), and authenticates what it encrypts (no CBC). Those of TLS 1.3 all do."""

_VERIFY = {"none": ssl.CERT_NONE, "optional": ssl.CERT_OPTIONAL, "required": ssl.CERT_REQUIRED}
_VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


class KeyEncrypted(Exception):
    """A private key is encrypted, and there is no password for it."""


class ServerContext(ssl.SSLContext):
    """A context that knows its own certificate."""

    certificate: str
    """As PEM, without its chain."""


class ServerTLS:
    """The TLS contexts of listeners. `context` is for a new connection; it may be another one after `renew`."""

    context: ssl.SSLContext

    def __init__(self, settings: TLSSettings, material: Material, *, http2: bool) -> None:
        """Make the contexts. Raises ssl.SSLError for material that `read_material` would have refused.

        With `http2` clients may choose HTTP/2, and get it where they leave the choice to the server.
        """
        self._settings = settings
        self._protocols = [HTTP_2, HTTP_1_1] if http2 else [HTTP_1_1]
        self.renew(material)

    def renew(self, material: Material) -> None:
        """Use other certificates from the next connection on. Those that are open keep what they have."""
        default, *others = [self._make(material, index) for index in range(len(material.pairs))]
        by_name = {
            pair.name.lower(): context
            for pair, context in zip(material.pairs[1:], others, strict=True)
            if pair.name is not None
        }
        if by_name:
            default.sni_callback = _Selection(by_name)
        self.context = default

    def _make(self, material: Material, index: int) -> ServerContext:
        pair = material.pairs[index]
        context = make_context(self._settings)
        context.set_alpn_protocols(self._protocols)
        if material.client_ca is not None:
            context.load_verify_locations(cadata=material.client_ca)
            context.verify_mode = _VERIFY[self._settings.client_verify]
        load_pair(context, pair.certificate, pair.key, password(self._settings))
        context.certificate = pem_blocks(pair.certificate)[0]
        return context


class _Selection:
    """Puts the context for the name that a client asks for (SNI, RFC 6066 section 3) in the place of the default one."""

    def __init__(self, contexts: dict[str, ServerContext]) -> None:
        self._contexts = contexts

    def __call__(self, session: ssl.SSLObject, name: str | None, _default: ssl.SSLContext) -> None:
        if name is not None:
            name = name.lower()
            context = self._contexts.get(name) or self._contexts.get(f"*.{name.partition('.')[2]}")
            if context is not None:
                session.context = context


def make_context(settings: TLSSettings) -> ServerContext:
    """A context with everything but certificates. Raises ssl.SSLError if the ciphers have no meaning."""
    context = ServerContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = _VERSIONS[settings.min_version]
    # A client that may ask for new handshakes on a connection makes the server compute for it (CVE-2011-1473).
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION | ssl.OP_CIPHER_SERVER_PREFERENCE
    context.set_ciphers(settings.ciphers or CIPHERS)
    return context


def password(settings: TLSSettings) -> str | None:
    """The password of encrypted keys."""
    return None if settings.key_password is None else settings.key_password.get_secret_value()


def load_pair(context: ssl.SSLContext, certificate: str, key: str, key_password: str | None) -> None:
    """Have a context use a pair of PEM texts. Raises ssl.SSLError, KeyEncrypted."""

    def tell_password() -> str:
        # Without this, OpenSSL would ask for it at the terminal, and wait.
        if key_password is None:
            raise KeyEncrypted
        return key_password

    with _file(certificate) as certificate_path, _file(key or certificate) as key_path:
        context.load_cert_chain(certificate_path, key_path, tell_password)


@contextmanager
def _file(text: str) -> Iterator[str]:
    """A file without a place on any disk: OpenSSL, as Python has it, reads certificates of its own from files only."""
    fd = os.memfd_create("appserver-tls")
    try:
        os.write(fd, text.encode())
        yield f"/proc/self/fd/{fd}"
    finally:
        os.close(fd)
