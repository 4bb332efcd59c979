"""The settings of listeners and of who is at their other end: TLS, proxies."""

from typing import Literal

from appserver.settings.address import TCPAddress
from appserver.settings.model.base import Section
from appserver.settings.values import (
    Bind,
    Duration,
    ExistingPath,
    FileMode,
    Flag,
    OptionalPath,
    OptionalText,
    PositiveCount,
    Secret,
    ServerName,
    Trusted,
)


class ListenerSettings(Section):
    """An address to serve on. Write one [[listeners]] table for each; together they replace the default one."""

    bind: Bind = TCPAddress("127.0.0.1", 8000)
    """HOST:PORT, [v6]:PORT (port 0: the kernel chooses one), unix:/path, fd://N (an inherited listening socket)
    or systemd:NAME (one from socket activation, by its FileDescriptorName)."""

    backlog: PositiveCount = 2048
    """How many connections may wait to be accepted. The kernel cuts it to net.core.somaxconn."""

    tls: Flag = False
    """Speak TLS on this listener, with what [tls] says."""

    proxy_protocol: Flag = False
    """Expect every connection to begin with a PROXY protocol header (version 1 or 2), from a peer of proxy.trusted."""

    dual_stack: Flag = False
    """For [v6]:PORT only: take IPv4 connections as well, so that [::]:PORT is every address there is."""

    mode: FileMode = "0660"
    """The permissions of a unix socket, as octal digits."""

    user: OptionalText = None
    """The owner of a unix socket, by name. Default: the user that appserver runs as."""

    group: OptionalText = None
    """The group of a unix socket, by name. Default: the group that appserver runs as."""


class SNISettings(Section):
    """A further certificate, for clients that ask for another host name."""

    name: ServerName
    """The host name, or "*.example.org" for every name one level below."""

    certificate: ExistingPath
    """The certificate chain for that name (PEM)."""

    key: ExistingPath
    """Its private key (PEM)."""


class TLSSettings(Section):
    """TLS, for the listeners with tls = true."""

    certificate: OptionalPath = None
    """The certificate chain (PEM), the server's own certificate first."""

    key: OptionalPath = None
    """The private key (PEM). Default: it is in the certificate's file."""

    key_password: Secret = None
    """The password of an encrypted private key. Better given in a secret file, appserver_tls__key_password (GUIDE.md),
    or as APPSERVER_TLS__KEY_PASSWORD, than written here."""

    client_ca: OptionalPath = None
    """The certificates (PEM) of the authorities whose client certificates are accepted."""

    client_verify: Literal["none", "optional", "required"] = "none"
    """Whether clients are asked for a certificate, and whether they have to show one."""

    min_version: Literal["1.2", "1.3"] = "1.2"
    """The oldest version of TLS that is spoken."""

    ciphers: OptionalText = None
    """The ciphers for TLS 1.2 in OpenSSL's notation. Default: Mozilla's "intermediate" ones, which are ECDHE with AES-GCM
    or ChaCha20-Poly1305: no static RSA, no CBC."""

    check_interval: Duration = 60.0
    """How often the files are looked at: what has changed is used from the next connection on. 0: only at a reload."""

    sni: tuple[SNISettings, ...] = ()
    """Further certificates, one [[tls.sni]] table for each host name: name, certificate, key."""


class ProxySettings(Section):
    """Which proxies are believed when they say who the client is."""

    trusted: tuple[Trusted, ...] = ("127.0.0.1", "::1")
    """The addresses and networks of the proxies; "*" for every peer, "unix" for the peers of unix sockets."""

    headers: Literal["x-forwarded", "forwarded", "none"] = "x-forwarded"
    """Which headers are read from them: X-Forwarded-For and its family, or Forwarded (RFC 7239). Never both."""

    strips_prefix: Flag = True
    """Whether what is in front has taken the prefix (app.root_path, or X-Forwarded-Prefix) off the path. true: requests
    arrive without it, and it is always put in front of their path. false: requests arrive with it; one whose path is
    not below the prefix is answered 404. Which of the two it is cannot be told from a request."""
