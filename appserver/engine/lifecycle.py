"""The beginning and the end of a request, whatever carries it: the one place for everything that is not about the wire.

`begin` gives it its time limit, id, client and record in the scoreboard; `calls.call` makes the scope and the task and calls
the application; `finish` counts it and writes it to the access log.

    carrier reads a head ─▶ Exchange ─▶ begin ─▶ call ─▶ [application] ─▶ carrier ends the response ─▶ finish
"""

from __future__ import annotations

from typing import Any, Protocol

from appserver.engine.exchange import Exchange
from appserver.engine.failure import report_unrecorded
from appserver.engine.peer import Peer
from appserver.engine.service import Service
from appserver.engine.work import Work
from appserver.errors import RequestError
from appserver.proxy import Address


class Begun(Work, Protocol):
    """The attributes that `begin` sets on an exchange, and on a session, which begins with a request."""

    client: Address | None
    """The peer that has sent it; None if that is not known."""
    template: dict[str, Any]
    """The part of its scope that all requests to this address share."""
    finish_by: float
    """When the application has to be through, or a session accepted."""


def begin(service: Service, peer: Peer, work: Begun) -> None:
    """Begin to answer a request, whether an application will do that or the engine itself."""
    request = work.request
    work.started = now = service.clock()
    work.finish_by = now + service.request_timeout
    octets = b""
    if service.request_ids is not None:
        work.request_id = request_id = service.request_ids.of(request, peer.trusted)
        octets = request_id.encode()
    work.number = service.slot.request_started(now, work.kind, request.raw_path, octets)
    if peer.trusted:
        work.client, work.template = peer.find_origin(request)
    else:
        work.client, work.template = peer.address, peer.template


def finish(service: Service, exchange: Exchange, phase: int, status: int, outcome: str | None = None) -> float:
    """Count a request that is over for its client (`phase`: DONE or GONE), and write it to the access log.

    `status` is 0 if no response was begun, `outcome` as in the access log. Its octets are in the exchange. Returns the
    time. The application may still be at work on it.
    """
    now = service.clock()
    seconds = now - exchange.started
    received, sent = exchange.received, exchange.sent
    if exchange.called:
        service.registry.background.add(exchange)  # until the application is through with it
    exchange.enter(phase, now)
    request = exchange.request
    try:
        service.slot.request_finished(exchange.number, request.method, status, seconds, received, sent)
        if service.access_log is not None:
            service.access_log.request(
                request, exchange.client, status, seconds, received, sent, outcome, exchange.request_id
            )
    except Exception as error:  # noqa: BLE001  # costs the record, not the connection, which has no deadline now
        report_unrecorded(service, exchange, error)
    return now


def note_refusal(service: Service, error: RequestError, peer: Address | None, exchange: Exchange | None) -> None:
    """Count and log that a client does not get what it asks for; `exchange` is None if that is not known."""
    service.slot.rejected(error.reason)
    known = describe(peer, exchange)
    service.logger.info("request refused", status=error.status, reason=error.reason, detail=str(error), **known)


def describe(peer: Address | None, exchange: Exchange | None) -> dict[str, str]:
    """Client and target of the request, as far as they are known, as fields of a record."""
    client = peer if exchange is None else exchange.client
    known = {} if client is None else {"client": client[0]}
    if exchange is not None:
        known |= {"method": exchange.request.method, "path": exchange.request.path, **exchange.identity()}
    return known
