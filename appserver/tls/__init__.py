"""TLS: certificates and keys, from the files that an operator names to what a connection is encrypted with.

Owns the reading and checking of key material, the contexts made from it, and what is said of an encrypted connection to
the application. Must not know how octets travel, or which process does what.

- `material` reads the files and refuses what cannot be used. The master does that, with its privileges; the others get
  what was read, and never see a file. Start reading there.
- `certificate` tells from when to when a certificate is valid.
- `context` makes the contexts, and finds the one for the name that a client asks for.
- `session` is the ASGI extension "tls".
"""

from __future__ import annotations

from appserver.tls.context import HTTP_2, ServerTLS
from appserver.tls.material import Material, Pair, read_material, speaks_tls
from appserver.tls.session import describe_session

__all__ = ["HTTP_2", "Material", "Pair", "ServerTLS", "describe_session", "read_material", "speaks_tls"]
