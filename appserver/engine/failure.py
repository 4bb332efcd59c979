"""What is said about an application that fails a request."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from appserver.engine.admission import Overload
from appserver.engine.exchange import DONE, GONE, ClientDisconnected, Exchange
from appserver.engine.service import Service
from appserver.errors import RequestError
from appserver.http.head import RequestHead
from appserver.telemetry.serving import SESSION
from appserver.telemetry.task_stacks import describe_stack

if TYPE_CHECKING:
    from appserver.engine.session import Session

ENDS_WORKER = (SystemExit, KeyboardInterrupt)
"""With these an application asks for the end of its process. It gets that, but not at the cost of other requests."""


def report_failure(service: Service, exchange: Exchange, error: BaseException | None) -> None:
    """Log and count that an application has raised `error`, or (None) returned without completing its response.

    Not its fault are the cancellation of its task, that it has not been called, and whatever it lets out because the
    client has gone.
    """
    if isinstance(error, asyncio.CancelledError | Overload) or because_of_disconnect(exchange, error):
        return
    service.slot.application_error()
    head = exchange.head
    if error is not None:
        event = "application ended the worker" if isinstance(error, ENDS_WORKER) else "application failed"
        when = "after the response was complete" if exchange.phase == DONE else "before the response was complete"
        _skip_own_frames(error)
        service.logger.error(event, method=head.method, path=head.path, detail=when, exc_info=error)
    else:
        detail = "returned without completing its response: send http.response.start, then http.response.body"
        service.logger.error("application failed", method=head.method, path=head.path, detail=detail)


def because_of_disconnect(exchange: Exchange, error: BaseException | None) -> bool:
    """Whether an application ends early, by `error` or (None) by returning, because it knows that its client is gone.

    To know that it is enough that `receive` has said so. That goes for a client that has closed its side only as well: most
    have closed both, which cannot be told apart before something is written.
    """
    if error is None:
        return exchange.told_of_disconnect
    return (exchange.phase == GONE or exchange.told_of_disconnect) and _is_disconnect(error)


def report_session_failure(
    service: Service, head: RequestHead, error: BaseException | None, detail: str, *, over: bool
) -> None:
    """The same for a session; `over`: it has ended, so that whatever comes of that is not the application's fault."""
    if isinstance(error, asyncio.CancelledError) or (over and _is_disconnect(error)):
        return
    service.slot.application_error()
    if error is not None:
        event = "application ended the worker" if isinstance(error, ENDS_WORKER) else "application failed"
        _skip_own_frames(error)
        service.logger.error(event, method=SESSION, path=head.path, detail=detail, exc_info=error)
    else:
        service.logger.error("application failed", method=SESSION, path=head.path, detail=detail)


def report_timeout(service: Service, exchange: Exchange | Session, error: RequestError) -> None:
    """Log where an application stands that has taken too long."""
    head = exchange.head
    stack = "" if exchange.task is None else describe_stack(exchange.task)
    service.logger.warning(
        "request timed out", method=head.method, path=head.path, detail=str(error), **exchange.identity(), stack=stack
    )


def report_unrecorded(service: Service, exchange: Exchange, error: Exception) -> None:
    """Log that the metrics or the access log could not take a request, which is a mistake of the server's."""
    head = exchange.head
    service.logger.error(
        "request not recorded", method=head.method, path=head.path, **exchange.identity(), exc_info=error
    )


def _skip_own_frames(error: BaseException) -> None:
    """Let the traceback begin with the application."""
    traceback = error.__traceback__
    while traceback and traceback.tb_next and traceback.tb_frame.f_globals.get("__package__") == __package__:
        traceback = traceback.tb_next
    error.__traceback__ = traceback


def _is_disconnect(error: BaseException | None) -> bool:
    """Whether `error` is ClientDisconnected, or was raised while handling it."""
    while error is not None:
        # Starlette turns the disconnect that `receive` tells of into errors of its own, which most endpoints let out.
        if isinstance(error, ClientDisconnected) or type(error).__name__ in ("ClientDisconnect", "WebSocketDisconnect"):
            return True
        if isinstance(error, BaseExceptionGroup):
            return all(map(_is_disconnect, error.exceptions))
        error = error.__cause__ or error.__context__
    return False
