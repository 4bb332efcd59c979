"""The loop of a custom runtime: start the application once, then take invocations until Lambda ends the environment.

    import ─▶ lifespan start-up ─▶ register for SIGTERM ─▶ next ─▶ answer ─▶ respond ─▶ settle ─▶ next …
                                                              SIGTERM ─▶ lifespan shutdown ─▶ exit

Lambda freezes the process between the moment it asks for the next invocation and the one it gets it, so nothing may be left
to a timer or a thread by then: logs are written by whoever logs, and work behind a response is waited for.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import gc
import json
import math
import signal
import sys
import time
from collections.abc import Callable
from typing import Any

from appserver.asgi.lifespan import Lifespan
from appserver.asgi.loader import import_application
from appserver.asgi.types import ASGIApplication
from appserver.aws import environment, reports
from appserver.aws.adapter import CANCELLATION_GRACE, Adapter, Invocation
from appserver.aws.context import Context
from appserver.aws.ending import end_within
from appserver.aws.environment import Environment
from appserver.aws.events.kind import MAX_ANSWER
from appserver.aws.invocation import encode_json
from appserver.aws.other import load_other
from appserver.aws.runtime_api import Connection, ResponseStream
from appserver.aws.starting import refuse_trio, start_up
from appserver.aws.watch import Watch
from appserver.aws.wire import Reply
from appserver.engine.cutoff import end_lifespan
from appserver.errors import AppserverError, EventError, RuntimeAPIError
from appserver.settings import Loaded, Settings
from appserver.telemetry.access_log import AccessLog
from appserver.telemetry.log_config import LogConfig, application_logging
from appserver.telemetry.logs import LogOutput, configure, get_logger, handle_loop_exceptions

NAME = "appserver"
"""The name under which the runtime registers as an extension."""

# Lambda kills the process 500 ms after SIGTERM: in seconds from then, how long invocations under way are waited for, and until
# when the process has ended by itself.
DRAIN_TIME = 0.25
END_TIME = 0.4

CANCELLATION_TURNS = 32
"""Turns of the event loop that a cancelled invocation has in any case, to be answered for also on a machine that is busy."""

EXIT_GRACE = 0.1
"""Seconds that are always left for threads and functions of atexit, however long the shutdown before has taken."""


def run(load: Callable[[], Loaded]) -> int:
    """Be the runtime of a function; returns when Lambda ends it. Raises as a run does, after having told Lambda why."""
    found = Environment.read()
    gc.disable()  # until the application is there: what it imports stays
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    output: LogOutput | None = None
    runtime: Runtime | None = None
    code = 0
    try:
        settings = load().settings
        environment.add_file(settings.app.env_file)
        output = configure(settings.logging, process="lambda")
        atexit.register(output.close)  # the first one registered is the last one called
        handle_loop_exceptions(loop)
        refuse_trio(settings)
        around = application_logging(LogConfig.read(settings.logging))
        application = import_application(settings.app, loop, around)
        runtime = Runtime(application, settings, found)
        loop.run_until_complete(runtime.live())
    except AppserverError as error:
        code = error.exit_code
        if not isinstance(error, RuntimeAPIError):
            loop.run_until_complete(_report_init_failure(found.api, error))
        raise
    except BaseException:
        code = AppserverError.exit_code
        raise
    finally:
        if output is not None:
            now = time.monotonic()
            ended = now if runtime is None else min(runtime.ended_at, now)
            end_within(max(ended + END_TIME - now, EXIT_GRACE), code, output.close)
    return 0


async def _report_init_failure(api: str, error: AppserverError) -> None:
    connection = Connection(api)
    with contextlib.suppress(RuntimeAPIError):  # what is printed says it as well
        await connection.fail_init(reports.describe(error))
    connection.close()


class _Poll:
    """One of those who ask for invocations; `idle` while it waits for one, else it has an `invocation`."""

    __slots__ = ("connection", "idle", "invocation", "task")

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.task: asyncio.Task[None] | None = None
        self.idle = False
        self.invocation: Invocation | None = None


class Runtime:
    """One function, from its start to its end."""

    def __init__(self, application: ASGIApplication, settings: Settings, found: Environment) -> None:
        """To be made before the event loop runs, as the application was. Raises ApplicationImportError."""
        self._application = application
        self._settings = settings
        self._environment = found
        self._log = get_logger("appserver.lambda")
        self._other = load_other(settings)
        self._access_log = (
            AccessLog(settings.access_log, threaded=False, traced=True) if settings.access_log.enabled else None
        )
        self._concurrency = settings.on_lambda.concurrency or found.max_concurrency
        self._ended: asyncio.Event = asyncio.Event()
        self._polls: list[_Poll] = []
        self._is_killed = False
        self.ended_at = math.inf

    async def live(self) -> None:
        """Start up, take invocations until the end, shut down. Raises StartupError, RuntimeAPIError."""
        loop = asyncio.get_running_loop()
        lifespan = Lifespan(self._application, self._settings.app.lifespan, get_logger("appserver.lifespan"))
        await start_up(lifespan, self._settings.workers.boot_timeout, self._log)
        gc.freeze()
        gc.enable()
        loop.add_signal_handler(signal.SIGTERM, self._terminate)
        adapter = Adapter(
            self._application,
            self._settings,
            state=lifespan.state,
            access_log=self._access_log,
            logger=get_logger("appserver.engine"),
            other=self._other,
            on_exit=self._end,
        )
        watch = Watch(self._log, self._settings.on_lambda.deadline_margin / 2)
        extension = Connection(self._environment.api)
        identifier = await extension.register(NAME)
        waiting = None if identifier is None else loop.create_task(extension.wait_for_end(identifier))
        try:
            await self._take_invocations(adapter, watch)
        finally:
            if waiting is not None:
                waiting.cancel()
            self._end()
            await end_lifespan(lifespan, self._settings.workers.lifespan_timeout, CANCELLATION_GRACE, self._log)
            watch.close()
            if self._access_log is not None:
                self._access_log.close()

    async def _take_invocations(self, adapter: Adapter, watch: Watch) -> None:
        """Until SIGTERM, or until there are no more. Raises RuntimeAPIError."""
        self._polls = [_Poll(Connection(self._environment.api)) for _ in range(self._concurrency)]
        tasks = [asyncio.create_task(self._poll(poll, adapter, watch)) for poll in self._polls]
        for poll, task in zip(self._polls, tasks, strict=True):
            poll.task = task
        ended = asyncio.create_task(self._ended.wait())
        await asyncio.wait([ended, *tasks], return_when=asyncio.FIRST_COMPLETED)
        self._end()
        for poll in self._polls:
            if poll.idle and poll.task is not None:
                poll.task.cancel()
        limit = self._settings.workers.graceful_timeout
        _, running = await asyncio.wait(tasks, timeout=min(limit, DRAIN_TIME) if self._is_killed else limit)
        if running:
            for poll in self._polls:
                if poll.invocation is not None:
                    adapter.cut_off(poll.invocation)
            for _ in range(CANCELLATION_TURNS):
                await asyncio.sleep(0)
            await asyncio.wait(tasks, timeout=CANCELLATION_GRACE)
        for task in tasks:
            if not task.done():
                task.cancel()
            elif not task.cancelled() and (error := task.exception()) is not None:
                raise error

    def _terminate(self) -> None:
        """Handle SIGTERM."""
        self._is_killed = True
        self._end()

    def _end(self) -> None:
        self._ended.set()
        self.ended_at = min(self.ended_at, time.monotonic())

    async def _poll(self, poll: _Poll, adapter: Adapter, watch: Watch) -> None:
        while not self._ended.is_set():
            _flush_output()
            poll.idle = True
            reply = await poll.connection.next()
            poll.idle = False
            await self._serve(poll, reply, adapter, watch)

    async def _serve(self, poll: _Poll, reply: Reply, adapter: Adapter, watch: Watch) -> None:
        """Have one invocation answered. Raises RuntimeAPIError if the environment is over."""
        connection = poll.connection
        headers = reply.headers
        request_id = headers["lambda-runtime-aws-request-id"]
        trace = headers.get("lambda-runtime-trace-id")
        if self._concurrency == 1:
            environment.propagate(trace)
        stream: ResponseStream | None = None
        deadline = _deadline(headers.get("lambda-runtime-deadline-ms"), adapter.service.clock())
        poll.invocation = invocation = Invocation(None, None, request_id, deadline, trace)
        watch.begin(invocation)
        try:
            if self._settings.on_lambda.streaming:
                wire = await connection.connect()

                def open_stream() -> ResponseStream:
                    nonlocal stream
                    stream = ResponseStream(wire, reply)
                    return stream

                invocation.open_stream = open_stream
            invocation.event = _read_event(reply.body)
            invocation.context = self._context(reply)
            answer = await adapter.answer(invocation)
            if stream is not None:
                confirmation = await stream.confirmed()
            else:
                confirmation = await self._respond(connection, reply, answer)
            self._judge(confirmation, request_id)
            await adapter.settle(invocation)
        except RuntimeAPIError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, it ends this invocation, and Lambda has to hear of it
            self._log.error("invocation failed", request_id=request_id, **_details(error))
            self._judge(await connection.fail(reply, reports.describe(error)), request_id)
        finally:
            watch.end(invocation)
            poll.invocation = None
            if self._access_log is not None:
                self._access_log.flush()

    async def _respond(self, connection: Connection, reply: Reply, answer: Any) -> Reply:
        payload = encode_json(answer)
        if len(payload) > MAX_ANSWER:
            raise EventError(
                f"the answer has {len(payload)} octets, and Lambda takes {MAX_ANSWER}: send less, or stream it"
                " (lambda.streaming)",
                "ResponseSizeTooLarge",
            )
        return await connection.respond(reply, payload)

    def _judge(self, confirmation: Reply, request_id: str) -> None:
        """Log what the API has not taken. Raises RuntimeAPIError where it says that the environment is over."""
        if confirmation.status < 300:
            return
        said = confirmation.excerpt()
        self._log.error("answer refused by Lambda", request_id=request_id, status=confirmation.status, detail=said)
        if confirmation.status >= 500:
            # "Container error. Non-recoverable state. Runtime should exit promptly."
            raise RuntimeAPIError(f"the Runtime API has answered {confirmation.status}: {said}")

    def _context(self, reply: Reply) -> Context:
        headers = reply.headers
        return Context(
            self._environment.variables,
            aws_request_id=headers["lambda-runtime-aws-request-id"],
            invoked_function_arn=headers.get("lambda-runtime-invoked-function-arn", ""),
            deadline_ms=_milliseconds(headers.get("lambda-runtime-deadline-ms")),
            client_context=_json(headers.get("lambda-runtime-client-context")),
            identity=_json(headers.get("lambda-runtime-cognito-identity")),
            tenant_id=headers.get("lambda-runtime-aws-tenant-id"),
        )


def _flush_output() -> None:
    """Let what the application has printed be logged before Lambda freezes the process, or kills it."""
    with contextlib.suppress(AttributeError, OSError, ValueError):  # it may be missing, broken or closed
        sys.stdout.flush()


def _read_event(body: bytes) -> Any:
    """Raises EventError."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise EventError(f"the event is not JSON: {error}", "MalformedEvent") from None


def _details(error: Exception) -> dict[str, Any]:
    """The fields of a record about an error: the sentence of one of ours, the traceback of any other."""
    if isinstance(error, EventError) and error.__cause__ is None:
        return {"error": reports.kind_of(error), "reason": str(error)}
    return {"exc_info": error}


def _milliseconds(value: str | None) -> int:
    return int(value) if value is not None and value.isascii() and value.isdigit() else 0


def _deadline(value: str | None, now: float) -> float:
    """When an invocation is ended, on a clock that shows `now`; infinity if nothing is said about that."""
    milliseconds = _milliseconds(value)
    return now + milliseconds / 1000 - time.time() if milliseconds else float("inf")


def _json(text: str | None) -> Any:
    """The value of a header that holds JSON; None if it does not."""
    if not text:
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
