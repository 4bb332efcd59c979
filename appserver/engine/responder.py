"""The response side of a connection: what an exchange, or an error, has to say, and how it is counted."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from appserver.engine.exchange import GONE, Exchange
from appserver.engine.failure import report_unrecorded
from appserver.engine.file import FilePart
from appserver.engine.filecopy import copy_file
from appserver.engine.link import NEVER, Link
from appserver.engine.service import Service
from appserver.errors import RequestError
from appserver.http.response import CONTINUE, ResponseEncoder, ResponseError, early_hints, error_response
from appserver.proxy import Address

DISCARD_LIMIT = 256 * 1024
"""So much of a body that nobody wants is read for the sake of the connection; beyond that it is cheaper to close it."""


class Responder(Link):
    """Carrier of the exchanges, one after the other."""

    __slots__ = ("_body_size", "_client", "_expects_continue", "_receiving", "encoder")

    def __init__(self, service: Service, client: Address | None) -> None:
        super().__init__(service)
        self._client = client
        self.encoder = ResponseEncoder(service.defaults)
        self._receiving: Exchange | None = None  # whose body is arriving; its response may be complete already
        self._body_size = 0  # octets of that body so far
        self._expects_continue = False  # the client waits to be asked for it

    def _complete(self, exchange: Exchange) -> None:
        """The response is complete: wait for the next request, or end the connection."""
        raise NotImplementedError

    def write_body(self, data: bytes, more: bool) -> None:
        encoder = self.encoder
        if encoder.on_wire:
            parts = encoder.body(data, more)
        else:
            if self._receiving is not None:
                self._decide_on_unread_body(self._receiving, more)
            parts = encoder.head_and_body(data, more)
        if len(data) <= self._service.join_limit:
            octets = b"".join(parts)
            self._sent += len(octets)
            self._transport.write(octets)
        else:
            self._sent += sum(map(len, parts))
            self._transport.writelines(parts)
        if not more:
            assert self.exchange is not None
            self._complete(self.exchange)

    async def write_file(self, part: FilePart, more: bool) -> None:
        exchange = self.exchange
        assert exchange is not None
        if self._receiving is not None and not self.encoder.on_wire:
            self._decide_on_unread_body(self._receiving, more)
        before, behind, size = self.encoder.file(part.size, more)
        self.write(before)
        if size:
            await copy_file(self, part._replace(size=size))
        if exchange is self.exchange:
            self.write(behind)
            if not more:
                self._complete(exchange)

    def write_trailers(self, headers: Iterable[Sequence[bytes]]) -> None:
        exchange = self.exchange
        assert exchange is not None
        self.write(self.encoder.trailers(headers, accepted=exchange.head.accepts_trailers))
        self._complete(exchange)

    def hint(self, links: Iterable[bytes]) -> None:
        if self.encoder.on_wire:
            raise ResponseError("http.response.early_hint was sent after the head of the response")
        octets = early_hints(links)
        if self.exchange is not None and self.exchange.head.http_version != "1.0":
            self.write([octets])

    def _decide_on_unread_body(self, exchange: Exchange, more: bool) -> None:
        """The response does not wait for the request's body: announce the end if what follows is not worth reading.

        A client that waits for a 100 (Continue) may send its body nevertheless, or its next request (RFC 9110, 10.1.1).
        """
        left = (exchange.head.content_length or 0) - self._body_size
        if self._expects_continue or (left > DISCARD_LIMIT and not more):
            self.encoder.keep_alive = False

    def invite_body(self) -> None:
        if self._expects_continue:
            self._expects_continue = False
            if not self.encoder.on_wire:
                self.write([CONTINUE])

    def _answer(self, error: RequestError, outcome: str, method: str | None = None) -> None:
        """Send the answer to an error and end the connection; nothing of another answer is on the wire."""
        exchange = self.exchange
        if exchange is not None:
            method = exchange.head.method
        else:
            self.encoder.id_field = b""  # that of an earlier request
        self.encoder.begin(method or "GET", "1.1", keep_alive=False)
        self.write(error_response(self.encoder, error))
        if exchange is not None:
            self._finish(exchange, GONE, outcome)
        self._receiving = None
        self._linger()

    def _break_off(self, exchange: Exchange, outcome: str) -> None:
        """End the connection in a way that the client cannot take for the end of the response."""
        self._receiving = None
        self._finish(exchange, GONE, outcome)
        if self.encoder.ends_with_connection:
            self._reset()
        else:
            self._close()

    def _finish(self, exchange: Exchange, phase: int, outcome: str | None = None) -> float:
        """Count and forget an exchange that is over for the client; returns the time.

        The application may still be at work on it.
        """
        service = self._service
        now = service.clock()
        encoder = self.encoder
        status = encoder.status if encoder.on_wire else 0
        seconds = now - exchange.started
        received, sent = self._received, self._sent
        self._received = self._sent = 0
        self.exchange = None
        if exchange.called:
            service.background.add(exchange)  # until the application is through with it
        self._finish_by = NEVER
        exchange.enter(phase)
        try:
            service.slot.request_finished(exchange.number, exchange.head.method, status, seconds, received, sent)
            if service.access_log is not None:
                service.access_log.request(
                    exchange.head, self._client, status, seconds, received, sent, outcome, exchange.request_id
                )
        except Exception as error:  # noqa: BLE001  # costs the record, not the connection, which has no deadline now
            report_unrecorded(service, exchange, error)
        return now
