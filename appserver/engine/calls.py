"""The call of the application for a request, or for a WebSocket session that begins with one.

`call` makes the scope and the task. A request can fail there: the application raises, returns too early, finds no place, or
takes too long. Then this module decides what is said about it, and has the carrier answer the client, or break the response
off if its head is on the wire.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from functools import partial
from typing import Any, Protocol, cast

from appserver.asgi.types import ASGIApplication, Message, Scope
from appserver.engine import refusal
from appserver.engine.admission import Overload
from appserver.engine.exchange import BODY, DONE, Carrier, Exchange
from appserver.engine.failure import (
    ENDS_WORKER,
    because_of_disconnect,
    is_cut_off,
    is_disconnect,
    report_failure,
    report_timeout,
)
from appserver.engine.lifecycle import Begun, note_refusal
from appserver.engine.scope import http_scope
from appserver.engine.service import EAGER, Service, start_task
from appserver.errors import RequestError
from appserver.forked import end_child, generation
from appserver.http.response import ResponseError
from appserver.telemetry.logs import REQUEST_ID


class Talk(Begun, Protocol):
    """A session, as far as `call_for_session` needs it."""

    async def receive(self) -> Message: ...

    async def send(self, message: Message) -> None: ...

    def application_ended(self, error: BaseException | None) -> None:
        """The application has raised `error` or (None) returned."""


class _Turn(tuple[None]):
    """Yields once to whoever runs the coroutine that awaits it. All of that is C: each request goes through it."""

    __slots__ = ()
    __await__: Any = tuple.__iter__


_HANDED_OVER = cast("Awaitable[None]", _Turn((None,)))
"""Where a task of Python 3.11 begins, whose coroutine has been run up to here.

A coroutine that has not begun does not come to know that its task is cancelled, as by an application that cancels all tasks that
there are: the client would wait for ever.
"""


def call(service: Service, exchange: Exchange) -> None:
    """Call the application, in a task of its own."""
    scope = http_scope(exchange.template, exchange.request, exchange.client, service.state)
    if exchange.request_id is not None:
        scope["state"]["request_id"] = exchange.request_id
    application = service.application
    if service.admission is not None:
        application = partial(service.admission.run, exchange, application)
    exchange.called = True  # not when the task begins to run: the client may be gone before
    running = _run(service, exchange, application, scope)
    if not EAGER:
        running.send(None)
    task = start_task(running, loop=service.loop, context=service.context.copy(), name=exchange.request_id)
    exchange.task = None if task.done() else task


async def _run(service: Service, exchange: Exchange, application: ASGIApplication, scope: Scope) -> None:
    """The body of the task."""
    try:
        if not EAGER:
            await _HANDED_OVER
        if exchange.request_id is not None:
            REQUEST_ID.set(exchange.request_id)  # for the records that are made in this task, and in what it starts
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
    if not EAGER:
        running.send(None)
    task = start_task(running, loop=service.loop, context=service.context.copy())
    session.task = None if task.done() else task


async def _run_for_session(service: Service, session: Talk, scope: Scope) -> None:
    """The body of the task."""
    try:
        if not EAGER:
            await _HANDED_OVER
        if session.request_id is not None:
            REQUEST_ID.set(session.request_id)
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
            _end_stream(carrier)
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


def _end_stream(carrier: Carrier) -> None:
    """End an event stream that the application has left as it was asked to."""
    try:
        carrier.write_body(b"", False)
    except ResponseError:  # it has announced a length, of which something is missing
        carrier.break_off("aborted")


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
