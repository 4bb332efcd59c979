"""A socket that the master has bound and that is listening."""

from __future__ import annotations

import socket
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Listener:
    """`name` is what the operator calls it (the bind address) in logs and metrics."""

    socket: socket.socket
    name: str

    @classmethod
    def from_fd(cls, fd: int, name: str) -> Listener:
        """Take over a descriptor of a listening socket; makes it non-blocking."""
        listening = socket.socket(fileno=fd)
        listening.setblocking(False)
        return cls(listening, name)
