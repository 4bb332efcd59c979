"""What is said about an application that fails a request."""

from __future__ import annotations

import asyncio
from traceback import StackSummary
from types import FrameType
from typing import Any

from appserver.engine.admission import Overload
from appserver.engine.exchange import DONE, GONE, ClientDisconnected, Exchange
from appserver.engine.service import Service
from appserver.errors import RequestError

STACK_DEPTH = 64
"""Frames; deeper is recursion, or middleware that nobody reads."""


def report_failure(service: Service, exchange: Exchange, error: BaseException | None) -> None:
    """Log and count that an application has raised `error`, or (None) returned without completing its response.

    Not its fault are the cancellation of its task, that it has not been called, and whatever it lets out because the
    client has gone.
    """
    if isinstance(error, asyncio.CancelledError | Overload) or (exchange.phase == GONE and _is_disconnect(error)):
        return
    service.slot.application_error()
    head = exchange.head
    if error is not None:
        when = "after the response was complete" if exchange.phase == DONE else "before the response was complete"
        _skip_own_frames(error)
        service.logger.error("application failed", method=head.method, path=head.path, detail=when, exc_info=error)
    else:
        detail = "returned without completing its response: send http.response.start, then http.response.body"
        service.logger.error("application failed", method=head.method, path=head.path, detail=detail)


def report_timeout(service: Service, exchange: Exchange, error: RequestError) -> None:
    """Log where an application stands that has taken too long."""
    head = exchange.head
    stack = "" if exchange.task is None else describe_stack(exchange.task)
    service.logger.warning("request timed out", method=head.method, path=head.path, detail=str(error), stack=stack)


def describe_stack(task: asyncio.Task[None]) -> str:
    """Where an application waits, as text, outermost call first.

    `Task.get_stack` shows a suspended coroutine's own frame only; what that awaits has to be followed.
    """
    frames: list[tuple[FrameType, int]] = []
    awaited: Any = task.get_coro()
    while awaited is not None and len(frames) < STACK_DEPTH:
        frame = next(
            filter(None, (getattr(awaited, name, None) for name in ("cr_frame", "gi_frame", "ag_frame"))), None
        )
        if frame is not None and frame.f_globals.get("__package__") != __package__:
            frames.append((frame, frame.f_lineno))
        links = (getattr(awaited, name, None) for name in ("cr_await", "gi_yieldfrom", "ag_await"))
        awaited = next(filter(None, links), None)
    return "".join(StackSummary.extract(iter(frames)).format())


def stop_loop(error: BaseException) -> None:
    """End the worker as sys.exit in an application asks for; scheduled, as an event loop lets it out from there only."""
    raise error


def _skip_own_frames(error: BaseException) -> None:
    """Let the traceback begin with the application."""
    traceback = error.__traceback__
    while traceback and traceback.tb_next and traceback.tb_frame.f_globals.get("__package__") == __package__:
        traceback = traceback.tb_next
    error.__traceback__ = traceback


def _is_disconnect(error: BaseException | None) -> bool:
    """Whether `error` is ClientDisconnected, or was raised while handling it."""
    while error is not None:
        if isinstance(error, ClientDisconnected):
            return True
        if isinstance(error, BaseExceptionGroup):
            return all(map(_is_disconnect, error.exceptions))
        error = error.__cause__ or error.__context__
    return False
