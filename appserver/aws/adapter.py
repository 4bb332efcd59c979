"""From an event to its answer: the application is called by the engine as for any other request.

event ─▶ events.recognise ─▶ request ─▶ Exchange ─▶ lifecycle ─▶ [application] ─▶ answer, or a stream
└─ none of them ─▶ lambda.other, or an EventError
"""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import json
import math
import threading
from collections.abc import Callable
from functools import partial
from typing import Any, cast

from appserver.asgi.types import ASGIApplication
from appserver.aws import events
from appserver.aws.events import InvocationRequest, Kind, Options
from appserver.aws.invocation import Buffered, Stream, Streamed, refusal
from appserver.engine import calls, lifecycle
from appserver.engine.admission import Admission
from appserver.engine.exchange import DONE, Exchange
from appserver.engine.refusal import body_too_large
from appserver.engine.request_id import RequestIDs
from appserver.engine.scope import scope_template
from appserver.engine.service import Logger, Service
from appserver.errors import EventError, RequestError
from appserver.http.request import Request
from appserver.settings import RequestIDSettings, Settings
from appserver.telemetry.access_log import AccessLog
from appserver.telemetry.logs import REQUEST_ID, TRACE_ID
from appserver.telemetry.slot import Uncounted
from appserver.telemetry.task_stacks import describe_stack

MAX_TEMPLATES = 64
"""Of so many addresses of the function the templates of scopes are kept."""

CANCELLATION_GRACE = 0.1
"""Seconds that a cancelled application gets to end itself."""

# Octets of a head beside what a request says: of its first line and the empty one at the end, and of each field.
_LINES = len("  HTTP/1.1\r\n\r\n")
_FIELD = len(": \r\n")

Other = Callable[[Any, Any], Any]
"""A function for events that are no requests; it may be a coroutine function."""


class Invocation:
    """One event, and what Lambda says about it.

    `deadline` is when Lambda ends it, on the clock of the event loop. `open_stream` is None where the whole answer is wanted.
    """

    __slots__ = ("context", "deadline", "event", "exchange", "open_stream", "request_id", "task", "trace_id")

    def __init__(self, event: Any, context: Any, request_id: str, deadline: float, trace_id: str | None = None) -> None:
        self.event = event
        self.context = context
        self.request_id = request_id
        self.deadline = deadline
        self.trace_id = trace_id
        self.open_stream: Callable[[], Stream] | None = None
        self.exchange: Exchange | None = None  # set when there is one
        self.task: asyncio.Task[Any] | None = None  # that of `lambda.other`


class InvocationIDs(RequestIDs):
    """The id of an invocation is the id of its request, unless a trusted proxy has given it one."""

    __slots__ = ()

    def of(self, request: Request, trusted: bool) -> str:
        self._made = [cast("InvocationRequest", request).aws_request_id]  # the next one that is given out
        return super().of(request, trusted)


class Adapter:
    """Answers events with one application, in the event loop that runs when it is made."""

    def __init__(
        self,
        application: ASGIApplication,
        settings: Settings,
        *,
        state: dict[str, Any],
        access_log: AccessLog | None,
        logger: Logger,
        other: Other | None = None,
        on_exit: Callable[[], None] = lambda: None,
        recognise: Callable[[Any, Any], Kind | None] | None = None,
    ) -> None:
        """`state` is what the lifespan has left for requests; `on_exit` is called when the application raises SystemExit.

        `recognise` is asked first for the kind of an event, with its context.
        """
        own = settings.on_lambda
        self._options = Options.of(own)
        self._margin = own.deadline_margin
        self._other = other
        self._recognise = recognise
        self._templates: dict[tuple[Any, ...], dict[str, Any]] = {}
        self._settings = settings
        self._logger = logger
        self.access_log = access_log
        workers = settings.workers
        admission = None
        if workers.max_concurrency:
            admission = Admission(workers.max_concurrency, workers.queue_size, workers.queue_timeout or None)
        self.service = Service(
            application,
            # Gateways add both themselves, and pass on what they get under other names.
            http=settings.http.model_copy(update={"server_header": "", "date_header": False}),
            websocket=settings.websocket,
            admission=admission,
            root_path=settings.app.root_path,
            state=state,
            slot=Uncounted(),
            access_log=access_log,
            logger=logger,
            on_exit=on_exit,
            proxy=settings.proxy,
            request_ids=_request_ids(settings.request_id),
        )

    async def answer(self, invocation: Invocation) -> Any:
        """The answer to an event, which JSON can hold; None if it has gone to a stream.

        The application may still be at work behind its response: see `settle`. Raises EventError for what is no request and
        has no function, and whatever such a function raises.
        """
        event = invocation.event
        kind = self._recognise(event, invocation.context) if self._recognise is not None else None
        kind = kind or events.recognise(event)
        if kind is None:
            return await self._call_other(invocation)
        try:
            request = kind.read(event, self._options)
            _check_size(self.service, request)
        except RequestError as error:
            self._logger.warning("request refused", status=error.status, reason=error.reason, detail=str(error))
            self.service.slot.rejected(error.reason)
            return refusal(kind, event, error, self._options)
        request.aws_request_id, request.trace_id = invocation.request_id, invocation.trace_id
        service = self.service
        carrier: Buffered | Streamed
        if invocation.open_stream is not None and kind.streams:
            carrier = Streamed(service, kind, event, request, self._options, invocation.open_stream)
        else:
            carrier = Buffered(service, kind, event, request, self._options)
        exchange = Exchange(carrier, request)
        carrier.exchange = invocation.exchange = exchange
        if request.body:
            exchange.take(request.body)
            exchange.received = len(request.body)
        exchange.end()
        template = self._template(request) | {"aws.event": event, "aws.context": invocation.context}
        if request.extra:
            template |= request.extra
        lifecycle.begin(service, service.peer(request.client, template), exchange)
        if exchange.request_id is not None:
            carrier.id_value = exchange.request_id.encode()
        exchange.finish_by = min(exchange.finish_by, self._time_is_up(invocation))
        service.context.run(TRACE_ID.set, invocation.trace_id)  # the task gets a copy
        calls.call(service, exchange)
        if exchange.phase < DONE:
            await asyncio.sleep(0)  # an application that waits for nothing is through after one turn, without a timer
            if exchange.phase < DONE:
                await self._wait(exchange, carrier)
        return carrier.answer if isinstance(carrier, Buffered) else None

    async def settle(self, invocation: Invocation) -> None:
        """Wait for what the application does behind its response; what is not through when the time is up is cancelled."""
        exchange = invocation.exchange
        task = None if exchange is None else exchange.task
        if exchange is None or task is None:
            return
        now = self.service.clock()
        left = max(self._time_is_up(invocation) - now, CANCELLATION_GRACE)
        _, running = await asyncio.wait([task], timeout=left)
        if running:
            self._logger.warning(
                "work behind the response cut off",
                method=exchange.request.method,
                path=exchange.request.path,
                detail="it has not ended before the invocation has to",
                stack=describe_stack(task),
                **exchange.identity(),
            )
            task.cancel()
            await asyncio.wait([task], timeout=CANCELLATION_GRACE)

    def cut_off(self, invocation: Invocation) -> None:
        """The environment ends before the application is through with an invocation: log where it stands, and cancel it."""
        task = invocation.task if invocation.exchange is None else invocation.exchange.task
        if task is not None:
            self._logger.warning(
                "invocation cut off",
                request_id=invocation.request_id,
                reason="the environment ends",
                stack=describe_stack(task),
            )
            self.service.draining = True
            task.cancel()

    def _time_is_up(self, invocation: Invocation) -> float:
        """When the application has to be through with an invocation."""
        now = self.service.clock()
        left = invocation.deadline - now
        return now + max(0.0, left - min(self._margin, left / 2))

    async def _wait(self, exchange: Exchange, carrier: Buffered | Streamed) -> None:
        """Wait for the end of the response, and answer in place of an application that takes too long."""
        loop = self.service.loop
        carrier.waiter = loop.create_future()
        timer = loop.call_at(exchange.finish_by, self._time_out, exchange) if exchange.finish_by < math.inf else None
        try:
            await carrier.waiter
        finally:
            carrier.waiter = None
            if timer is not None:
                timer.cancel()

    def _time_out(self, exchange: Exchange) -> None:
        if exchange.phase < DONE:
            limit = exchange.finish_by - exchange.started
            error = None
            if limit < self.service.request_timeout:
                late = f"the application has not answered within {limit:.3g} s, and the function's time is up"
                error = RequestError(504, "request_timeout", late)
            calls.time_out(self.service, exchange, error)

    def _template(self, request: InvocationRequest) -> dict[str, Any]:
        """The part that the scopes of all requests to one address of the function have in common."""
        key = (request.scheme, request.server, request.root_path)
        found = self._templates.get(key)
        if found is None:
            if len(self._templates) >= MAX_TEMPLATES:
                self._templates.clear()
            prefix = self.service.root_path
            found = scope_template(
                scheme=request.scheme, server=request.server, root_path=prefix + request.root_path, strips_prefix=False
            )
            if self.service.strips_prefix:
                found["path"] = prefix  # events lack it; the base path they have
            self._templates[key] = found
        return found

    async def _call_other(self, invocation: Invocation) -> Any:
        """Have the operator's function answer an event that is no request."""
        if self._other is None:
            event = invocation.event
            raise events.websocket_refusal() if events.is_websocket(event) else events.unknown(event)
        variables = self.service.context.copy()
        variables.run(REQUEST_ID.set, invocation.request_id)
        variables.run(TRACE_ID.set, invocation.trace_id)
        task = self.service.loop.create_task(_call(self._other, invocation, self.service.on_exit), context=variables)
        invocation.task = task
        _, running = await asyncio.wait([task], timeout=self._time_is_up(invocation) - self.service.clock())
        if running:
            stack = describe_stack(task)
            self._logger.warning("invocation timed out", request_id=invocation.request_id, stack=stack)
            task.cancel()
            await asyncio.wait([task], timeout=CANCELLATION_GRACE)
            raise EventError("lambda.other has not returned, and the function's time is up", "TimedOut")
        if task.cancelled():
            raise EventError("lambda.other has not returned, and the environment ends", "Cancelled")
        result = task.result()
        _check_result(result)
        return result


async def _call(other: Other, invocation: Invocation, on_exit: Callable[[], None]) -> Any:
    """Call it. Raises EventError for what would end more than a task, so that Lambda hears of it."""
    try:
        if inspect.iscoroutinefunction(other):
            return await other(invocation.event, invocation.context)
        result = await _CallInThread(other, invocation).wait()
        return await result if inspect.isawaitable(result) else result
    except SystemExit as error:
        on_exit()
        raise EventError(f"lambda.other has called sys.exit({error.code!r})", "SystemExit") from error
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        raise EventError("lambda.other has let a CancelledError out, that of a task of its own", "Cancelled") from error


class _CallInThread:
    """The call of a function that is none of coroutines; `thread` is where, for `describe_stack`."""

    def __init__(self, other: Other, invocation: Invocation) -> None:
        self._other = other
        self._invocation = invocation
        self.thread: int | None = None

    async def wait(self) -> Any:
        """Let it run in a thread, and return what it does."""
        run = partial(contextvars.copy_context().run, self._run)
        return await asyncio.get_running_loop().run_in_executor(None, run)

    def _run(self) -> Any:
        self.thread = threading.get_ident()
        try:
            return self._other(self._invocation.event, self._invocation.context)
        except StopIteration as error:  # which no future takes, so nobody would hear of it
            raise RuntimeError("lambda.other has raised StopIteration") from error
        finally:
            self.thread = None


def _check_result(result: Any) -> None:
    """Raise EventError if JSON does not hold what `lambda.other` has returned: the function has to hear of it, not who sends it."""
    try:
        json.dumps(result, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise EventError(f"lambda.other has returned what JSON does not hold: {error}", "UnusableResult") from None


def _check_size(service: Service, request: InvocationRequest) -> None:
    """Hold a request to the limits of [http], as if HTTP/1.1 had carried it. Raises RequestError: 414, 431, 413."""
    limits = service.limits
    target, headers = request.target, request.headers
    if len(target) > limits.max_target_size:
        raise limits.target_too_large()
    if len(headers) > limits.max_headers:
        raise limits.too_many_fields()
    size = _LINES + len(request.method) + len(target) + request.fields_size + _FIELD * len(headers)
    if size > limits.max_header_size:
        raise limits.head_too_large()
    if len(request.body) > service.max_body_size:
        raise body_too_large(service)


def _request_ids(settings: RequestIDSettings) -> InvocationIDs | None:
    return InvocationIDs(settings) if settings.header else None
