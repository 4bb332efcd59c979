"""What all connections of one worker share."""

from __future__ import annotations

import asyncio
import functools
import math
import sys
import time
from collections.abc import Callable
from contextvars import copy_context
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from appserver.asgi.types import ASGIApplication
from appserver.engine.admission import Admission
from appserver.engine.exchange import Exchange
from appserver.engine.request_id import RequestIDs
from appserver.http.head import Limits
from appserver.http.parser import make_lexer
from appserver.http.response import DefaultFields
from appserver.proxy import Trust, make_reader
from appserver.settings import HTTPSettings, ProxySettings, WebSocketSettings
from appserver.telemetry.access_log import AccessLog
from appserver.telemetry.slot import WorkerSlot
from appserver.tls import ServerTLS

if TYPE_CHECKING:
    from appserver.engine.link import Link
    from appserver.engine.session import Session

start_task: Callable[..., asyncio.Task[None]] = asyncio.Task
if sys.version_info >= (3, 12):
    # Runs the application up to its first wait at once: one turn of the loop less, 0.4 µs, for one that never waits.
    start_task = functools.partial(asyncio.Task, eager_start=True)

JOIN_LIMIT = 16 * 1024
"""Up to this size copying pieces together costs less than a vectored write."""


class Logger(Protocol):
    """What the engine says, it says to this: an event in lower-case words, and its fields."""

    def info(self, event: str, **fields: Any) -> Any: ...

    def warning(self, event: str, **fields: Any) -> Any: ...

    def error(self, event: str, **fields: Any) -> Any: ...


@dataclass(frozen=True, slots=True)
class SessionLimits:
    """The settings of WebSocket sessions, with the values that say so for "no limit"."""

    max_message_size: int
    max_queue: int
    message_timeout: float
    ping_interval: float
    ping_timeout: float
    close_timeout: float
    compression: bool

    @classmethod
    def of(cls, settings: WebSocketSettings) -> SessionLimits:
        return cls(
            max_message_size=settings.max_message_size or sys.maxsize,
            max_queue=settings.max_queue or sys.maxsize,
            message_timeout=settings.message_timeout or math.inf,
            ping_interval=settings.ping_interval or math.inf,
            ping_timeout=settings.ping_timeout or math.inf,
            close_timeout=settings.close_timeout or math.inf,
            compression=settings.compression,
        )


class Service:
    """The application, the limits it is served within, and what counts and remembers the connections."""

    __slots__ = (
        "access_log", "admission", "application", "background", "body_timeout", "clock", "connections", "context",
        "date", "defaults", "draining", "farewell", "header_timeout", "join_limit", "keepalive_timeout", "lexer", "limits",
        "logger", "loop", "max_body_size", "max_requests", "on_exit", "read_origin", "request_ids",
        "request_timeout", "root_path", "session_limits", "sessions", "slot", "speaks_websocket", "state", "tls", "trust",
        "vacated", "write_timeout",
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
        access_log: AccessLog | None,
        logger: Logger,
        clock: Callable[[], float] = time.monotonic,
        date: Callable[[], float] = time.time,
        on_exit: Callable[[], None] = lambda: None,
        proxy: ProxySettings | None = None,
        request_ids: RequestIDs | None = None,
        tls: ServerTLS | None = None,
    ) -> None:
        self.application = application
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
        self.lexer = make_lexer(http.parser)
        self.limits = Limits(
            max_target_size=http.max_target_size or sys.maxsize,
            max_header_size=http.max_header_size or sys.maxsize,
            max_headers=http.max_headers or sys.maxsize,
        )
        self.max_body_size = http.max_body_size or sys.maxsize
        self.max_requests = http.max_requests_per_connection or sys.maxsize
        self.header_timeout = http.header_timeout or math.inf
        self.body_timeout = http.body_timeout or math.inf
        self.keepalive_timeout = http.keepalive_timeout or math.inf
        self.write_timeout = http.write_timeout or math.inf
        self.request_timeout = http.request_timeout or math.inf
        self.speaks_websocket = websocket.enabled
        self.session_limits = SessionLimits.of(websocket)
        self.defaults = DefaultFields(
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
        self.connections: set[Link] = set()
        # Exchanges that are over for their client (which has its response, or is gone) but not yet for the application.
        self.background: set[Exchange] = set()
        # Sessions whose application is at work; that may be longer than the session lasts.
        self.sessions: set[Session] = set()
        self.vacated: Callable[[], None] = lambda: None  # called when a connection has ended
