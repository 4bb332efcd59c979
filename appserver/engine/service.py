"""The objects that all connections of one worker share."""

from __future__ import annotations

import asyncio
import functools
import math
import sys
import time
from collections.abc import Callable
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, Protocol

from appserver.asgi.root_path import BelowRootPath
from appserver.asgi.types import ASGIApplication
from appserver.engine.admission import Admission
from appserver.engine.peer import Peer
from appserver.engine.request_id import RequestIDs
from appserver.engine.work import Registry
from appserver.forked import generation
from appserver.http.limits import Limits
from appserver.http.request import Request
from appserver.http1.response import EncodedDefaults
from appserver.proxy import Address, Trust, make_reader
from appserver.settings import HTTP2Settings, HTTPSettings, ProxySettings, WebSocketSettings
from appserver.telemetry.access_format import SessionEnd
from appserver.telemetry.slot import WorkerSlot

if TYPE_CHECKING:  # a function, which has no connections, starts sooner without these
    from appserver.http1.parser import Lexer
    from appserver.http2.options import Options
    from appserver.tls import ServerTLS

start_task: Callable[..., asyncio.Task[None]] = asyncio.Task
EAGER = sys.version_info >= (3, 12)
"""Whether `start_task` runs a coroutine up to its first wait."""
if sys.version_info >= (3, 12):
    # Runs the application up to its first wait at once: one turn of the loop less, 0.4 µs, for one that never waits.
    start_task = functools.partial(asyncio.Task, eager_start=True)

JOIN_LIMIT = 16 * 1024
"""Up to this size copying pieces together costs less than a vectored write."""


class Logger(Protocol):
    """Takes the log records of the engine: an event in lower-case words, and its fields."""

    def info(self, event: str, **fields: Any) -> Any: ...

    def warning(self, event: str, **fields: Any) -> Any: ...

    def error(self, event: str, **fields: Any) -> Any: ...


class SessionLimits:
    """The settings of WebSocket sessions, with the values that say so for "no limit"."""

    __slots__ = (
        "close_timeout", "compression", "max_message_size", "max_queue", "message_timeout", "ping_interval", "ping_timeout",
    )  # fmt: skip

    def __init__(self, settings: WebSocketSettings) -> None:
        self.max_message_size = settings.max_message_size or sys.maxsize
        self.max_queue = settings.max_queue or sys.maxsize
        self.message_timeout = settings.message_timeout or math.inf
        self.ping_interval = settings.ping_interval or math.inf
        self.ping_timeout = settings.ping_timeout or math.inf
        self.close_timeout = settings.close_timeout or math.inf
        self.compression = settings.compression


class AccessLines(Protocol):
    """An access log (`telemetry.access_log`), as far as the engine needs it."""

    def request(
        self,
        head: Request,
        client: Address | None,
        status: int,
        seconds: float,
        received: int,
        sent: int,
        outcome: str | None = None,
        request_id: str | None = None,
    ) -> None:
        """Note a request whose response has ended."""

    def session(self, head: Request, client: Address | None, end: SessionEnd, request_id: str | None = None) -> None:
        """Note a WebSocket session that has ended."""


class Service:
    """The application, the limits it is served within, and what counts and remembers the connections."""

    __slots__ = (
        "access_log", "admission", "application", "body_timeout", "clock", "context",
        "date", "defaults", "draining", "farewell", "header_timeout", "join_limit", "keepalive_timeout", "lexer", "limits",
        "http2", "logger", "loop", "max_body_size", "max_requests", "on_exit", "process", "read_origin", "registry", "request_ids",
        "request_timeout", "root_path", "session_limits", "slot", "speaks_websocket", "state",
        "strips_prefix", "tls", "trust", "write_timeout",
    )  # fmt: skip

    def __init__(
        self,
        application: ASGIApplication,
        *,
        http: HTTPSettings,
        websocket: WebSocketSettings,
        admission: Admission | None,
        root_path: str,
        state: dict[str, Any],
        slot: WorkerSlot,
        access_log: AccessLines | None,
        logger: Logger,
        clock: Callable[[], float] = time.monotonic,
        date: Callable[[], float] = time.time,
        on_exit: Callable[[], None] = lambda: None,
        lexer: Lexer | None = None,
        proxy: ProxySettings | None = None,
        request_ids: RequestIDs | None = None,
        tls: ServerTLS | None = None,
        http2: HTTP2Settings | None = None,
    ) -> None:
        self.strips_prefix = proxy is None or proxy.strips_prefix
        self.application = application if self.strips_prefix else BelowRootPath(application)
        self.admission = admission
        self.root_path = root_path
        self.state = state
        self.slot = slot
        self.access_log = access_log
        self.logger = logger
        self.clock = clock
        self.date = date
        self.on_exit = on_exit  # called when an application has asked for the end of the worker
        self.request_ids = request_ids  # None: requests have none
        self.loop = asyncio.get_running_loop()
        # asyncio's own `writelines` forgot to pause the protocol up to 3.12.8 and 3.13.1 (CVE-2024-12254).
        self.join_limit = sys.maxsize if isinstance(self.loop, asyncio.BaseEventLoop) else JOIN_LIMIT
        # Each request gets a copy of this one. The present context is that of whoever the engine is called by, which may
        # be an application that serves another request.
        self.context = copy_context()
        self.lexer = lexer  # for connections of HTTP/1.1
        self.limits = Limits(
            max_target_size=http.max_target_size or sys.maxsize,
            max_header_size=http.max_header_size or sys.maxsize,
            max_headers=http.max_headers or sys.maxsize,
        )
        self.http2: Options | None = None
        if http2 is not None and http2.enabled:
            self.http2 = _http2_options(http2, self.limits, extended_connect=websocket.enabled)
        self.max_body_size = http.max_body_size or sys.maxsize
        self.max_requests = http.max_requests_per_connection or sys.maxsize
        self.header_timeout = http.header_timeout or math.inf
        self.body_timeout = http.body_timeout or math.inf
        self.keepalive_timeout = http.keepalive_timeout or math.inf
        self.write_timeout = http.write_timeout or math.inf
        self.request_timeout = http.request_timeout or math.inf
        self.speaks_websocket = websocket.enabled
        self.session_limits = SessionLimits(websocket)
        self.defaults = EncodedDefaults(
            http.server_header,
            date=http.date_header,
            fields=http.headers,
            id_name=request_ids.name if request_ids else b"",
        )
        self.defaults.refresh(date())
        self.tls = tls  # for the listeners that encrypt
        self.trust = Trust(proxy.trusted if proxy else ())
        self.read_origin = make_reader(proxy.headers) if proxy else None  # called for trusted peers only
        self.draining = False
        self.farewell = (1001, "")  # the close code of a drain, and its reason
        self.registry = Registry()
        self.process = generation()  # which serves; another one is a child that the application has forked

    @property
    def opening_timeout(self) -> float:
        """How long, in seconds, a new connection has for its first head, and for what comes before that.

        In a drain, the last ones out of the backlog have no more time to begin than those that are idle.
        """
        return min(self.header_timeout, self.keepalive_timeout) if self.draining else self.header_timeout

    def id_field(self, request_id: str | None) -> bytes:
        """The field with the id of a request, as `ResponseEncoder.id_field` wants it."""
        return b"" if self.request_ids is None or request_id is None else self.request_ids.prefix + request_id.encode()

    def peer(self, address: Address | None, template: dict[str, Any]) -> Peer:
        """The other end of a new connection; `template` as of `scope.scope_template`."""
        return Peer(address, template, self.trust, self.read_origin)


def _http2_options(settings: HTTP2Settings, limits: Limits, *, extended_connect: bool) -> Options:
    from appserver.http2.options import Options

    return Options(
        limits,
        max_concurrent_streams=settings.max_concurrent_streams,
        stream_window=settings.stream_window,
        connection_window=settings.connection_window,
        header_table_size=settings.header_table_size,
        max_resets=float(settings.max_resets),  # what the allowances of all connections begin with
        max_control_frames=float(settings.max_control_frames),
        extended_connect=extended_connect,
    )
