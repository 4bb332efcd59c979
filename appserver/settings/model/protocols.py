"""The settings of the protocols: HTTP, HTTP/2, WebSocket, the request's id."""

from typing import Literal

from appserver.settings.model.base import Section
from appserver.settings.values import (
    Count,
    Duration,
    FieldValue,
    Flag,
    HeaderField,
    OptionalFieldName,
    PositiveCount,
    Size,
    TableSize,
    Window,
)


class HTTPSettings(Section):
    """HTTP: its limits and time limits, which go for HTTP/1.1 and HTTP/2, and what is added to responses."""

    parser: Literal["auto", "httptools", "h11"] = "auto"
    """The parser of requests: httptools (C, fast) or h11 (Python). "auto": httptools, and h11 where httptools cannot be
    imported (PyPy, or a Python for which it has no wheel). Both give the same answers."""

    max_target_size: Size = 8 * 1024
    """The longest request target (path and query); a longer one is answered 414. 0: no limit."""

    max_header_size: Size = 64 * 1024
    """The largest request head (request line and all headers); a larger one is answered 431. 0: no limit."""

    max_headers: Count = 100
    """The most headers of a request; more are answered 431. 0: no limit."""

    max_body_size: Size = 0
    """The largest request body; a larger one is answered 413. 0: no limit."""

    header_timeout: Duration = 10
    """How long a request head may take to arrive, from its first byte (on a new connection, from its opening).
    0: no limit."""

    body_timeout: Duration = 30
    """How long a request body may make no progress. 0: no limit."""

    keepalive_timeout: Duration = 75
    """How long a connection may be idle between two requests. It has to be longer than the idle timeout of a load
    balancer in front, or requests are lost. 0: no limit."""

    write_timeout: Duration = 60
    """How long a client may take nothing of its response. 0: no limit."""

    request_timeout: Duration = 0
    """How long the application may take for a request; then it is cancelled and, if it has sent nothing, the request
    answered 504. 0: no limit."""

    max_requests_per_connection: Count = 0
    """Close a connection after this many requests. 0: never."""

    server_header: FieldValue = "appserver"
    """The Server header of responses without one. Empty: none."""

    date_header: Flag = True
    """Add a Date header to responses without one."""

    headers: tuple[HeaderField, ...] = ()
    """Headers to add to every response, each as "Name: value", such as "X-Frame-Options: DENY"."""


class HTTP2Settings(Section):
    """HTTP/2: over TLS for clients that choose it there, else for those that begin with it, as proxies can be told to."""

    enabled: Flag = True
    """Speak HTTP/2. Without it clients are offered HTTP/1.1 only."""

    max_concurrent_streams: PositiveCount = 100
    """How many requests a client may have under way on one connection; more are refused, and can be tried again."""

    stream_window: Window = 256 * 1024
    """How much of a request body is sent before the application has taken some of it: what a request may hold in memory.
    From 16KiB to 1GiB, and all that a connection may hold is this times max_concurrent_streams."""

    connection_window: Window = 1024 * 1024
    """How much of all bodies of a connection may be on its way to the server."""

    header_table_size: TableSize = 4096
    """How much is remembered of the headers of a connection to unpack those that follow (HPACK). 0: nothing."""

    max_resets: PositiveCount = 500
    """How many requests a client may give up, or have refused or broken off for its mistakes, at once, while it completes
    none; a tenth of that more each second. Beyond it the connection is closed (CVE-2023-44487, CVE-2025-8671)."""

    max_control_frames: PositiveCount = 2000
    """How many frames that carry nothing (pings, settings, priorities, windows, empty data) a client may send at once,
    beside those that its requests need; a tenth of that more each second. Beyond it the connection is closed."""


class WebSocketSettings(Section):
    """WebSocket sessions."""

    enabled: Flag = True
    """Accept WebSocket handshakes; without it they are ordinary requests."""

    max_message_size: Size = 16 * 1024 * 1024
    """The largest message, after decompression; a larger one closes the session with code 1009. 0: no limit."""

    message_timeout: Duration = 300
    """How long a message may take to arrive, from its first byte to its last; then the session is closed with code 1008.
    0: no limit."""

    max_queue: Count = 32
    """How many messages wait for the application before no more are read from the connection; less if they are large
    (64 KiB together). 0: no limit but that."""

    ping_interval: Duration = 20
    """How often a ping is sent to the client. 0: never."""

    ping_timeout: Duration = 20
    """How long the client may send nothing after a ping, neither the pong nor anything else; then the session is ended.
    0: no limit."""

    compression: Flag = True
    """Accept permessage-deflate from clients that offer it."""

    close_timeout: Duration = 10
    """How long the client may take for its half of the closing handshake. 0: no limit."""


class RequestIDSettings(Section):
    """The id by which a request is found again in the log."""

    header: OptionalFieldName = "x-request-id"
    """The header that holds it, in responses and in requests from proxies. Empty: requests have no id."""

    accept: Flag = True
    """Take the id from requests of trusted proxies (proxy.trusted), instead of making one."""
