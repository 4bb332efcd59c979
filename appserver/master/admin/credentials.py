"""A listening unix socket that knows who connects to it."""

from __future__ import annotations

import os
import socket
import struct
from typing import Any

_CREDENTIALS = "iII"  # struct ucred (unix(7)): pid, uid, gid


class CredentialSocket(socket.socket):
    """Gives the user and the process of the peer in the place of an address, which a peer on a unix socket has none of.

    They are those of the moment when it connected, from the kernel: SO_PEERCRED.
    """

    @classmethod
    def take_over(cls, listening: socket.socket) -> CredentialSocket:
        """Replace a listening socket; it is not to be used afterwards."""
        taken = cls(fileno=listening.detach())
        taken.setblocking(False)
        return taken

    def _accept(self) -> tuple[int, Any]:
        """The lower half of `accept`, which the engine calls by itself."""
        descriptor, _ = super()._accept()  # type: ignore[misc]  # not in the stubs
        connected = socket.socket(fileno=descriptor)
        credentials = connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize(_CREDENTIALS))
        pid, uid, _ = struct.unpack(_CREDENTIALS, credentials)
        return connected.detach(), (str(uid), pid)


def denial(client: tuple[str, int]) -> str | None:
    """Why a peer may not control the server: it is neither its user nor root. None if it may."""
    uid = int(client[0])
    if uid in (0, os.geteuid()):
        return None
    return f"not permitted: this server takes commands from uid {os.geteuid()} and from root, not from uid {uid}"
