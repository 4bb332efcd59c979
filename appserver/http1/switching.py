"""The response with which HTTP ends on a connection."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from appserver.http.response import HAS_DATE, HAS_SERVER, check_handshake_field
from appserver.http1.response import EncodedDefaults


def switching_protocols(
    defaults: EncodedDefaults, agreed: Iterable[tuple[str, str]], headers: Iterable[Sequence[Any]], id_field: bytes
) -> bytes:
    """Encode the response with which a WebSocket session begins (RFC 6455 section 4.2.2); raises ResponseError.

    `agreed` are the fields of the handshake, `headers` those of the application; `id_field` as of `ResponseEncoder`.
    """
    parts = [b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade"]
    parts += [f"\r\n{name}: {value}".encode("latin-1") for name, value in agreed]
    flags = 0
    for name, value in headers:
        check_handshake_field(name, value)
        parts += (b"\r\n", name, b": ", value)
        lower = name.lower()
        if lower == b"date":
            flags |= HAS_DATE
        elif lower == b"server":
            flags |= HAS_SERVER
        elif lower == defaults.id_name:
            id_field = b""
    parts += (id_field, defaults.tails[flags])
    return b"".join(parts)
