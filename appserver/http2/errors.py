"""Errors of HTTP/2: error codes (RFC 9113 section 7), and failures of a stream and of a connection."""

from __future__ import annotations

from enum import IntEnum

from appserver.errors import AppserverError


class Code(IntEnum):
    """The error codes of RST_STREAM and GOAWAY. Others may be received; they mean INTERNAL_ERROR (section 7)."""

    NO_ERROR = 0x0
    PROTOCOL_ERROR = 0x1
    INTERNAL_ERROR = 0x2
    FLOW_CONTROL_ERROR = 0x3
    SETTINGS_TIMEOUT = 0x4
    STREAM_CLOSED = 0x5
    FRAME_SIZE_ERROR = 0x6
    REFUSED_STREAM = 0x7
    CANCEL = 0x8
    COMPRESSION_ERROR = 0x9
    CONNECT_ERROR = 0xA
    ENHANCE_YOUR_CALM = 0xB
    INADEQUATE_SECURITY = 0xC
    HTTP_1_1_REQUIRED = 0xD


class Failure(AppserverError):
    """The client has broken a rule. The message says which one, without repeating what the client has sent."""

    def __init__(self, code: Code, message: str) -> None:
        super().__init__(message)
        self.code = code


class StreamFailure(Failure):
    """One stream ends with RST_STREAM; the connection goes on (RFC 9113 section 5.4.2)."""


class ConnectionFailure(Failure):
    """The connection ends with GOAWAY (RFC 9113 section 5.4.1)."""

    reason = "http2_error"
    """The label under which it is counted."""


class Flood(ConnectionFailure):
    """The client makes more work than it may (RFC 9113 section 10.5). `kind` says which limit it has passed.

    | kind | limit |
    |---|---|
    | control_frames | `http2.max_control_frames` |
    | header_block | size of a header block, packed or unpacked, or its frames |
    | resets | `http2.max_resets` |
    | slow | `http.header_timeout`, for a header block |
    | unread_answers | answers to its frames that the client does not read |
    """

    reason = "http2_flood"

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(Code.ENHANCE_YOUR_CALM, message)
        self.kind = kind


def violation(message: str) -> ConnectionFailure:
    """The failure of a connection whose client breaks the protocol."""
    return ConnectionFailure(Code.PROTOCOL_ERROR, message)
