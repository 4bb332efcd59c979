"""The opening handshake (RFC 6455 section 4.2): is this request one, and what is agreed on."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass

from websockets.datastructures import Headers
from websockets.exceptions import InvalidHeader, InvalidUpgrade
from websockets.extensions import Extension
from websockets.http11 import Request
from websockets.server import ServerProtocol

from appserver.errors import RequestError
from appserver.websocket.compression import DeflateFactory

REASON = "bad_handshake"
"""The label of a refusal in `appserver_rejected_total`."""

VERSION = "13"

QUIET = logging.Logger("websockets", logging.CRITICAL + 1)  # noqa: LOG001  # one that configuring logging cannot reach
"""For the library, which would log the end of each connection. The engine logs the sessions itself."""

_EXTENSIONS = (DeflateFactory(),)

Fields = Iterable[tuple[bytes, bytes]]


@dataclass(slots=True)
class Handshake:
    """The agreement of client and server, once the application accepts.

    `accept` and `extensions_field` are values for the response, None if there is none; `subprotocols` are those that the
    client offers, in its order.
    """

    accept: str | None
    extensions_field: str | None
    extensions: list[Extension]
    subprotocols: list[str]


def is_attempt(upgrade: bytes, fields: Fields, *, may_upgrade: bool) -> bool:
    """Whether a request whose (lower-cased) Upgrade field is `upgrade` wants to begin a session.

    Without HTTP/1.1 and the option in Connection (`may_upgrade`) the field has to be ignored (RFC 9110 section 7.8).
    But a request with a key cannot mean anything else; most likely a proxy has lost the rest, and should be told.
    """
    return upgrade == b"websocket" and (may_upgrade or any(name == b"sec-websocket-key" for name, _ in fields))


def shake_hands(method: str, http_version: str, fields: Fields, *, compression: bool) -> Handshake:
    """Check a handshake, and agree on what it offers. Names in `fields` are in lower case.

    Raises RequestError: 405 for another method than GET, 426 for another version of HTTP or of the protocol or without
    the option in Connection, 400 for a key that is missing or malformed, and for fields that cannot be understood.
    """
    if http_version == "2":
        return _shake_hands_in_stream(method, fields, compression=compression)
    if method != "GET":
        raise _refusal(405, "a WebSocket handshake has to be a GET request", ("allow", "GET"))
    if http_version != "1.1":
        detail = "a WebSocket handshake needs HTTP/1.1; a proxy in front has to be told to speak it (RFC 6455 4.1)"
        raise _refusal(426, detail, *_UPGRADE)
    headers = _headers(fields)
    if (given := _other_version(headers)) is not None:
        raise _refusal(426, f"the version of the WebSocket protocol has to be {VERSION}, got {given}", *_UPGRADE)
    protocol = ServerProtocol(extensions=_EXTENSIONS if compression else None, logger=QUIET)
    response = protocol.accept(Request("/", headers))
    if response.status_code != 101:
        raise _explain(protocol.handshake_exc)
    return Handshake(
        accept=response.headers["Sec-WebSocket-Accept"],
        extensions_field=response.headers.get("Sec-WebSocket-Extensions"),
        extensions=protocol.extensions,
        subprotocols=_tokens(headers.get_all("sec-websocket-protocol")),
    )


def _shake_hands_in_stream(method: str, fields: Fields, *, compression: bool) -> Handshake:
    """The same for an extended CONNECT of HTTP/2 (RFC 8441 section 5), which has no key, and answers no version with 426.

    The key only shows that both sides speak WebSocket; here `:protocol` does.
    """
    if method != "CONNECT":
        raise _refusal(400, "a WebSocket handshake over HTTP/2 has to be an extended CONNECT (RFC 8441)")
    headers = _headers(fields)
    if (given := _other_version(headers)) is not None:
        detail = f"the version of the WebSocket protocol has to be {VERSION}, got {given}"
        raise _refusal(400, detail, ("sec-websocket-version", VERSION))
    protocol = ServerProtocol(extensions=_EXTENSIONS if compression else None, logger=QUIET)
    try:
        extensions_field, extensions = protocol.process_extensions(headers)
    except InvalidHeader as error:
        raise _explain(error) from None
    return Handshake(None, extensions_field, extensions, _tokens(headers.get_all("sec-websocket-protocol")))


def _headers(fields: Fields) -> Headers:
    return Headers([(name.decode(), value.decode("latin-1")) for name, value in fields])


def _other_version(headers: Headers) -> str | None:
    """The version that a client asks for in place of the one spoken here; None: none."""
    versions = headers.get_all("sec-websocket-version")
    if versions == [VERSION]:
        return None
    return "another one" if versions else "none"


_UPGRADE = (("upgrade", "websocket"), ("connection", "upgrade"), ("sec-websocket-version", VERSION))


def _explain(error: Exception | None) -> RequestError:
    """The refusal for what `websockets` does not accept, without what the client sent."""
    if isinstance(error, InvalidUpgrade):
        detail = "a WebSocket handshake needs the option upgrade in Connection; a proxy in front has to pass it on"
        return _refusal(426, detail, *_UPGRADE)
    name = getattr(error, "name", None)
    if name == "Sec-WebSocket-Key":
        return _refusal(400, "Sec-WebSocket-Key has to be there once, and the base64 of 16 octets")
    return _refusal(400, f"{name or 'a field'} of the WebSocket handshake is malformed")


def _refusal(status: int, detail: str, *fields: tuple[str, str]) -> RequestError:
    return RequestError(status, REASON, detail, fields)


def _tokens(values: list[str]) -> list[str]:
    return [token for value in values for part in value.split(",") if (token := part.strip())]
