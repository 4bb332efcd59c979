"""One stream: its state, its windows, what waits to be sent on it, and what the client still owes of its request."""

from __future__ import annotations

from collections import deque
from typing import Any

from appserver.http.fields import Fields
from appserver.http2.priority import UNSAID, Priority
from appserver.http2.states import State

QUEUE_LIMIT = 64 * 1024
"""Octets of a body that wait to be sent before the application has to wait; one message of it may come on top."""


class Stream:
    """The state that a connection keeps of a stream. `carrier` is for whoever handles the connection's events."""

    __slots__ = (
        "body_left", "carrier", "congested", "credit", "ending", "id", "moved", "offset", "priority", "queue", "queued",
        "receive_window", "received", "send_window", "sent", "state", "trailers", "tunnel",
    )  # fmt: skip

    def __init__(self, stream_id: int, send_window: int, receive_window: int) -> None:
        self.id = stream_id
        self.state = State.IDLE
        self.priority: Priority = UNSAID
        self.carrier: Any = None
        self.received = self.sent = 0  # octets of its frames, but for RST_STREAM, WINDOW_UPDATE and what is ignored
        self.tunnel = False  # its two directions end each for itself (RFC 8441 section 5)
        # The client's side.
        self.body_left: int | None = None  # octets of the announced Content-Length that are still to come
        self.receive_window = receive_window  # octets that the client may send
        self.credit = 0  # octets that it may send besides, once it is told
        # The server's side.
        self.send_window = send_window  # octets that the client takes
        self.queue: deque[bytes] = deque()
        self.offset = 0  # octets of the first piece of it that have been sent
        self.queued = 0  # octets that wait
        self.congested = False  # so many that whoever writes has to wait
        self.ending = False  # nothing follows what waits
        self.trailers: Fields | None = None  # ... but these
        self.moved = 0.0  # when something of it was sent last, or began to wait

    def __repr__(self) -> str:
        return f"<Stream {self.id} {self.state.name}>"
