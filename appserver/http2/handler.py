"""The events of a connection."""

from __future__ import annotations

from typing import Protocol

from appserver.errors import RequestError
from appserver.http.request import Request
from appserver.http2.errors import StreamFailure
from appserver.http2.stream import Stream


class Handler(Protocol):
    """The callbacks of a connection, called synchronously and in the order of the frames. `Stream.carrier` is the handler's own."""

    def on_request(self, stream: Stream, request: Request, *, complete: bool) -> None:
        """A request; its body is to come unless it is `complete`."""

    def on_unservable(self, stream: Stream, error: RequestError, method: str) -> None:
        """A request with this `method` that cannot be served, and has to be answered; no application is to see it."""

    def on_data(self, stream: Stream, data: bytes) -> None:
        """Octets of a body, never none."""

    def on_end(self, stream: Stream) -> None:
        """The request is complete; trailer fields have been checked, and discarded."""

    def on_reset(self, stream: Stream, failure: StreamFailure | None) -> None:
        """The stream has ended before its response was complete: by the client, or because of what it has done wrong."""

    def on_unread(self, stream: Stream) -> None:
        """The response is complete, its request is not: `Connection.reset` the stream, now or in a while.

        Until the reset the stream counts as open, and `on_data` has what arrives on it; it may end by the client first.
        `Connection.let_in` allows for that.
        """

    def on_rejected(self, stream_id: int, failure: StreamFailure) -> None:
        """A stream of which nothing has been said was refused with RST_STREAM: malformed, or (REFUSED_STREAM) one too many."""

    def on_reset_frame(self, direction: str, code: int) -> None:
        """A stream ends with RST_STREAM, "sent" or "received", whatever else is said of it; codes beyond `Code` occur."""

    def on_drained(self) -> None:
        """The client has seen the announcement of `announce_end`, which has asked for this, and all that it had sent before."""

    def on_writable(self, stream: Stream) -> None:
        """The stream is not `congested` any more, or has ended."""
