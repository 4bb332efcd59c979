"""Proxies in front: whom to believe, and what they say about the client of a request or of a connection.

Owns the trust in peers, the headers in which proxies pass on what they saw (X-Forwarded-* and RFC 7239 Forwarded), and
the PROXY protocol. Must not know sockets, time or tasks: octets and addresses come in, answers go out.

- `trust` decides who is believed; everything that depends on it asks there. Start reading with it.
- `origin` is what a proxy may say about a request, and what follows from it; `x_forwarded` and `forwarded` read it from
  the two kinds of headers, of which a server believes one.
- `protocol` reads the header that a proxy puts in front of a connection.
"""

from __future__ import annotations

from appserver.proxy.origin import Origin, OriginReader
from appserver.proxy.readers import make_reader
from appserver.proxy.trust import Address, Node, Trust

__all__ = ["Address", "Node", "Origin", "OriginReader", "Trust", "make_reader"]
