"""Log records about an application that fails a request."""

from __future__ import annotations

import asyncio
from typing import Protocol

from appserver.asgi.trio import mistakes
from appserver.engine.admission import Overload
from appserver.engine.exchange import DONE, GONE, START, Exchange
from appserver.engine.service import Service
from appserver.engine.work import Work
from appserver.errors import ClientDisconnected, RequestError
from appserver.http.request import Request
from appserver.telemetry.serving import SESSION
from appserver.telemetry.task_stacks import describe_stack

_OWN = __package__.partition(".")[0]

ENDS_WORKER = (SystemExit, KeyboardInterrupt)
"""With these an application asks for the end of its process. It gets that, but not at the cost of other requests."""


def report_failure(service: Service, exchange: Exchange, error: BaseException | None) -> None:
    """Log and count that an application has raised `error`, or (None) returned without completing its response.

    Not its fault are the cancellation of its task by the server, that it has not been called, and whatever it lets out
    because the client has gone.
    """
    over = exchange.phase >= DONE or exchange.told_of_disconnect
    if isinstance(error, Overload) or because_of_disconnect(exchange, error) or is_cut_off(service, error, over=over):
        return
    service.slot.application_error()
    request = exchange.request
    if error is not None:
        event = "application ended the worker" if isinstance(error, ENDS_WORKER) else "application failed"
        # Frameworks answer 500 by themselves and then let the exception out: that it came before or after says nothing.
        cut_off = {"detail": "its response is incomplete"} if START < exchange.phase < DONE else {}
        if isinstance(error, asyncio.CancelledError):
            cut_off = {"detail": "its task was cancelled, and not by the server"}
        mistakes.explain(error, "asyncio")
        _skip_own_frames(error)
        service.logger.error(event, method=request.method, path=request.path, **cut_off, exc_info=error)
    else:
        detail = "returned without completing its response: send http.response.start, then http.response.body, and await both"
        service.logger.error("application failed", method=request.method, path=request.path, detail=detail)


def is_cut_off(service: Service, error: BaseException | None, *, over: bool) -> bool:
    """Whether `error` can be a cancellation by the server, which cancels in a drain, or what is `over` for its client.

    All other cancellations come from the application, or a library of its.
    """
    return isinstance(error, asyncio.CancelledError) and (over or service.draining)


def because_of_disconnect(exchange: Exchange, error: BaseException | None) -> bool:
    """Whether an application ends early, by `error` or (None) by returning, because it knows that its client is gone.

    To know that it is enough that `receive` has said so. That goes for a client that has closed its side only as well: most
    have closed both, which cannot be told apart before something is written.
    """
    if error is None:
        return exchange.told_of_disconnect
    return (exchange.phase == GONE or exchange.told_of_disconnect) and is_disconnect(error)


def report_session_failure(
    service: Service, request: Request, error: BaseException | None, detail: str, *, over: bool
) -> None:
    """The same for a session; `over`: it has ended, so that whatever comes of that is not the application's fault."""
    if is_cut_off(service, error, over=over) or (over and is_disconnect(error)):
        return
    service.slot.application_error()
    if error is not None:
        event = "application ended the worker" if isinstance(error, ENDS_WORKER) else "application failed"
        mistakes.explain(error, "asyncio")
        _skip_own_frames(error)
        service.logger.error(event, method=SESSION, path=request.path, detail=detail, exc_info=error)
    else:
        service.logger.error("application failed", method=SESSION, path=request.path, detail=detail)


def report_timeout(service: Service, work: Work, error: RequestError) -> None:
    """Log where an application stands that has taken too long."""
    request = work.request
    known = {} if work.request_id is None else {"request_id": work.request_id}
    stack = "" if work.task is None else describe_stack(work.task)
    service.logger.warning(
        "request timed out", method=request.method, path=request.path, detail=str(error), **known, stack=stack
    )


class Recorded(Protocol):
    """A request, or a session, as far as its record needs it."""

    request: Request

    def identity(self) -> dict[str, str]: ...


def report_unrecorded(service: Service, work: Recorded, error: Exception) -> None:
    """Log that the metrics or the access log could not take a request or a session, which is a mistake of the server's."""
    request = work.request
    service.logger.error(
        "request not recorded", method=request.method, path=request.path, **work.identity(), exc_info=error
    )


def _skip_own_frames(error: BaseException) -> None:
    """Let the traceback begin with the application, behind the engine and what adapts the application to ASGI."""
    traceback = error.__traceback__
    while traceback and traceback.tb_next and _is_own(traceback.tb_frame.f_globals.get("__package__")):
        traceback = traceback.tb_next
    error.__traceback__ = traceback


def _is_own(package: str | None) -> bool:
    return package is not None and package.partition(".")[0] == _OWN


def is_disconnect(error: BaseException | None) -> bool:
    """Whether `error` is ClientDisconnected, or was raised while handling it."""
    while error is not None:
        # Starlette turns the disconnect that `receive` tells of into errors of its own, which most endpoints let out.
        if isinstance(error, ClientDisconnected) or type(error).__name__ in ("ClientDisconnect", "WebSocketDisconnect"):
            return True
        if isinstance(error, BaseExceptionGroup):
            return all(map(is_disconnect, error.exceptions))
        error = error.__cause__ or error.__context__
    return False
