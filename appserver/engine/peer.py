"""The peer of a connection, and the client for whom it speaks: what all requests of one connection share."""

from __future__ import annotations

import ssl
from typing import Any

from appserver.engine.scope import replace_host, seen_by_proxy
from appserver.http.request import Request
from appserver.proxy import Address, OriginReader, Trust
from appserver.proxy.origin import NOTHING_ELSE

MAX_SEEN = 16
"""Of so many things that a proxy says about requests, the templates are kept."""

MAX_SIZE = 512
"""Characters of a host and a prefix that are kept. A proxy may pass on what its clients write, which may be as long as a head."""


class Peer:
    """The other end of a connection: a client, or a proxy.

    `address` is None for a unix socket. `trusted` says whether what it says about others is believed. `template` is
    what is the same in the scope of each of its requests (see `scope.scope_template`).
    """

    __slots__ = ("_read_origin", "_seen", "_trust", "address", "template", "trusted")

    def __init__(
        self, address: Address | None, template: dict[str, Any], trust: Trust, read_origin: OriginReader | None
    ) -> None:
        self.address = address
        self.template = template
        self.trusted = trust.trusts(address)
        self._trust = trust
        self._read_origin = read_origin
        # `template` with what a proxy says about more than the client, by that: one proxy says the same each time.
        self._seen: dict[tuple[Any, ...], dict[str, Any]] = {}

    def introduce(self, client: Address | None, server: Address | None) -> None:
        """A proxy has made the connection for another peer: which, and to where (None: through a unix socket)."""
        self.address = client
        self.trusted = self._trust.trusts(client)
        if server is not None:
            self.template = self.template | {"server": server}
        self._seen.clear()

    def secured(self, session: ssl.SSLObject) -> None:
        """Let applications know of the TLS session."""
        from appserver.tls import describe_session  # late: few servers encrypt, and no function does

        self.template = self.template | {"extensions": describe_session(session)}
        self._seen.clear()

    def find_origin(self, request: Request) -> tuple[Address | None, dict[str, Any]]:
        """The client of a request, and what its scope is to be made from; `request` may get another Host field by that.

        To be called for trusted peers. For all other peers, the client is the peer, whatever the fields say.
        """
        if not request.forwarded or self._read_origin is None:
            return self.address, self.template
        origin = self._read_origin(request.forwarded, self.address, self._trust)
        said = origin[1:]
        if said == NOTHING_ELSE:
            return origin.client, self.template
        template = self._seen.get(said)
        if template is None:
            template = seen_by_proxy(self.template, origin)
            if len(origin.authority or "") + len(origin.prefix or "") <= MAX_SIZE:
                if len(self._seen) >= MAX_SEEN:
                    self._seen.clear()
                self._seen[said] = template
        replace_host(request, origin, template["scheme"])
        return origin.client, template
