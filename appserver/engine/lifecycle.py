"""The beginning and the end of a request, whatever carries it: the one place for everything that is not about the wire.

`begin` gives it its time limit, id, client and record in the scoreboard; `call` makes the scope and the task and calls the
application; `finish` counts it and writes it to the access log. In between a request can fail: the application raises,
returns too early, finds no place, or takes too long. Then this module decides what is said about it, and has the carrier
answer the client, or break the response off if its head is on the wire.

    carrier reads a head ─▶ Exchange ─▶ begin ─▶ call ─▶ [application] ─▶ carrier ends the response ─▶ finish
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any, Protocol

from appserver.asgi.types import ASGIApplication, Message, Scope
from appserver.engine import refusal
from appserver.engine.admission import Overload
from appserver.engine.exchange import BODY, DONE, Exchange
from appserver.engine.failure import (
    ENDS_WORKER,
    because_of_disconnect,
    is_cut_off,
    is_disconnect,
    report_failure,
    report_timeout,
    report_unrecorded,
)
from appserver.engine.peer import Peer
from appserver.engine.scope import http_scope
from appserver.engine.service import Service, start_task
from appserver.engine.work import Work
from appserver.errors import RequestError
from appserver.forked import end_child, generation
from appserver.proxy import Address
from appserver.telemetry.logs import REQUEST_ID


class Begun(Work, Protocol):
    """The attributes that `begin` sets on an exchange, and on a session, which begins with a request."""

    client: Address | None
    """The peer that has sent it; None if that is not known."""
    template: dict[str, Any]
    """The part of its scope that all requests to this address share."""
    finish_by: float
    """When the application has to be through, or a session accepted."""


class Talk(Begun, Protocol):
    """What `call_for_session` needs of a session."""

    async def receive(self) -> Message: ...

    async def send(self, message: Message) -> None: ...

    def application_ended(self, error: BaseException | None) -> None:
        """The application has raised `error` or (None) returned."""


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


def call(service: Service, exchange: Exchange) -> None:
    """Call the application, in a task of its own."""
    scope = http_scope(exchange.template, exchange.request, exchange.client, service.state)
    if exchange.request_id is not None:
        scope["state"]["request_id"] = exchange.request_id
    application = service.application
    if service.admission is not None:
        application = partial(service.admission.run, exchange, application)
    running = _run(service, exchange, application, scope)
    task = start_task(running, loop=service.loop, context=service.context.copy(), name=exchange.request_id)
    exchange.task = None if task.done() else task


async def _run(service: Service, exchange: Exchange, application: ASGIApplication, scope: Scope) -> None:
    """The body of the task."""
    exchange.called = True
    if exchange.request_id is not None:
        REQUEST_ID.set(exchange.request_id)  # for the records that are made in this task, and in what it starts
    try:
        await application(scope, exchange.receive, exchange.send)
    except BaseException as error:  # noqa: BLE001  # whatever an application raises ends its request, not the worker
        if service.process != generation():
            end_child(error)
        _fail(service, exchange, error)
    else:
        if exchange.phase < DONE:
            _fail(service, exchange, None)
    exchange.task = None
    service.registry.background.discard(exchange)


def call_for_session(service: Service, session: Talk, scope: Scope) -> None:
    """Call the application for a WebSocket session, in a task of its own."""
    if session.request_id is not None:
        scope["state"]["request_id"] = session.request_id
    running = _run_for_session(service, session, scope)
    task = start_task(running, loop=service.loop, context=service.context.copy())
    session.task = None if task.done() else task


async def _run_for_session(service: Service, session: Talk, scope: Scope) -> None:
    """The body of the task."""
    if session.request_id is not None:
        REQUEST_ID.set(session.request_id)
    try:
        await service.application(scope, session.receive, session.send)
    except BaseException as error:  # noqa: BLE001  # whatever an application raises ends its session, not the worker
        if service.process != generation():
            end_child(error)
        session.application_ended(error)
    else:
        session.application_ended(None)
    session.task = None
    service.registry.sessions.discard(session)


def _fail(service: Service, exchange: Exchange, error: BaseException | None) -> None:
    """The application has raised `error`, or (None) returned before the response was complete."""
    report_failure(service, exchange, error)
    if exchange.phase < DONE:
        carrier = exchange.carrier
        if isinstance(error, Overload):
            note_refusal(service, error, exchange.client, exchange)
            carrier.turn_away(error)
        elif exchange.asked_to_end and exchange.phase == BODY and _has_obeyed(error):
            carrier.write_body(b"", False)
        elif because_of_disconnect(exchange, error):
            carrier.break_off("aborted")
        elif carrier.on_wire:
            carrier.break_off("error")
        elif is_cut_off(service, error, over=exchange.told_of_disconnect):
            carrier.refuse(refusal.application_cancelled(), "aborted")
        else:
            carrier.refuse(refusal.application_failed(), "error")
    if isinstance(error, ENDS_WORKER):
        service.on_exit()


def _has_obeyed(error: BaseException | None) -> bool:
    """Whether an application that was asked to end its stream has done so: it returned, or left its waiting by cancelling."""
    return error is None or isinstance(error, asyncio.CancelledError) or is_disconnect(error)


def time_out(service: Service, exchange: Exchange, error: RequestError | None = None) -> None:
    """The application has taken longer than it may: answer in its place, and cancel its task.

    `error` is the answer where it is another limit than `http.request_timeout`.
    """
    error = error or refusal.application_late(service)
    service.slot.rejected(error.reason)
    report_timeout(service, exchange, error)
    task = exchange.task
    if exchange.carrier.on_wire:
        exchange.carrier.break_off("timed_out")
    else:
        exchange.carrier.refuse(error, "timed_out")
    exchange.ignore_no_more()
    if task is not None:
        task.cancel()


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
