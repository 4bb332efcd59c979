"""A socket that the master has bound and that is listening."""

from __future__ import annotations

import socket
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Listener:
    """`name` is what the operator calls it (the bind address) in logs and metrics.

    With `tls` its connections are encrypted; with `proxy_protocol` each begins with a header of the PROXY protocol, in
    front of that.
    """

    socket: socket.socket
    name: str
    tls: bool = False
    proxy_protocol: bool = False

    @classmethod
    def from_fd(cls, fd: int, name: str, *, tls: bool = False, proxy_protocol: bool = False) -> Listener:
        """Take over a descriptor of a listening socket; makes it non-blocking."""
        listening = socket.socket(fileno=fd)
        listening.setblocking(False)
        return cls(listening, name, tls, proxy_protocol)
