"""The transport of a WebSocket session: octets in both directions, behind the head of a request.

A session knows nothing of sockets, so that anything that carries octets both ways can carry it: a connection of its own
(`SocketPipe`, which takes the transport over from the connection of HTTP/1.1 that has read the handshake), or one stream of
several. The pipe also knows how the answer to the handshake is written where it comes from.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Protocol

from appserver.engine.link import Link
from appserver.engine.service import Service
from appserver.errors import RequestError
from appserver.http.request import Request
from appserver.http1.response import ResponseEncoder, error_response
from appserver.http1.switching import switching_protocols


class Pipe(Protocol):
    """Carries a session. It calls the session by `PipeUser`."""

    congested: bool  # the client does not take what is written: wait for `writable` before writing more
    reading: bool  # False: `pause_reading` was called
    received: int  # octets since the session has last set this to 0
    sent: int

    # The answer to the handshake.

    def begin_answer(self, request: Request, request_id: str | None) -> None:
        """Prepare for the answer to the handshake, which `request` is."""

    @property
    def on_wire(self) -> bool:
        """Whether the head of the answer has been sent."""

    @property
    def status(self) -> int:
        """The status of the answer; 0 as long as there is none."""

    def accept(self, agreed: Iterable[tuple[str, str]], headers: Iterable[Sequence[Any]]) -> None:
        """Accept the handshake, with the fields that were agreed on and those of the application; raises ResponseError."""

    def start(self, status: Any, headers: Iterable[Sequence[Any]]) -> bool:
        """Take the head of another answer, and hold it back; as that of `Carrier`."""

    def write_body(self, data: bytes, more: bool) -> None:
        """Send a piece of the body of that answer, the last one unless `more`."""

    def refuse(self, error: RequestError) -> None:
        """Answer with `error`; nothing of another answer is on the wire."""

    # The session.

    def write(self, octets: bytes) -> None: ...

    def write_pieces(self, pieces: list[bytes]) -> None:
        """The same without copying the pieces together, where that is possible."""

    async def writable(self) -> None:
        """Wait until the client reads again, or is gone."""

    def untaken(self) -> int:
        """How much of what was written the client has not acknowledged, in bytes, however far that is known."""

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    def watch(self, deadline: float) -> None:
        """Call `expire` of the session at that time. Replaces an earlier one."""

    # Ends.

    def linger(self) -> None:
        """Nothing more is written: end our direction, and wait a moment for the client to end its."""

    def close(self) -> None:
        """End both directions, as soon as everything is written."""

    def reset(self) -> None:
        """End both so that the client cannot take it for a regular end."""

    def abort(self) -> None:
        """End both at once; what is not written is lost."""


class PipeUser(Protocol):
    """The calls of a pipe to the session that it carries."""

    def data_received(self, data: bytes) -> None: ...

    def ended(self) -> None:
        """The client has ended its direction."""

    def lost(self, why: str) -> None:
        """The pipe ends now, and nothing can be written any more; `why` is for people."""

    def writing_resumed(self) -> None:
        """The client takes again what is written."""

    def expire(self, now: float) -> None:
        """The time has come that `watch` was called with."""

    def drain(self) -> None: ...

    def close_if_idle(self) -> None: ...

    def description(self) -> dict[str, str]:
        """The client of the session, as fields of a record."""


class SocketPipe(Link):
    """A pipe over a connection that has spoken HTTP/1.1 before."""

    __slots__ = ("_encoder", "_user")

    def __init__(self, service: Service, encoder: ResponseEncoder, user: PipeUser) -> None:
        """`encoder`: that of the connection, on which the handshake was the last request."""
        super().__init__(service)
        self._encoder = encoder
        self._user = user

    # The transport's side.

    def data_received(self, data: bytes) -> None:
        self.received += len(data)
        if not self._closing:
            self._user.data_received(data)

    def eof_received(self) -> bool:
        self._half_closed = True
        if not self._closing:
            self._user.ended()
        return False

    def connection_lost(self, error: Exception | None) -> None:
        self._user.lost("the connection was lost")
        super().connection_lost(error)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._user.writing_resumed()

    # Writing.

    def write(self, octets: bytes) -> None:
        super().write(octets)
        self._check_writing()

    def write_pieces(self, pieces: list[bytes]) -> None:
        super().write_pieces(pieces)
        self._check_writing()

    def _check_writing(self) -> None:
        """Have those who write wait if a write has failed, of which the transport tells only in the next turn of the loop.

        It takes whatever is written till then, so an application that does nothing but send would never come to that turn.
        """
        if self._transport.is_closing() and not self.congested:
            self.pause_writing()

    # The answer to the handshake.

    def begin_answer(self, request: Request, request_id: str | None) -> None:
        self._encoder.begin(request.method, request.http_version, keep_alive=False)
        self._encoder.id_field = self._service.id_field(request_id)

    @property
    def on_wire(self) -> bool:
        return self._encoder.on_wire

    @property
    def status(self) -> int:
        return self._encoder.status

    def accept(self, agreed: Iterable[tuple[str, str]], headers: Iterable[Sequence[Any]]) -> None:
        self.write(switching_protocols(self._service.defaults, agreed, headers, self._encoder.id_field))

    def start(self, status: Any, headers: Iterable[Sequence[Any]]) -> bool:
        return self._encoder.start(status, headers)

    def write_body(self, data: bytes, more: bool) -> None:
        self.write(b"".join(self._encoder.body(data, more)))

    def refuse(self, error: RequestError) -> None:
        self._encoder.begin("GET", "1.1", keep_alive=False)
        self.write(b"".join(error_response(self._encoder, error)))

    # Time.

    def watch(self, deadline: float) -> None:
        self._finish_by = deadline
        self._set_deadline()

    def _is_late(self, now: float) -> None:
        self._user.expire(now)

    def _client_sends_nothing(self) -> None:
        self._has_lingered()

    def _identity(self) -> dict[str, str]:
        return self._user.description()

    # Ends.

    def drain(self) -> None:
        self._user.drain()

    def close_if_idle(self) -> None:
        self._user.close_if_idle()

    def abort(self) -> None:
        # At once, not with the end of the connection: an application that never waits must not go on sending till then.
        self._user.lost("the connection was given up")
        super().abort()
