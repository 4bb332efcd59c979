"""The response with which HTTP ends on a connection."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from appserver.http.response import HAS_DATE, HAS_SERVER, DefaultFields, ResponseError, check_name, check_value

# Decided by the handshake, or without a meaning in a response that has no body.
_NOT_WHEN_SWITCHING = {
    b"connection", b"content-length", b"sec-websocket-accept", b"sec-websocket-extensions", b"sec-websocket-protocol",
    b"sec-websocket-version", b"transfer-encoding", b"upgrade",
}  # fmt: skip


def switching_protocols(
    defaults: DefaultFields, agreed: Iterable[tuple[str, str]], headers: Iterable[Sequence[bytes]], id_field: bytes
) -> bytes:
    """Encode the response with which a WebSocket session begins (RFC 6455 section 4.2.2); raises ResponseError.

    `agreed` are the fields of the handshake, `headers` those of the application; `id_field` as of `ResponseEncoder`.
    """
    parts = [b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade"]
    parts += [f"\r\n{name}: {value}".encode("latin-1") for name, value in agreed]
    flags = 0
    for name, value in headers:
        if type(name) is not bytes or type(value) is not bytes:
            raise ResponseError(f"the headers of websocket.accept have to be pairs of bytes, got {name!r}: {value!r}")
        check_name(name)
        check_value(name, value)
        lower = name.lower()
        if lower in _NOT_WHEN_SWITCHING:
            advice = (
                "use its key subprotocol" if lower == b"sec-websocket-protocol" else "the server sends what is needed"
            )
            raise ResponseError(f"{name!r} cannot be among the headers of websocket.accept: {advice}")
        parts += (b"\r\n", name, b": ", value)
        if lower == b"date":
            flags |= HAS_DATE
        elif lower == b"server":
            flags |= HAS_SERVER
        elif lower == defaults.id_name:
            id_field = b""
    parts += (id_field, defaults.tails[flags])
    return b"".join(parts)
